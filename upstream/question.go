package upstream

import (
	"encoding/binary"
	"time"

	"github.com/waypost/waypost/message"
)

// Question is a request to other servers: the message, with ID 0. It must not be copied once it is Set.
type Question struct {
	message []byte
	length  int  // of the question section
	sorted  bool // the answer is to be in the order of message.Reply.Shuffle
	space   [usualLen]byte
}

const (
	// ownSize is the length of UDP replies that are asked for with EDNS: they are not fragmented (RFC 9715).
	ownSize = message.OwnUDPSize
	// usualLen is a request that needs no memory of its own, in bytes.
	usualLen = 96
)

// NewQuestion makes the request by which q is passed on, see Set.
func NewQuestion(q *message.Query, sorted bool) *Question {
	question := new(Question)
	question.Set(q, sorted)
	return question
}

// Set makes it the request by which q is passed on: the name in lower case; the client's RD, CD and DO bits and whether it
// has EDNS; those EDNS options that are not for this server alone. AD says that the reply's AD bit is understood (RFC 6840
// section 5.7).
func (question *Question) Set(q *message.Query, sorted bool) {
	m := append(question.space[:0], 0, 0)
	m = binary.BigEndian.AppendUint16(m, q.Bits&(message.BitRD|message.BitCD)|message.BitAD)
	m = append(m, 0, 1, 0, 0, 0, 0, 0, 0)
	m = append(m, q.Lower()...)
	m = binary.BigEndian.AppendUint16(m, uint16(q.Type))
	m = binary.BigEndian.AppendUint16(m, uint16(q.Class))
	question.length, question.sorted = len(m)-message.HeaderLen, sorted
	if q.EDNS.Present {
		m = appendOPT(m, &q.EDNS)
	}
	question.message = m
}

// Message is the request, with ID 0, for who sends it otherwise than by a Server. It is not to be changed.
func (question *Question) Message() []byte { return question.message }

// Read reads packet, what came for the request by a way on which nothing else can come. The errors are those of Packer.Pack.
func (question *Question) Read(packet []byte) (*message.Packed, error) {
	asked := question.message[message.HeaderLen : message.HeaderLen+question.length]
	return new(message.Packer).Pack(packet, asked, question.sorted)
}

// appendOPT adds the OPT record (RFC 6891 section 6.1.2).
func appendOPT(m []byte, e *message.EDNS) []byte {
	do := byte(0)
	if e.DO {
		do = 0x80
	}
	m[11] = 1 // additional records
	m = append(m, 0, 0, byte(message.TypeOPT), byte(ownSize>>8), byte(ownSize&0xFF), 0, 0, do, 0, 0, 0)
	at := len(m)
	m = e.EndToEnd(m)
	binary.BigEndian.PutUint16(m[at-2:], uint16(len(m)-at))
	return m
}

// pending is a question that waits for its reply.
type pending struct {
	asker    Asker
	packet   []byte // as it was sent
	length   int    // of its question section
	sorted   bool
	asked    time.Time
	deadline time.Time

	port       *port    // over UDP: where it was sent from
	prev, next *pending // over UDP: in the order of deadlines
	queued     bool
	repeated   bool // over UDP: it has been sent more than once
	letters    int  // over UDP: how many letters of its name are in random case
	folded     bool // over UDP: a reply came whose question was in another letter case
	again      bool // over a connection: this is the second one
	space      [usualLen]byte
}

func newPending(q *Question, a Asker, now time.Time) *pending {
	p := &pending{asker: a, length: q.length, sorted: q.sorted, asked: now}
	p.packet = append(p.space[:0], q.message...)
	return p
}

func (p *pending) id() uint16 { return binary.BigEndian.Uint16(p.packet) }

func (p *pending) setID(id uint16) { binary.BigEndian.PutUint16(p.packet, id) }

// question is the question section as it was sent.
func (p *pending) question() []byte {
	return p.packet[message.HeaderLen : message.HeaderLen+p.length]
}

// byID finds the question that was sent with an ID; -1 is none.
func byID(waiting []*pending, id uint16) int {
	for i, p := range waiting {
		if p.id() == id {
			return i
		}
	}
	return -1
}
