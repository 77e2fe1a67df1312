package upstream

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets in one goroutine. It is an epoll instance which Go's own waits for in its turn: of those
// sockets that have become readable meanwhile, all are told of at once.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	events [64]unix.EpollEvent
	ready  int
	err    error
	read   func(fd uintptr) bool
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // which is how os.NewFile knows that it can be waited for
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p.read = p.readNow
	return p, nil
}

// add has wait return id whenever the socket is readable. Closing the socket undoes it.
func (p *poller) add(fd int, id int32) error {
	var err error
	e := p.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: id})
	})
	return errors.Join(e, os.NewSyscallError("epoll_ctl", err))
}

// wait waits until there is something to read, and returns which sockets have it: the Fd of each event is its id. The
// events are good until the next call.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	p.ready, p.err = 0, nil
	if err := p.raw.Read(p.read); err != nil {
		return nil, err
	}
	return p.events[:p.ready], p.err
}

// readNow is wait without waiting; it reports whether there is no need to.
func (p *poller) readNow(fd uintptr) bool {
	for {
		n, err := pollNow(int(fd), p.events[:])
		if err == unix.EINTR {
			continue
		}
		p.ready, p.err = n, os.NewSyscallError("epoll_wait", err)
		return n != 0
	}
}

// close makes wait return an error.
func (p *poller) close() { _ = p.file.Close() }
