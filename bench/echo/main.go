// Echo is the floor of a UDP server in Go: it receives up to 32 datagrams with one system call, makes each a response with
// one fixed A record behind the question, and sends them with another. It looks nothing up.
//
//	echo 127.0.0.1:5353
package main

import (
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch = 32
	size  = 4096
)

// header is struct mmsghdr of recvmmsg(2).
type header struct {
	unix.Msghdr
	length uint32
}

var answer = []byte{0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 1}

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	listener, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	conn := listener.(*net.UDPConn)
	if err := conn.SetReadBuffer(8 << 20); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var headers [batch]header
	var vectors [batch]unix.Iovec
	var names [batch]unix.RawSockaddrInet6
	data := make([]byte, batch*size)
	for i := range headers {
		vectors[i].Base = &data[i*size]
		headers[i].Iov = &vectors[i]
		headers[i].SetIovlen(1)
		headers[i].Name = (*byte)(unsafe.Pointer(&names[i]))
	}
	var n uintptr
	call := func(number, count uintptr) func(fd uintptr) bool {
		return func(fd uintptr) bool {
			if count == 0 {
				count = n
			}
			done, _, errno := unix.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&headers[0])), count, unix.MSG_DONTWAIT, 0, 0)
			if errno == 0 {
				n = done
			}
			return errno != unix.EAGAIN
		}
	}
	receive := call(unix.SYS_RECVMMSG, batch)
	for {
		for i := range headers {
			vectors[i].SetLen(size)
			headers[i].Namelen = uint32(unsafe.Sizeof(names[i]))
		}
		if err := raw.Read(receive); err != nil {
			return err
		}
		for i := range int(n) {
			packet := data[i*size:][:size]
			end := int(headers[i].length)
			packet[2] |= 0x84 // QR, AA
			packet[7], packet[11] = 1, 0
			vectors[i].SetLen(end + copy(packet[end:], answer))
		}
		if err := raw.Write(call(unix.SYS_SENDMMSG, n)); err != nil {
			return err
		}
	}
}
