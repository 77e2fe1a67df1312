package ask

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestLateReply: what a server replies to a try that was given up must not be taken for the reply to the next message, even
// if that has the same ID.
func TestLateReply(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go replyLate(server)
	c, err := Dial(server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Timeout, c.Tries = 50*time.Millisecond, 100 // of which it takes two, unless the machine is busy
	for _, message := range []string{"id first", "id second"} {
		if got, err := c.UDP([]byte(message)); err != nil || string(got) != message {
			t.Errorf("to %q: %q, %v", message, got, err)
		}
	}
}

// replyLate replies to the first message when the second comes, and to each of the others at once.
func replyLate(server *net.UDPConn) {
	buf := make([]byte, 512)
	for asked := 1; ; asked++ {
		n, client, err := server.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if asked == 2 {
			server.WriteToUDPAddrPort(buf[:n], client)
		}
		if asked > 1 {
			server.WriteToUDPAddrPort(buf[:n], client)
		}
	}
}

// TestClosed: a server that closes the connection is one that does not reply, in whatever way it does so. A part of a reply
// is neither that nor a reply.
func TestClosed(t *testing.T) {
	for _, test := range []struct {
		name   string
		does   func(conn *net.TCPConn)
		silent bool
	}{
		{"closes", func(conn *net.TCPConn) { io.ReadFull(conn, make([]byte, 2+len("id question"))) }, true},
		{"resets", func(conn *net.TCPConn) { conn.SetLinger(0) }, true},
		{"does not read", func(*net.TCPConn) {}, true},
		{"replies in part", func(conn *net.TCPConn) {
			io.ReadFull(conn, make([]byte, 2+len("id question")))
			conn.Write([]byte("\x00\x09id a"))
		}, false},
		{"replies with a length", func(conn *net.TCPConn) {
			io.ReadFull(conn, make([]byte, 2+len("id question")))
			conn.Write([]byte("\x00\x09"))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Dial(listen(t, test.does))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.Timeout = time.Minute
			if reply, err := c.TCP([]byte("id question")); err == nil || errors.Is(err, ErrNoReply) != test.silent {
				t.Errorf("%q, %v", reply, err)
			}
		})
	}
}

// listen does something with each connection, and then closes it.
func listen(t *testing.T, do func(conn *net.TCPConn)) netip.AddrPort {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			do(conn)
			conn.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}
