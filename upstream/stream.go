package upstream

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/waypost/waypost/message"
)

// stream is a TCP or TLS connection: a goroutine that opens it and then reads, and one that writes.
type stream struct {
	owner    *streams
	opened   time.Time
	age      time.Duration // how long to use it, if Config.MaxAge is set
	writable chan struct{} // there is something to write, or the stream has ended

	mu       sync.Mutex
	conn     net.Conn // nil while it is being opened
	random   random
	waiting  []*pending // for a reply, in the order of their deadlines
	out      []byte     // messages to write
	answered int        // replies so far
	received time.Time  // the last of them
	expire   bool       // it is not to be kept once nothing waits
	ended    bool
}

// add takes on a question, unless so many wait already or the connection is not to be used any more.
func (s *stream) add(p *pending, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := &s.owner.server.config
	old := config.MaxAge > 0 && s.answered > 0 && time.Since(s.opened) >= s.age
	if s.ended || old || len(s.waiting) >= most {
		return false
	}
	p.setID(s.random.id(s.waiting))
	p.deadline = time.Now().Add(config.Read)
	s.waiting = append(s.waiting, p)
	s.out = binary.BigEndian.AppendUint16(s.out, uint16(len(p.packet)))
	s.out = append(s.out, p.packet...)
	if s.conn != nil && len(s.waiting) == 1 {
		s.conn.SetReadDeadline(p.deadline)
	}
	s.signal()
	return true
}

// signal wakes the writer.
func (s *stream) signal() {
	select {
	case s.writable <- struct{}{}:
	default:
	}
}

// load is how many questions wait.
func (s *stream) load() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// idle reports whether nothing waits, and the connection is to be kept all the same.
func (s *stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0 && !s.expire && !s.ended
}

// run opens the connection and reads it until it ends.
func (s *stream) run() {
	conn, err := s.owner.server.dial(s.owner)
	if err != nil {
		s.end(err)
		return
	}
	s.mu.Lock()
	s.conn = conn
	for _, p := range s.waiting { // their time begins now
		p.deadline = time.Now().Add(s.owner.server.config.Read)
	}
	s.mu.Unlock()
	go s.write()
	s.end(s.read())
}

// dial opens a connection.
func (s *Server) dial(ss *streams) (net.Conn, error) {
	ctx, cancel := ss.dialTime()
	defer cancel()
	conn, err := s.dialer().DialContext(ctx, "tcp", s.config.Addr.String())
	if err != nil || s.config.Protocol != TLS {
		return conn, err
	}
	secure := tls.Client(conn, s.config.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp-tls", Addr: conn.RemoteAddr(), Err: err}
	}
	return secure, nil
}

// write writes what is queued, as many messages at a time as there are.
func (s *stream) write() {
	var spare []byte
	for range s.writable {
		s.mu.Lock()
		out, ended := s.out, s.ended
		s.out = spare[:0]
		s.mu.Unlock()
		if ended {
			return
		}
		s.conn.SetWriteDeadline(time.Now().Add(s.owner.server.config.Read))
		if _, err := s.conn.Write(out); err != nil {
			s.end(err)
			return
		}
		spare = out
	}
}

// read reads replies until the connection ends, and returns why it did.
func (s *stream) read() error {
	packer := new(message.Packer)
	buffer := make([]byte, 0, 4096)
	for {
		s.setDeadline()
		if cap(buffer)-len(buffer) < 2048 {
			buffer = append(make([]byte, 0, 2*cap(buffer)), buffer...)
		}
		n, err := s.conn.Read(buffer[len(buffer):cap(buffer)])
		buffer = s.take(buffer[:len(buffer)+n], packer)
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = s.late(err)
		}
		if err != nil {
			return err
		}
	}
}

// take handles the replies that have come whole, and returns the rest.
func (s *stream) take(buffer []byte, packer *message.Packer) []byte {
	rest := buffer
	for len(rest) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(rest))
		if len(rest) < end {
			break
		}
		s.reply(rest[2:end], packer)
		rest = rest[end:]
	}
	return buffer[:copy(buffer, rest)]
}

