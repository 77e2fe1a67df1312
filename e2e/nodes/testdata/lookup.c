/* Prints the addresses of a name as the C library that it is linked with finds them. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found, *i;
	int error = getaddrinfo(argv[argc - 1], 0, &hints, &found);
	if (error) {
		fprintf(stderr, "lookup: %s: %s\n", argv[argc - 1], gai_strerror(error));
		return 1;
	}
	for (i = found; i; i = i->ai_next) {
		char text[INET_ADDRSTRLEN];
		puts(inet_ntop(AF_INET, &((struct sockaddr_in *)i->ai_addr)->sin_addr, text, sizeof text));
	}
	return 0;
}
