package server

import "github.com/waypost/waypost/message"

// stream is where messages of a TCP connection are read and answered, several at a time.
type stream struct {
	desk
	in   []byte
	have int // bytes of in that have been read
	out  []byte
}

// Sizes of a stream.
const (
	streamIn = 4 * maxRequest
	flushAt  = 16 << 10 // bytes of answers after which they are sent
)

func newStream(s *Server) *stream {
	t := &stream{in: make([]byte, streamIn)}
	t.server, t.q.Resolver, t.q.Listener, t.q.Transport = s, s, s.config.Name, message.TCP
	return t
}

// begin makes the stream ready for messages of c.
func (s *stream) begin(c *conn) {
	s.q.Shard = c.shard
	s.out = s.out[:0]
}

// respond answers a packet; the answer, if there is one now, goes behind the others.
func (s *stream) respond(packet []byte) *parked {
	at := len(s.out) + 2
	s.out = append(s.out, 0, 0)
	reply, later := s.desk.respond(packet, s.out[at:])
	s.out = frame(s.out[:at-2], reply)
	return later
}

// flush returns the answers, which are the caller's until the next one is added.
func (s *stream) flush() []byte {
	messages := s.out
	s.out = s.out[:0]
	return messages
}

// frame appends a message and its length (RFC 1035 section 4.2.2). It may stand in out already, where it is to stand.
func frame(out, message []byte) []byte {
	if len(message) == 0 {
		return out
	}
	out = append(out, byte(len(message)>>8), byte(len(message)))
	return append(out, message...)
}
