package upstream

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrorMetBySending: what ICMP says of a question may be met by the next question that is sent from the port, not by
// receiving. Those who wait are told all the same, and the port does not go on waking who waits for something to read.
func TestErrorMetBySending(t *testing.T) {
	nobody, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := nobody.LocalAddr().(*net.UDPAddr)
	nobody.Close()
	s := start(t, Config{Addr: netip.MustParseAddrPort(addr.String())})
	fd, _, err := s.openUDP()
	if err != nil {
		t.Fatal(err)
	}
	p := &port{fd: fd}
	defer p.close()
	if err := p.send([]byte("to nobody")); err != nil {
		t.Fatal(err)
	}
	events := []unix.PollFd{{Fd: int32(fd)}}
	if n, err := unix.Poll(events, 10_000); n != 1 || err != nil {
		t.Fatalf("no word of it that nobody listens there: %d, %v", n, err)
	}
	somebody, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer somebody.Close()
	if err := p.send([]byte("to somebody")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.receive(make([]byte, 512)); err != syscall.ECONNREFUSED {
		t.Errorf("receiving: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if _, err := p.receive(make([]byte, 512)); err != syscall.EAGAIN {
		t.Errorf("receiving once more: %v, want %v", err, syscall.EAGAIN)
	}
	if n, err := unix.Poll(events, 0); n != 0 || err != nil {
		t.Errorf("there is still something to read: %d, %v, events %#x", n, err, events[0].Revents)
	}
}