// reply finds out what a message answers and tells who asked. A broken reply is an error at once: over a connection
// nobody else sends, and there will be no other.
func (s *stream) reply(packet []byte, packer *message.Packer) {
	server, now := s.owner.server, time.Now()
	p := s.claim(packet, now)
	if p == nil {
		server.metrics.wrong.Inc()
		return
	}
	reply, err := packer.Pack(packet, p.question(), p.sorted)
	if err != nil {
		server.metrics.wrong.Inc()
		p.asker.Answered(nil, s.failed("read", err))
		return
	}
	server.answered(p, reply, now)
}

// claim takes the question that a message has the ID of off the list; nil is none.
func (s *stream) claim(packet []byte, now time.Time) *pending {
	if len(packet) < message.HeaderLen {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := byID(s.waiting, binary.BigEndian.Uint16(packet))
	if i < 0 {
		return nil
	}
	p := s.waiting[i]
	s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
	s.answered++
	s.received = now
	return p
}

// setDeadline says until when to read: until the first question has waited for too long, or the connection was idle.
func (s *stream) setDeadline() {
	s.owner.dismiss(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.waiting) > 0:
		s.conn.SetReadDeadline(s.waiting[0].deadline)
	case s.expire || s.owner.closing.Load():
		s.conn.SetReadDeadline(past)
	default:
		s.conn.SetReadDeadline(s.expiry())
	}
}

// past is a deadline that ends a Read.
var past = time.Unix(1, 0)

// expiry is until when to keep the connection, if nothing waits. The caller holds mu.
func (s *stream) expiry() time.Time {
	since := s.received
	if since.IsZero() {
		since = s.opened
	}
	return since.Add(s.owner.server.config.Expire)
}

// late looks, after a deadline, who has waited for too long, and tells them. It returns an error if the connection has to
// end: nobody needs it, or nothing came since the first of them asked.
func (s *stream) late(timeout error) error {
	gone, err := s.overdue(time.Now(), timeout)
	for _, p := range gone {
		p.asker.Answered(nil, s.failed("read", os.ErrDeadlineExceeded))
	}
	return err
}

// overdue takes those who have waited for too long off the list, but if the connection has to end.
func (s *stream) overdue(now time.Time, timeout error) ([]*pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.ended = s.expire || s.owner.closing.Load() || !s.expiry().After(now)
		if s.ended {
			return nil, errIdle
		}
		return nil, nil
	}
	n := 0
	for n < len(s.waiting) && !s.waiting[n].deadline.After(now) {
		n++
	}
	if n > 0 && s.received.Before(s.waiting[0].asked) {
		return nil, timeout
	}
	gone := append([]*pending(nil), s.waiting[:n]...)
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	return gone, nil
}

// end closes the connection. Those who wait are told why, but for questions that deserve another one.
func (s *stream) end(why error) {
	s.mu.Lock()
	lost, conn, served := s.waiting, s.conn, s.answered > 0
	s.waiting, s.ended = nil, true
	s.signal()
	s.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	s.owner.forget(s)
	now := time.Now()
	for _, p := range lost {
		if conn != nil && p.deservesAnother(why, served, now) {
			s.owner.retry(p)
			continue
		}
		p.asker.Answered(nil, why)
	}
}

// deservesAnother reports whether a question is to be asked once more, over another connection: the server closed one over
// which it had answered, or it was silent about an earlier question.
func (p *pending) deservesAnother(why error, served bool, now time.Time) bool {
	switch {
	case p.again:
		return false
	case errors.Is(why, os.ErrDeadlineExceeded):
		return p.deadline.After(now)
	}
	return served
}

// wake makes the reader look whether to go on.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && len(s.waiting) == 0 {
		s.conn.SetReadDeadline(past)
	}
}

// failed is an error of this connection.
func (s *stream) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.conn.LocalAddr(), Addr: s.conn.RemoteAddr(), Err: err}
}
