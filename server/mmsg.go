package server

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// Sizes of a batch.
const (
	batchLen   = 32   // datagrams that one system call receives or sends
	maxRequest = 4096 // bytes of a request that are read; what is longer is cut there
	outboxLen  = 2 * (message.MaxLen + 1)
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	length uint32
}

// inbox receives datagrams, each with where it comes from and, on a socket for all addresses, where it was sent to.
type inbox struct {
	count   int  // datagrams in it
	waited  bool // there were none at first
	errno   syscall.Errno
	read    func(fd uintptr) bool
	headers [batchLen]mmsghdr
	vectors [batchLen]unix.Iovec
	names   [batchLen]unix.RawSockaddrInet6 // large enough for IPv4 too
	control [batchLen]ancillary
	data    []byte // maxRequest for each
}

// newInbox makes an inbox; anyAddress says that the socket is bound to no address in particular.
func newInbox(anyAddress bool) *inbox {
	in := &inbox{count: batchLen, data: make([]byte, batchLen*maxRequest)}
	for i := range in.headers {
		h := &in.headers[i]
		in.vectors[i].Base = &in.data[i*maxRequest]
		in.vectors[i].SetLen(maxRequest)
		h.Iov = &in.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&in.names[i]))
		if anyAddress {
			h.Control = &in.control[i][0]
		}
	}
	in.read = in.receiveNow
	return in
}

// receive waits for datagrams and takes up to batchLen of them.
func (in *inbox) receive(raw syscall.RawConn) error {
	for i := range in.count {
		h := &in.headers[i]
		h.Namelen = uint32(unsafe.Sizeof(in.names[i]))
		if h.Control != nil {
			h.SetControllen(len(in.control[i]))
		}
	}
	in.count, in.waited = 0, false
	if err := raw.Read(in.read); err != nil {
		return err
	}
	if in.errno != 0 {
		return in.errno
	}
	return nil
}

// receiveNow is receive without waiting; it reports whether there is no need to.
//
// The call is a raw one, as are those of sendNow: it never blocks and lasts some 0.1 ms at most. Told of it, Go's scheduler
// would look for other work after 0.02 ms and wake further threads, which takes a fourth of the processor time under load
// and half of it at 5,000 queries a second.
func (in *inbox) receiveNow(fd uintptr) bool {
	var n uintptr
	for in.errno = unix.EINTR; in.errno == unix.EINTR; {
		n, _, in.errno = unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.headers[0])), batchLen, unix.MSG_DONTWAIT, 0, 0)
	}
	if in.errno == 0 {
		in.count = int(n)
	}
	again := in.errno == unix.EAGAIN
	in.waited = in.waited || again
	return !again
}

// packet is datagram i.
func (in *inbox) packet(i int) []byte {
	return in.data[i*maxRequest:][:in.headers[i].length]
}

// from is where datagram i comes from.
func (in *inbox) from(i int) netip.AddrPort {
	name := &in.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
}

// to is the address that datagram i was sent to: bound, if the socket is bound to one. The answer will leave from there.
func (in *inbox) to(i int, bound netip.AddrPort) netip.AddrPort {
	h := &in.headers[i]
	if h.Control == nil {
		return bound
	}
	addr, n := in.control[i].turn(int(h.Controllen))
	if n == 0 {
		return bound
	}
	h.SetControllen(n)
	return netip.AddrPortFrom(addr, bound.Port())
}

// keep copies who sent datagram i, and to what address, so that an answer can follow later.
func (in *inbox) keep(i int, p *peer) {
	p.name, p.header.Namelen, p.header.Controllen = in.names[i], in.headers[i].Namelen, 0
	p.header.Name, p.header.Control = (*byte)(unsafe.Pointer(&p.name)), nil
	if in.headers[i].Control != nil {
		p.control, p.header.Control, p.header.Controllen = in.control[i], &p.control[0], in.headers[i].Controllen
	}
}

// outbox collects replies and sends them together.
type outbox struct {
	count   int // replies in it
	sent    int // how many of them are on their way
	failed  syscall.Errno
	write   func(fd uintptr) bool
	headers [batchLen]mmsghdr
	vectors [batchLen]unix.Iovec
	used    int // bytes of data
	data    []byte
}

func newOutbox() *outbox {
	out := &outbox{data: make([]byte, outboxLen)}
	for i := range out.headers {
		out.headers[i].Iov = &out.vectors[i]
		out.headers[i].SetIovlen(1)
	}
	out.write = out.sendNow
	return out
}

// room is where the next reply is to be written: there is always enough for the longest.
func (out *outbox) room() []byte { return out.data[out.used:out.used] }

// add takes the answer to datagram i of in, and reports whether it is time to send. The reply stands in room, or in a
// buffer of its own.
func (out *outbox) add(reply []byte, in *inbox, i int) bool {
	h, from := &out.headers[out.count], &in.headers[i]
	h.Name, h.Namelen, h.Control, h.Controllen = from.Name, from.Namelen, from.Control, from.Controllen
	out.vectors[out.count].Base = &reply[0]
	out.vectors[out.count].SetLen(len(reply))
	out.count++
	out.used += len(reply)
	return out.count == batchLen || out.used > outboxLen/2
}

// send sends all replies; it waits while the socket takes no more. Of the replies that the kernel refuses, each costs only
// itself; the error is the last such refusal.
func (out *outbox) send(raw syscall.RawConn) error {
	if out.count == 0 {
		return nil
	}
	out.sent, out.failed = 0, 0
	err := raw.Write(out.write)
	out.count, out.used = 0, 0
	if err == nil && out.failed != 0 {
		err = out.failed
	}
	return err
}

// sendNow is send without waiting; it reports whether there is no need to.
func (out *outbox) sendNow(fd uintptr) bool {
	for out.sent < out.count {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&out.headers[out.sent])), uintptr(out.count-out.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			out.sent += int(n)
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default: // is about the first of them
			out.failed = errno
			out.sent++
		}
	}
	return true
}

// peer is who gets the answer to a parked query, and from which address. It is not to be copied.
type peer struct {
	header  unix.Msghdr
	name    unix.RawSockaddrInet6
	control ancillary
	vector  unix.Iovec
	errno   syscall.Errno
	write   func(fd uintptr) bool
}

// send sends one datagram; it waits while the socket takes no more.
func (p *peer) send(raw syscall.RawConn, reply []byte) error {
	p.vector.Base = &reply[0]
	p.vector.SetLen(len(reply))
	p.header.Iov = &p.vector
	p.header.SetIovlen(1)
	if p.write == nil {
		p.write = p.sendNow
	}
	err := raw.Write(p.write)
	p.vector.Base = nil
	if err == nil && p.errno != 0 {
		err = p.errno
	}
	return err
}

// sendNow is send without waiting; it reports whether there is no need to.
func (p *peer) sendNow(fd uintptr) bool {
	for p.errno = unix.EINTR; p.errno == unix.EINTR; {
		_, _, p.errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&p.header)), unix.MSG_DONTWAIT)
	}
	return p.errno != unix.EAGAIN
}
