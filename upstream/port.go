package upstream

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// port is a UDP socket, connected to the server: the kernel lets nothing else through.
type port struct {
	id     int32
	opened time.Time
	local  net.Addr

	mu      sync.Mutex
	fd      int // -1 when closed
	retired bool
	waiting []*pending // for a reply, by what it was asked from here
}

// match finds the question that a datagram replies to, and what it says. What is no sound reply to any is nobody's.
func (p *port) match(packet []byte, packer *message.Packer) (*pending, *message.Packed) {
	if len(packet) < message.HeaderLen {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := byID(p.waiting, uint16(packet[0])<<8|uint16(packet[1]))
	if i < 0 {
		return nil, nil
	}
	reply, err := packer.Pack(packet, p.waiting[i].question(), p.waiting[i].sorted)
	if err != nil {
		return nil, nil
	}
	return p.waiting[i], reply
}

// take removes a question from those that wait here, and reports whether it was one. The caller holds p.mu.
func (p *port) take(q *pending) bool {
	for i, w := range p.waiting {
		if w == q {
			last := len(p.waiting) - 1
			p.waiting[i], p.waiting[last] = p.waiting[last], nil
			p.waiting = p.waiting[:last]
			return true
		}
	}
	return false
}

// send sends a datagram. The caller holds p.mu. An error that is left from an earlier datagram is met only once.
func (p *port) send(packet []byte) error {
	if p.fd < 0 {
		return net.ErrClosed
	}
	for tries := 0; ; tries++ {
		err := sendNow(p.fd, packet)
		if err == nil || tries == 1 {
			return os.NewSyscallError("write", err)
		}
	}
}

// sendAgain sends a question that still waits here once more. It is the very same, so that it is no easier to forge a reply.
func (p *port) sendAgain(q *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.waiting {
		if w == q {
			_ = p.send(q.packet) // what goes wrong is met by the next one, or when its time ends
		}
	}
}

// receive receives a datagram, or what ICMP says of an earlier question. A send may have met that; it goes on waking the
// poller until it is taken off the socket's error queue.
func (p *port) receive(buffer []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return 0, unix.EAGAIN
	}
	n, err := receiveNow(p.fd, buffer)
	if err == unix.EAGAIN {
		err = errorNow(p.fd)
	}
	return n, err
}

// close closes the socket. The caller holds p.mu. Its number may be another socket's at once, so that nobody else uses it
// without the lock.
func (p *port) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}

// openUDP opens a socket that is connected to the server.
func (s *Server) openUDP() (int, net.Addr, error) {
	remote, family := sockaddr(s.config.Addr)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	local, err := s.connect(fd, family, remote)
	if err != nil {
		_ = unix.Close(fd)
		return 0, nil, err
	}
	return fd, local, nil
}

func (s *Server) connect(fd, family int, remote unix.Sockaddr) (net.Addr, error) {
	// All that ICMP says of the way to the server, not only that nobody listens at the port.
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if family == unix.AF_INET6 {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt IP_RECVERR", err)
	}
	if s.config.Source.IsValid() {
		source, _ := sockaddr(netip.AddrPortFrom(s.config.Source, 0))
		if err := unix.Bind(fd, source); err != nil {
			return nil, os.NewSyscallError("bind "+s.config.Source.String(), err)
		}
	}
	if err := unix.Connect(fd, remote); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return udpAddrOf(name), nil
}

// sockaddr is an address as the kernel takes it, and its family.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, int) {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(a.Port())}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: int(a.Port()), ZoneId: zoneID(addr.Zone())}, unix.AF_INET6
}

// zoneID is the number of an interface, 0 where there is none of that name.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

// udpAddrOf is an address as messages have it.
func udpAddrOf(a unix.Sockaddr) net.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return nil
}

// udpAddr is the server's address as messages have it.
func (s *Server) udpAddr() net.Addr { return net.UDPAddrFromAddrPort(s.config.Addr) }
