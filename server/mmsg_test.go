package server

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message/wiretest"
)

// pair is two connected datagram sockets, of which the first can have little under way.
func pair(t *testing.T) (from, to *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c.(*net.UnixConn)
	}
	if err := conns[0].SetWriteBuffer(1); err != nil { // which the kernel rounds up to a few datagrams
		t.Fatal(err)
	}
	return conns[0], conns[1]
}

// TestOutbox sends a full batch over a socket that takes a few datagrams at a time and refuses one that is too long: all
// the others arrive, in their order.
func TestOutbox(t *testing.T) {
	from, to := pair(t)
	raw, err := from.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const refused = 7
	out, in := newOutbox(), newInbox(false)
	for i := range in.headers {
		in.headers[i].Name, in.headers[i].Namelen = nil, 0
	}
	for i := range batchLen {
		reply := append(out.room(), fmt.Sprint(i)...)
		if i == refused {
			reply = append(reply, make([]byte, 60000)...)
		}
		if due := out.add(reply, in, i); due != (i == batchLen-1) {
			t.Fatalf("due after %d: %v", i, due)
		}
	}
	sent := make(chan error)
	go func() { sent <- out.send(raw) }()
	buf := make([]byte, 100)
	for i := range batchLen {
		if i == refused {
			continue
		}
		n, err := to.Read(buf)
		if err != nil || string(buf[:n]) != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q, %v", i, buf[:n], err)
		}
	}
	if err := <-sent; err != unix.EMSGSIZE {
		t.Errorf("sending: %v", err)
	}
	if out.count != 0 || out.used != 0 {
		t.Errorf("%d replies of %d bytes are left", out.count, out.used)
	}
}

// TestPeer sends one datagram over a socket that takes no more at first.
func TestPeer(t *testing.T) {
	from, to := pair(t)
	raw, err := from.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	sent := make(chan error)
	go func() {
		for i := range n {
			p := peer{} // to whom the socket is connected
			if err := p.send(raw, fmt.Append(nil, i)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, 100)
	for i := range n {
		if n, err := to.Read(buf); err != nil || string(buf[:n]) != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q, %v", i, buf[:n], err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// cmsg is a control message as the kernel of this machine writes it.
func cmsg(level, kind uint32, data []byte) (a ancillary, n int) {
	b := binary.NativeEndian.AppendUint64(nil, uint64(unix.SizeofCmsghdr+len(data)))[:unix.SizeofCmsghdr-8]
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = append(b, data...)
	return a, copy(a[:], b)
}

// TestTurn checks from which address and interface an answer is to leave.
func TestTurn(t *testing.T) {
	for _, tt := range []struct {
		level, kind uint32
		data, want  string
	}{
		{unix.IPPROTO_IP, unix.IP_PKTINFO, "02000000 0a000001 0a0000ff", "10.0.0.1 00000000 0a000001 0a0000ff"},
		{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, "fd00 00 x13 01 02000000", "fd00::1 fd00 00 x13 01 00000000"},
		{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, "00 x10 ffff 0a000001 02000000", "10.0.0.1 00 x10 ffff 0a000001 00000000"},
		{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, "fe80 00 x13 01 02000000", "fe80::1 fe80 00 x13 01 02000000"},
		{unix.IPPROTO_IP, unix.IP_PKTINFO, "02000000 0a000001", "none 02000000 0a000001"},
		{unix.IPPROTO_IP, unix.IP_TTL, "40000000", "none 40000000"},
	} {
		a, n := cmsg(tt.level, tt.kind, wiretest.Bytes(t, tt.data))
		addr, length := a.turn((n + 7) &^ 7)
		ok := length > 0
		var wantAddr, wantData string
		fmt.Sscan(tt.want, &wantAddr)
		wantData = tt.want[len(wantAddr)+1:]
		if ok != (wantAddr != "none") || ok && addr != netip.MustParseAddr(wantAddr) {
			t.Errorf("%s: address %v, want %s", tt.data, addr, wantAddr)
		}
		if ok && length != n {
			t.Errorf("%s: answered with %d bytes, want %d", tt.data, length, n)
		}
		if got, want := wiretest.Text(a[unix.SizeofCmsghdr:n]), wiretest.Text(wiretest.Bytes(t, wantData)); got != want {
			t.Errorf("%s: answered with %s, want %s", tt.data, got, want)
		}
	}
	var a ancillary
	if _, n := a.turn(0); n > 0 {
		t.Error("an address without a control message")
	}
}

// TestInboxWaits: what comes when the socket was empty was waited for, what is there already was not.
func TestInboxWaits(t *testing.T) {
	from, to := pair(t)
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	in := newInbox(false)
	send := func() {
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	now := in.read
	in.read = func(fd uintptr) bool {
		done := now(fd)
		if !done { // it is empty
			send()
		}
		return done
	}
	for _, waits := range []bool{true, false, true} {
		if !waits {
			send()
		}
		if err := in.receive(raw); err != nil {
			t.Fatal(err)
		}
		if in.count != 1 || in.waited != waits {
			t.Errorf("%d datagrams, waited for: %t, want 1, %t", in.count, in.waited, waits)
		}
	}
}
