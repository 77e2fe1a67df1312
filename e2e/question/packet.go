package question

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/miekg/dns"
)

// Question is one DNS message and the transport to send it over.
type Question struct {
	Packet []byte // ID included
	Name   string // as in the packet, case kept; empty in a packet that is no sound question
	Type   uint16
	TCP    bool
}

// WithBits returns the question with other bits in the header's third and fourth byte, of which set makes them.
func (q Question) WithBits(set func(bits uint16) uint16) Question {
	packet := append([]byte(nil), q.Packet...)
	binary.BigEndian.PutUint16(packet[2:], set(binary.BigEndian.Uint16(packet[2:])))
	q.Packet = packet
	return q
}

// InClass returns the question with another class.
func (q Question) InClass(class uint16) Question { return q.behindName(2, class) }

// OfType returns the question with another type.
func (q Question) OfType(qtype uint16) Question {
	q.Type = qtype
	return q.behindName(0, qtype)
}

// behindName returns the question with another number at an offset from the end of its name.
func (q Question) behindName(offset int, number uint16) Question {
	packet := append([]byte(nil), q.Packet...)
	if _, end, err := dns.UnpackDomainName(packet, 12); err == nil {
		binary.BigEndian.PutUint16(packet[end+offset:], number)
	}
	q.Packet = packet
	return q
}

// String is the question as an argument list of dig, for people; it leaves out what dig cannot send.
func (q *Question) String() string {
	s := fmt.Sprintf("%s %s", q.Name, dns.Type(q.Type))
	if q.Name == "" {
		s = fmt.Sprintf("packet %x", q.Packet)
	}
	if q.TCP {
		s += " +tcp"
	}
	var m dns.Msg
	if m.Unpack(q.Packet) != nil {
		return s
	}
	if len(m.Question) > 0 && m.Question[0].Qclass != dns.ClassINET {
		s += " -c " + dns.Class(m.Question[0].Qclass).String()
	}
	if !m.RecursionDesired {
		s += " +norecurse"
	}
	if m.CheckingDisabled {
		s += " +cdflag"
	}
	if o := m.IsEdns0(); o != nil {
		s += fmt.Sprintf(" +bufsize=%d", o.UDPSize())
		if o.Do() {
			s += " +dnssec"
		}
		if o.Version() != 0 {
			s += fmt.Sprintf(" +edns=%d", o.Version())
		}
		if flags := o.Hdr.Ttl & 0x7fff; flags != 0 {
			s += fmt.Sprintf(" +ednsflags=%#x", flags)
		}
		for _, option := range o.Option {
			s += fmt.Sprintf(" +ednsopt=%d", option.Option())
		}
	}
	return s
}

// Limit is the size, in bytes, of the largest answer to the question.
func (q *Question) Limit() int {
	if q.TCP {
		return dns.MaxMsgSize
	}
	var m dns.Msg
	if m.Unpack(q.Packet) == nil && m.IsEdns0() != nil {
		return max(dns.MinMsgSize, int(m.IsEdns0().UDPSize()))
	}
	return dns.MinMsgSize
}

// edns is what an OPT record of a question says.
type edns struct {
	size    uint16
	version byte
	rcode   byte   // the upper bits, which mean nothing in a question
	flags   uint16 // DO is 0x8000
	options []byte // encoded
}

// flags of the header's third and fourth byte, as a question may have them.
const (
	flagRD = 0x0100
	flagAD = 0x0020
	flagCD = 0x0010
	flagZ  = 0x0040
	flagRA = 0x0080
	flagAA = 0x0400
	flagTC = 0x0200
)

// build makes a question's packet. It fails on names that do not fit into a message.
func build(id uint16, flags uint16, name string, qtype uint16, e *edns) ([]byte, error) {
	p := make([]byte, 12, 512)
	binary.BigEndian.PutUint16(p, id)
	binary.BigEndian.PutUint16(p[2:], flags)
	binary.BigEndian.PutUint16(p[4:], 1)
	var buf [256]byte
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("pack the name %q: %w", name, err)
	}
	p = append(p, buf[:n]...)
	p = binary.BigEndian.AppendUint16(p, qtype)
	p = binary.BigEndian.AppendUint16(p, dns.ClassINET)
	if e != nil {
		binary.BigEndian.PutUint16(p[10:], 1)
		p = e.append(p)
	}
	return p, nil
}

func (e *edns) append(p []byte) []byte {
	p = append(p, 0)
	p = binary.BigEndian.AppendUint16(p, dns.TypeOPT)
	p = binary.BigEndian.AppendUint16(p, e.size)
	p = append(p, e.rcode, e.version)
	p = binary.BigEndian.AppendUint16(p, e.flags)
	p = binary.BigEndian.AppendUint16(p, uint16(len(e.options)))
	return append(p, e.options...)
}

// options are EDNS options as clients send them: none, NSID, cookies whole and short, padding, keepalive, a client
// subnet, one that nobody knows.
var options = [][]byte{
	nil, {0, 3, 0, 0}, {0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 10, 0, 3, 1, 2, 3}, {0, 12, 0, 4, 0, 0, 0, 0}, {0, 11, 0, 0},
	{0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2}, {0xfd, 0xe9, 0, 2, 7, 7}, {0, 9, 0, 0},
}

// randomEDNS draws an OPT record, most often an ordinary one, or none.
func randomEDNS(r *rand.Rand) *edns {
	if r.IntN(2) == 0 {
		return nil
	}
	e := &edns{size: []uint16{0, 512, 1232, 1232, 4096, 4096, 65535, 513, 700, 1400}[r.IntN(10)]}
	if r.IntN(4) == 0 {
		e.flags = 0x8000
	}
	switch r.IntN(24) {
	case 0:
		e.version = byte(1 + r.IntN(2)*254)
	case 1:
		e.flags |= uint16(r.IntN(0x8000))
	case 2:
		e.rcode = byte(r.IntN(256))
	}
	if r.IntN(4) == 0 {
		e.options = options[r.IntN(len(options))]
	}
	return e
}

// usualFlags draws header bits of clients that want recursion.
func usualFlags(r *rand.Rand) uint16 {
	return [...]uint16{flagRD, flagRD, flagRD, flagRD | flagAD, flagRD | flagCD, flagRD | flagAD | flagCD}[r.IntN(6)]
}

// randomFlags draws header bits, most often RD alone.
func randomFlags(r *rand.Rand) uint16 {
	switch r.IntN(8) {
	case 0:
		return 0
	case 1:
		return flagRD | flagCD
	case 2:
		return flagRD | flagAD
	case 3:
		return uint16(r.IntN(0x10000)) & (flagRD | flagAD | flagCD | flagZ | flagRA | flagAA | flagTC | 0xf)
	}
	return flagRD
}
