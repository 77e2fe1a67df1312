// Package ask sends DNS messages, as bytes, to a server under test and takes its answers, as bytes.
package ask

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// ErrNoReply is returned when a server did not answer in time, however often it was asked, or closed the connection instead.
var ErrNoReply = errors.New("no reply")

// Conn asks one server, one question after the other. Use one per goroutine.
type Conn struct {
	server netip.AddrPort
	dial   Dialer
	udp    net.Conn
	late   bool // a reply that was given up may still come to the UDP socket
	tcp    net.Conn
	buf    []byte

	Timeout time.Duration // of one try
	Tries   int           // over UDP; over TCP a question is asked once more on a new connection
}

// Dialer opens a socket as net.Dial does, perhaps in another network namespace.
type Dialer func(network, address string) (net.Conn, error)

// Dial prepares to ask a server.
func Dial(server netip.AddrPort) (*Conn, error) { return DialWith(net.Dial, server) }

// DialWith prepares to ask a server through sockets that dial opens.
func DialWith(dial Dialer, server netip.AddrPort) (*Conn, error) {
	udp, err := dial("udp", server.String())
	if err != nil {
		return nil, fmt.Errorf("dial udp %s: %w", server, err)
	}
	return &Conn{server: server, dial: dial, udp: udp, buf: make([]byte, 1<<16), Timeout: time.Second, Tries: 4}, nil
}

// Close gives the sockets back.
func (c *Conn) Close() {
	c.udp.Close()
	if c.tcp != nil {
		c.tcp.Close()
	}
}

// UDP sends a message and returns the answer to it, told by its ID. The next message may have the same one, so what came too
// late for this one is left behind in its socket.
func (c *Conn) UDP(message []byte) ([]byte, error) {
	if c.late {
		if err := c.redial(); err != nil {
			return nil, err
		}
	}
	for range c.Tries {
		answer, err := c.tryUDP(message)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
		c.late = true
	}
	return nil, ErrNoReply
}

// redial opens another UDP socket. The former one is closed only then, so that the port is another one, too.
func (c *Conn) redial() error {
	udp, err := c.dial("udp", c.server.String())
	if err != nil {
		return fmt.Errorf("dial udp %s: %w", c.server, err)
	}
	c.udp.Close()
	c.udp, c.late = udp, false
	return nil
}

func (c *Conn) tryUDP(message []byte) ([]byte, error) {
	if _, err := c.udp.Write(message); err != nil {
		return nil, fmt.Errorf("send to %s: %w", c.server, err)
	}
	if err := c.udp.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, err
	}
	for {
		n, err := c.udp.Read(c.buf)
		if err != nil {
			return nil, err
		}
		if sameID(c.buf[:n], message) {
			return append([]byte(nil), c.buf[:n]...), nil
		}
	}
}

// TCP sends a message over a connection that is kept, and returns the answer to it. A server that sends a part of one is not
// just slow, so that is an error other than ErrNoReply.
func (c *Conn) TCP(message []byte) ([]byte, error) {
	if c.tcp != nil {
		if answer, err := c.tryTCP(message); err == nil {
			return answer, nil
		}
		c.tcp.Close() // perhaps it had been idle too long
	}
	var err error
	if c.tcp, err = c.dial("tcp", c.server.String()); err != nil {
		c.tcp = nil
		if silent(err) {
			return nil, ErrNoReply
		}
		return nil, fmt.Errorf("dial tcp %s: %w", c.server, err)
	}
	answer, err := c.tryTCP(message)
	if err != nil {
		c.tcp.Close()
		c.tcp = nil
	}
	return answer, err
}

func (c *Conn) tryTCP(message []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	if err := c.tcp.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, err
	}
	if _, err := c.tcp.Write(append(framed, message...)); silent(err) {
		return nil, ErrNoReply
	} else if err != nil {
		return nil, fmt.Errorf("send to %s: %w", c.server, err)
	}
	for {
		if _, err := io.ReadFull(c.tcp, c.buf[:2]); silent(err) {
			return nil, ErrNoReply
		} else if err != nil {
			return nil, fmt.Errorf("read from %s: %w", c.server, err)
		}
		answer := make([]byte, binary.BigEndian.Uint16(c.buf))
		if _, err := io.ReadFull(c.tcp, answer); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ErrNoReply
		} else if err != nil {
			return nil, fmt.Errorf("read from %s, which closed the connection within a reply: %w", c.server, err)
		}
		if sameID(answer, message) {
			return answer, nil
		}
	}
}

// silent reports whether an error is that of a server that takes too long, or has closed the connection. A busy one does so
// where it thinks it idle: with a reset, if a message had come that it did not read any more.
func silent(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func sameID(a, b []byte) bool {
	return len(a) >= 2 && len(b) >= 2 && a[0] == b[0] && a[1] == b[1]
}
