package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/waypost/waypost/message"
)

// Probe says how to find out whether a server is there. A field that is zero has the default which its comment names.
type Probe struct {
	Interval  time.Duration // after the first one that failed: 500 ms
	Domain    message.Name  // whose name servers are asked for: the root
	NoRecurse bool          // the question does not ask for recursion
	TCP       bool          // TCP instead of UDP
}

func (p Probe) withDefaults() Probe {
	p.Domain = cmp.Or(p.Domain, message.Root)
	p.Interval = cmp.Or(p.Interval, 500*time.Millisecond)
	return p
}

// Times of a probe.
const (
	probeConnect = 2 * time.Second
	probeReply   = time.Second
)

var errProbe = errors.New("upstream: no reply to a probe")

// probe asks for the name servers of a domain over a connection of its own. Whatever replies is there: a refusal too.
func (s *Server) probe(ctx context.Context) error {
	var random random
	m := s.probeMessage(random.uint16())
	if s.client != nil {
		ctx, cancel := context.WithTimeout(ctx, probeReply)
		defer cancel()
		_, err := s.roundTrip(ctx, m)
		return err
	}
	conn, stream, err := s.connectProbe(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })()
	if err := conn.SetDeadline(time.Now().Add(probeReply)); err != nil {
		return err
	}
	out := m
	if stream {
		out = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	if _, err := conn.Write(out); err != nil {
		return err
	}
	return awaitProbe(conn, stream, binary.BigEndian.Uint16(m))
}

// probeMessage is the question.
func (s *Server) probeMessage(id uint16) []byte {
	bits := message.BitRD
	if s.config.Probe.NoRecurse {
		bits = 0
	}
	m := binary.BigEndian.AppendUint16(nil, id)
	m = binary.BigEndian.AppendUint16(m, bits)
	m = append(m, 0, 1, 0, 0, 0, 0, 0, 0)
	m = append(m, s.config.Probe.Domain...)
	return append(m, 0, byte(message.TypeNS), 0, byte(message.ClassIN))
}

// connectProbe opens the connection; stream says that messages have their length before them.
func (s *Server) connectProbe(ctx context.Context) (conn net.Conn, stream bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeConnect)
	defer cancel()
	d := s.dialer()
	if s.config.Protocol == Plain && !s.config.Probe.TCP {
		if s.config.Source.IsValid() {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.config.Source, 0))
		}
		conn, err = d.DialContext(ctx, "udp", s.name)
		return conn, false, err
	}
	if conn, err = d.DialContext(ctx, "tcp", s.name); err != nil || s.config.Protocol == Plain {
		return conn, true, err
	}
	secure := tls.Client(conn, s.config.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, true, err
	}
	return secure, true, nil
}

// awaitProbe reads until the reply is there, by its ID.
func awaitProbe(conn net.Conn, stream bool, id uint16) error {
	buffer := make([]byte, message.MaxLen)
	for {
		var n int
		var err error
		if stream {
			n, err = readFrame(conn, buffer)
		} else {
			n, err = conn.Read(buffer)
		}
		if err != nil {
			return err
		}
		if n >= message.HeaderLen && binary.BigEndian.Uint16(buffer) == id && buffer[2]&0x80 != 0 {
			return nil
		}
		if stream {
			return errProbe
		}
	}
}

// readFrame reads a message with its length before it.
func readFrame(r io.Reader, buffer []byte) (int, error) {
	if _, err := io.ReadFull(r, buffer[:2]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(buffer))
	return io.ReadFull(r, buffer[:n])
}
