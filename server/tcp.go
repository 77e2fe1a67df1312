package server

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpListener accepts TCP connections and keeps their number in bounds.
type tcpListener struct {
	server   *Server
	listener *net.TCPListener
	raw      syscall.RawConn
	local    netip.AddrPort
	streams  sync.Pool   // of *stream
	ending   atomic.Bool // no more is read than what is there already
	trouble  complaint

	mu        sync.Mutex
	accepted  int       // connections ever
	newcomers list.List // of *conn: those that never asked anything, the oldest first
	known     list.List // of *conn: the others, the one that was silent longest first
}

// listenTCP opens the listener.
func listenTCP(s *Server, addr string) (*tcpListener, error) {
	config := net.ListenConfig{
		KeepAlive: -1, // idle connections are closed long before
		Control: func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error {
				return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
			})
		},
	}
	listener, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &tcpListener{server: s, listener: listener.(*net.TCPListener)}
	if l.raw, err = l.listener.SyscallConn(); err != nil {
		listener.Close()
		return nil, err
	}
	l.local = addrPort(listener.Addr())
	l.streams.New = func() any { return newStream(s) }
	return l, nil
}

// run accepts connections until the server ends, and then those that have been established already.
func (l *tcpListener) run() {
	defer l.listener.Close()
	for l.accept() {
	}
	<-l.server.closing
	for wait := stragglers; ; {
		l.listener.SetDeadline(time.Now().Add(wait))
		switch {
		case l.accept():
			wait = stragglers
		case overtime(l.raw, isReadable):
			wait = 2 * max(wait, time.Millisecond)
		default:
			return
		}
	}
}

// isReadable reports whether a connection waits to be accepted.
func isReadable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 && err == nil
}

// accept accepts connections until something goes wrong, and reports whether to try again: after a rest, if it is the
// kernel that refuses, as it does without a free file descriptor.
func (l *tcpListener) accept() bool {
	c, err := l.listener.AcceptTCP()
	switch {
	case err == nil:
		l.admit(c)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return false
	default:
		if l.trouble.due(time.Now()) {
			l.server.logf("accepting on tcp %s: %v", l.local, err)
		}
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			l.mu.Lock()
			l.evict()
			l.mu.Unlock()
		}
		select {
		case <-time.After(pause):
		case <-l.server.closing:
		}
	}
	return true
}

// admit begins to serve a connection. If there are too many, another one gives way, or this one if all are busy.
func (l *tcpListener) admit(tcp *net.TCPConn) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		tcp.Close()
		return
	}
	l.mu.Lock()
	if l.newcomers.Len()+l.known.Len() >= l.server.limits.Connections && !l.evict() {
		l.mu.Unlock()
		tcp.Close()
		return
	}
	l.accepted++
	c := newConn(l, tcp, raw, l.accepted%Shards)
	c.place = l.newcomers.PushBack(c)
	l.mu.Unlock()
	l.server.running.Go(c.serve)
}

// evict closes the connection that was silent longest, and reports whether there was one without an answer due. First go
// those that never asked: thousands of silent connections only push out each other.
func (l *tcpListener) evict() bool {
	for _, idle := range []*list.List{&l.newcomers, &l.known} {
		for e := idle.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*conn); c.due.Load() == 0 {
				idle.Remove(e)
				c.place = nil
				c.tcp.Close()
				return true
			}
		}
	}
	return false
}

// touch notes that a connection has just asked something.
func (l *tcpListener) touch(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place != nil { // not evicted
		l.leave(c)
		c.place = l.known.PushBack(c)
	}
}

// forget takes a connection off the lists.
func (l *tcpListener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave(c)
}

// leave takes a connection off whichever list it is on.
func (l *tcpListener) leave(c *conn) {
	if c.place != nil {
		l.newcomers.Remove(c.place) // does nothing for an element of another list
		l.known.Remove(c.place)
		c.place = nil
	}
}

// wake interrupts everyone who waits for something to read.
func (l *tcpListener) wake() {
	l.ending.Store(true)
	l.listener.SetDeadline(past)
	l.each(func(c *conn) { c.tcp.SetReadDeadline(past) })
}

// close closes everything.
func (l *tcpListener) close() {
	l.listener.Close()
	l.each(func(c *conn) { c.tcp.Close() })
}

// each calls f for every connection.
func (l *tcpListener) each(f func(*conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conns := range []*list.List{&l.newcomers, &l.known} {
		for e := conns.Front(); e != nil; e = e.Next() {
			f(e.Value.(*conn))
		}
	}
}
