// Package nfnetlink carries messages between a program and the kernel's netfilter: requests and transactions out of a
// Buffer, answers and dumps message by message, and errors in the kernel's own words. It knows of no table and no flow.
package nfnetlink

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket to netfilter, in the network namespace of the thread that dialled it. The kernel works on what
// is sent while it is being sent, so that the answers are there once sending returns. One call at a time, but for Close.
type Conn struct {
	file   *os.File // not blocking, so that Close ends a Receive
	port   uint32
	buffer []byte
}

// Options of a Conn. The zero value is a socket that listens to nobody, with the kernel's usual buffers.
type Options struct {
	// SendBuffer, in bytes, bounds what one Execute can send. It needs CAP_NET_ADMIN to go beyond net.core.wmem_max.
	SendBuffer int
	// ReceiveBuffer, in bytes, bounds what waits to be received; what comes beyond it is lost, and said to be.
	ReceiveBuffer int
	// Ignore is the Port of the socket whose changes a group, that Join joins, need not tell of; 0 is none.
	Ignore uint32
}

// receiveSize is what a datagram of the kernel never exceeds: it fills 32 KiB at most, but for a message larger than that.
const receiveSize = 256 << 10

// Dial opens a socket.
func Dial(o Options) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket to netfilter (the kernel needs CONFIG_NETFILTER_NETLINK): %w", err)
	}
	port, err := prepare(fd, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up a netlink socket to netfilter: %w", err), unix.Close(fd))
	}
	return &Conn{file: os.NewFile(uintptr(fd), "netfilter"), port: port, buffer: make([]byte, receiveSize)}, nil
}

func prepare(fd int, o Options) (port uint32, err error) {
	if o.SendBuffer > 0 {
		err = force(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, o.SendBuffer)
	}
	if o.ReceiveBuffer > 0 && err == nil {
		err = force(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, o.ReceiveBuffer)
	}
	if o.Ignore != 0 && err == nil {
		err = ignore(fd, o.Ignore)
	}
	// Errors come with the kernel's words and without the request they are about.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
		}
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		return 0, err
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return address.(*unix.SockaddrNetlink).Pid, nil
}

// force sets a buffer's size beyond the system's limit where that is allowed, else up to it.
func force(fd, forced, plain, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, forced, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
}

// ignore lets the kernel leave out what the socket port has changed: a message's sender stands at offset 12, in the
// machine's byte order, and a packet filter loads words in the network's.
func ignore(fd int, port uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: swapped(port)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// Port is the socket's address. The kernel tells it to those who listen for changes, as the one who made them.
func (c *Conn) Port() uint32 { return c.port }

// Join begins to listen to a multicast group, as unix.NFNLGRP_NFTABLES.
func (c *Conn) Join(group int) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("join netlink group %d: %w", group, err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("join netlink group %d: %w", group, err)
	}
	return nil
}

// Close ends the connection, and a Receive that waits.
func (c *Conn) Close() error { return c.file.Close() }

// Execute sends b's messages in one piece and returns the first error that the kernel has about them, an *Error. At least
// the last one that matters must ask to be acknowledged.
func (c *Conn) Execute(b *Buffer) error {
	var first error
	err := c.ExecuteEach(b, func(e *Error) {
		if first == nil {
			first = e
		}
	})
	if err != nil {
		return err
	}
	return first
}

// ExecuteEach is Execute for messages that succeed or fail one by one: it calls failed for each that failed.
func (c *Conn) ExecuteEach(b *Buffer, failed func(*Error)) error {
	if err := c.send(b); err != nil {
		return err
	}
	answered := false
	for {
		datagram, err := c.read(false)
		switch {
		case errors.Is(err, unix.EAGAIN) && answered:
			return nil
		case errors.Is(err, unix.EAGAIN):
			return errSilent
		case err != nil:
			return err
		}
		for m := range Messages(datagram) {
			if m.Type != unix.NLMSG_ERROR {
				continue
			}
			answered = true
			if e := m.Err(); e != nil {
				failed(e)
			}
		}
	}
}

// Ask sends the one request in b, a dump or one to be acknowledged, and calls each for every message of the answer, whose
// bytes are valid during the call. An error of each is returned once the answer is over. ErrInterrupted tells that the state
// changed meanwhile.
func (c *Conn) Ask(b *Buffer, each func(Message) error) error {
	if err := c.send(b); err != nil {
		return err
	}
	var first error
	interrupted := false
	for {
		datagram, err := c.read(true)
		if err != nil {
			return err
		}
		for m := range Messages(datagram) {
			interrupted = interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case m.Type == unix.NLMSG_ERROR && m.Err() != nil:
				return m.Err()
			case m.Type == unix.NLMSG_ERROR:
				return first
			case m.Type == unix.NLMSG_DONE && first == nil && interrupted:
				return ErrInterrupted
			case m.Type == unix.NLMSG_DONE:
				return first
			case m.Type >= unix.NLMSG_MIN_TYPE && first == nil:
				first = each(m)
			}
		}
	}
}

// Receive waits for messages that were not asked for and calls each for every one of them, in the pieces that the kernel
// tells them in. It returns unix.ENOBUFS where some were lost, and an error that is os.ErrClosed after Close.
func (c *Conn) Receive(each func(Message)) error {
	n, err := c.file.Read(c.buffer)
	if err != nil {
		return fmt.Errorf("receive from netfilter: %w", err)
	}
	for m := range Messages(c.buffer[:n]) {
		each(m)
	}
	return nil
}

func (c *Conn) send(b *Buffer) error {
	if err := c.drain(); err != nil {
		return err
	}
	if _, err := c.file.Write(b.bytes); err != nil {
		return fmt.Errorf("send %d bytes to netfilter: %w", len(b.bytes), err)
	}
	return nil
}

// drain forgets answers to something earlier that nobody waited for.
func (c *Conn) drain() error {
	for {
		switch _, err := c.read(false); {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS):
			return err
		}
	}
}

var (
	// ErrInterrupted is returned by Ask when the kernel's state changed while it was told: some of it may be missing.
	ErrInterrupted = errors.New("the state changed while it was dumped")

	errSilent = errors.New("netfilter did not answer: no message asked to be acknowledged")
)

// read reads one datagram; it waits for it, or returns unix.EAGAIN.
func (c *Conn) read(wait bool) ([]byte, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("receive from netfilter: %w", err)
	}
	n := 0
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), c.buffer, unix.MSG_DONTWAIT)
		return !wait || !errors.Is(failed, unix.EAGAIN)
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("receive from netfilter: %w", err)
	}
	return c.buffer[:n], nil
}
