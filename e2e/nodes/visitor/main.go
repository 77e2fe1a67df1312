// Visitor is what runs in the Pods of the cluster test: a container that waits, a server, and clients that count what they
// do not get.
//
//	visitor pause
//	visitor serve ADDRESS [GRACE]
//	visitor dns -server ADDRESS [-sockets N] [-rate N] NAME...
//	visitor http [-rate N] URL
//	visitor lookup NAME
//
// Clients run until they are told to end, and tell what they have seen at port 9000, as JSON.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "visitor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(args) == 0 {
		return fmt.Errorf("say what to do: pause, serve, dns, http or lookup")
	}
	switch verb, args := args[0], args[1:]; verb {
	case "pause":
		<-ctx.Done()
		return nil
	case "serve":
		return serve(ctx, args)
	case "dns":
		return runDNS(ctx, args)
	case "http":
		return runHTTP(ctx, args)
	case "lookup":
		return lookup(ctx, args)
	default:
		return fmt.Errorf("there is no %q", verb)
	}
}

// lookup prints the addresses of a name as Go's own resolver finds them.
func lookup(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("lookup takes a name")
	}
	addresses, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}
