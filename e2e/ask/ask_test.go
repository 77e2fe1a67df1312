package ask

import (
	"net"
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
