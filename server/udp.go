package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// udpLoop is one UDP socket and the goroutine that reads, answers and writes, a batch of datagrams at a time.
type udpLoop struct {
	desk
	local   netip.AddrPort // what the socket is bound to
	conn    *net.UDPConn
	raw     syscall.RawConn
	in      *inbox
	out     *outbox
	pace    pace
	waiting sync.WaitGroup // parked queries that came through this socket
	trouble complaint
}

// listenUDP opens the socket of loop number shard.
func listenUDP(s *Server, addr string, shard int) (*udpLoop, error) {
	config := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error { return setUDPOptions(fd, network == "udp6", s.limits.ReceiveBuffer) })
	}}
	packets, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	conn := packets.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	l := &udpLoop{conn: conn, raw: raw, local: addrPort(conn.LocalAddr())}
	l.server, l.q.Resolver, l.q.Listener = s, s, s.config.Name
	l.q.Shard, l.q.Transport = shard%Shards, message.UDP
	l.in = newInbox(l.local.Addr().IsUnspecified())
	l.out = newOutbox()
	return l, nil
}

// setUDPOptions prepares a socket before it is bound.
func setUDPOptions(fd int, v6 bool, buffer int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	// Beyond net.core.rmem_max only with CAP_NET_ADMIN; what can be had is enough otherwise.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	// Which address a datagram was sent to, on a socket for all addresses. On an IPv6 socket it is told for IPv4 too.
	if v6 {
		return os.NewSyscallError("setsockopt IPV6_RECVPKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return os.NewSyscallError("setsockopt IP_PKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
}

// control runs f on a socket's descriptor.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// run serves until the server ends, and then what has reached the socket.
func (l *udpLoop) run() {
	for {
		if err := l.in.receive(l.raw); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				break
			}
			l.fault("receiving", err)
			time.Sleep(pause)
			continue
		}
		received, waited := l.in.count, l.in.waited
		l.answer()
		l.pace.after(received, waited).take()
	}
	<-l.server.closing
	l.drain()
	l.waiting.Wait()
}

// answer answers the datagrams that were received, as one batch.
func (l *udpLoop) answer() {
	now := time.Now()
	for i := range l.in.count {
		from := l.in.from(i)
		if from.Port() == 0 {
			continue // nobody can be answered there
		}
		l.arrived(from, l.in.to(i, l.local), now)
		reply, later := l.respond(l.in.packet(i), l.out.room())
		if later != nil {
			l.park(later, i)
		}
		if reply != nil && l.out.add(reply, l.in, i) {
			l.flush()
		}
	}
	l.flush()
}

// flush sends the replies that the batch has collected.
func (l *udpLoop) flush() {
	if err := l.out.send(l.raw); err != nil && !errors.Is(err, net.ErrClosed) {
		l.fault("sending", err)
	}
}

// park lets the query of datagram i go on elsewhere; its answer is sent from there.
func (l *udpLoop) park(p *parked, i int) {
	l.waiting.Add(1)
	p.exit = l
	l.in.keep(i, &p.peer)
	p.goOn()
}

// leave sends the answer to a parked query.
func (l *udpLoop) leave(p *parked, answer []byte) {
	defer l.waiting.Done()
	if answer != nil {
		if err := p.peer.send(l.raw, answer); err != nil && !errors.Is(err, net.ErrClosed) {
			l.fault("sending", err)
		}
	}
	p.free(answer)
}

// drain answers what is in the socket's buffer, and nothing that comes later: the kernel gives that to the other sockets
// on this address, if there are any.
func (l *udpLoop) drain() {
	away := control(l.raw, turnAway) == nil
	deadline := time.Now().Add(stragglers)
	for {
		if away { // so that this comes to an end
			deadline = time.Now().Add(stragglers)
		}
		l.conn.SetReadDeadline(deadline)
		err := l.in.receive(l.raw)
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if late && overtime(l.raw, l.in.read) && l.in.errno == 0 {
			err = nil
		}
		if err != nil {
			return
		}
		l.answer()
		if late && !away {
			return
		}
	}
}

// stragglers is how long a datagram may take from the choice of its socket into that socket's buffer. Only tests change it.
var stragglers = 5 * time.Millisecond

// overtime tries once, without waiting, what had a deadline, and reports whether it was done: a read with a deadline that passed
// before it began, as where the processor was elsewhere, has not been tried at all.
func overtime(raw syscall.RawConn, try func(fd uintptr) bool) (done bool) {
	return raw.Control(func(fd uintptr) { done = try(fd) }) == nil && done
}

// turnAway makes the kernel give a UDP socket nothing more. A connected socket takes datagrams from its peer only, and is
// passed over in its SO_REUSEPORT group; what is in its buffer stays, and it can still send to anyone. This one is
// connected to the discard port of the machine itself, which sends nothing.
func turnAway(fd int) error {
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	var nobody unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}
	if _, v6 := bound.(*unix.SockaddrInet6); v6 {
		nobody = &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}
	}
	return unix.Connect(fd, nobody)
}

// fault reports what went wrong at the socket.
func (l *udpLoop) fault(doing string, err error) {
	if l.trouble.due(time.Now()) {
		l.server.logf("%s on udp %s: %v", doing, l.local, err)
	}
}

// pause is how long a loop rests after the kernel refused it something, so that a lasting fault does not take all of a
// processor.
const pause = 5 * time.Millisecond
