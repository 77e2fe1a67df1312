package message

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Query is one request. A listener fills the first part and calls Parse, which fills the rest.
type Query struct {
	From      netip.AddrPort // who asks
	Local     netip.AddrPort // the address that was asked; the listener's own where the socket does not say
	Transport Transport
	Received  time.Time
	Shard     int      // which shard of per-loop counters this query counts in
	MayBlock  bool     // off the socket loop: a step may wait for something
	Resolver  Resolver // asks the whole server a further question
	Depth     int      // how many questions deep inside the Resolver this one is

	ID      uint16
	Bits    uint16 // the header's second word as it came
	Type    Type
	Class   Class
	EDNS    EDNS
	Size    int   // bytes of the request
	Reject  Rcode // why Parse said Rejected
	hasName bool  // the question section was read

	nameLen uint8
	labels  uint8
	starts  [maxLabels]uint8 // where each label starts in the two below; the last one is the root
	asked   [MaxNameLen]byte // the question's name as it came, uncompressed
	lower   [MaxNameLen]byte // the same in lower case
}

// EDNS is what a request's OPT record says (RFC 6891 section 6.1.2).
type EDNS struct {
	Present bool
	DO      bool // DNSSEC OK
	Version uint8
	UDPSize uint16
	Options []byte // the options, well-formed; a slice of the request
}

// Resolver answers a question from inside, through the blocks and steps that a client's question would take.
type Resolver interface {
	// Resolve asks for name and typ on behalf of from. The reply is a whole message in wire form, the caller's to keep.
	// It is not covered where no server block, or no step of the one that fits, has anything to say of the name.
	Resolve(from *Query, name Name, typ Type) (reply []byte, covered bool)
}

// Status is what became of a packet in Parse.
type Status uint8

// The statuses.
const (
	Accepted Status = iota
	Rejected        // to be answered with Query.Reject and nothing more
	Ignored         // to be dropped: too short, or itself a response
)

// Parse reads a request in place: header, question and OPT record. Other records are stepped over. The Query refers to
// packet until the next Parse.
//
// What is refused and how follows CoreDNS, which follows miekg/dns: a response or less than a header is ignored; an
// opcode other than QUERY is NOTIMP; counts other than one question, at most one answer, one authority and two
// additional records are FORMERR, and so is whatever does not parse. A section that ends early at the packet's very end
// is taken as it is.
func (q *Query) Parse(packet []byte) Status {
	q.Size = len(packet)
	q.EDNS = EDNS{}
	q.Type, q.Class, q.hasName, q.nameLen, q.labels = TypeNone, 0, false, 0, 0
	if len(packet) < HeaderLen {
		return Ignored
	}
	q.ID = binary.BigEndian.Uint16(packet)
	q.Bits = binary.BigEndian.Uint16(packet[2:])
	if q.Bits&BitQR != 0 {
		return Ignored
	}
	if q.Bits>>opcodeShift&opcodeMask != 0 {
		q.Reject = NotImp
		return Rejected
	}
	counts := [4]uint16{
		binary.BigEndian.Uint16(packet[4:]), binary.BigEndian.Uint16(packet[6:]),
		binary.BigEndian.Uint16(packet[8:]), binary.BigEndian.Uint16(packet[10:]),
	}
	q.Reject = FormErr
	if counts[0] != 1 || counts[1] > 1 || counts[2] > 1 || counts[3] > 2 {
		return Rejected
	}
	off, ok := q.parseQuestion(packet)
	if !ok || !q.parseRecords(packet, off, int(counts[1]+counts[2]), int(counts[3])) {
		return Rejected
	}
	return Accepted
}

// parseQuestion reads the question and returns where it ends.
func (q *Query) parseQuestion(packet []byte) (int, bool) {
	off, ok := q.parseName(packet)
	if !ok {
		return 0, false
	}
	if rest := len(packet) - off; rest >= 4 {
		q.Type = Type(binary.BigEndian.Uint16(packet[off:]))
		q.Class = Class(binary.BigEndian.Uint16(packet[off+2:]))
		off += 4
	} else if rest == 2 {
		q.Type = Type(binary.BigEndian.Uint16(packet[off:]))
		off += 2
	} else if rest != 0 {
		return 0, false
	}
	q.hasName = true
	return off, true
}

// parseName copies the question's name out of the packet, as it is and in lower case, and notes where labels start.
func (q *Query) parseName(packet []byte) (int, bool) {
	off, end, pointers, n, count := HeaderLen, 0, 0, 0, 0
	for off < len(packet) {
		c := int(packet[off])
		switch {
		case c == 0:
			q.starts[count] = uint8(n)
			q.asked[n], q.lower[n] = 0, 0
			q.nameLen, q.labels = uint8(n+1), uint8(count)
			if pointers == 0 {
				end = off + 1
			}
			return end, true
		case c < 0x40:
			if off+1+c > len(packet) || n+1+c >= MaxNameLen {
				return 0, false
			}
			q.starts[count] = uint8(n)
			count++
			q.asked[n], q.lower[n] = byte(c), byte(c)
			for i, b := range packet[off+1 : off+1+c] {
				q.asked[n+1+i], q.lower[n+1+i] = b, lower(b)
			}
			n += c + 1
			off += c + 1
		case c >= 0xC0 && off+1 < len(packet):
			if pointers == 0 {
				end = off + 2
			}
			if pointers++; pointers > maxLabels-2 {
				return 0, false
			}
			off = (c&0x3F)<<8 | int(packet[off+1])
		default:
			return 0, false
		}
	}
	return 0, false
}

// parseRecords steps over the records before the additional section and looks for OPT in that.
func (q *Query) parseRecords(packet []byte, off, before, additional int) bool {
	for i := 0; i < before+additional && off < len(packet); i++ {
		fixed, ok := skipName(packet, off)
		if !ok || fixed+fixedLen > len(packet) {
			return false
		}
		typ := Type(binary.BigEndian.Uint16(packet[fixed:]))
		data := fixed + fixedLen
		off = data + int(binary.BigEndian.Uint16(packet[fixed+8:]))
		if off > len(packet) {
			return false
		}
		if typ == TypeOPT && i >= before && !q.parseOPT(packet[fixed:data], packet[data:off]) {
			return false
		}
	}
	return true
}

// parseOPT takes over an OPT record; of two the later one counts.
func (q *Query) parseOPT(fixed, options []byte) bool {
	if !validOptions(options) {
		q.EDNS = EDNS{}
		return false
	}
	q.EDNS = EDNS{
		Present: true,
		UDPSize: binary.BigEndian.Uint16(fixed[2:]),
		Version: fixed[5],
		DO:      fixed[6]&0x80 != 0,
		Options: options,
	}
	return true
}

// skipName returns the offset behind a name that is not looked at: after its root label or its first pointer.
func skipName(packet []byte, off int) (int, bool) {
	for n := 0; off < len(packet); {
		c := int(packet[off])
		switch {
		case c == 0:
			return off + 1, true
		case c >= 0xC0:
			return off + 2, off+2 <= len(packet)
		case c >= 0x40 || n+1+c >= MaxNameLen:
			return 0, false
		}
		n += c + 1
		off += c + 1
	}
	return 0, false
}

// Name is the name that was asked for, in wire form and the client's letter case.
func (q *Query) Name() []byte { return q.asked[:q.nameLen] }

// Lower is Name in lower case.
func (q *Query) Lower() []byte { return q.lower[:q.nameLen] }

// Labels is the number of labels of the name, without the root.
func (q *Query) Labels() int { return int(q.labels) }

// Label is the text of label i in lower case, counted from the left; i is less than Labels().
func (q *Query) Label(i int) []byte {
	at := int(q.starts[i])
	return q.lower[at+1 : at+1+int(q.lower[at])]
}

// Start is the offset of label i in Name and Lower; i may be Labels(), which is the root.
func (q *Query) Start(i int) int { return int(q.starts[i]) }

// Suffix is what Lower is from label i on, a name itself.
func (q *Query) Suffix(i int) []byte { return q.lower[q.starts[i]:q.nameLen] }

// Under reports whether the name is zone or below it.
func (q *Query) Under(zone Name) bool {
	at := int(q.nameLen) - len(zone)
	if at < 0 || string(q.lower[at:q.nameLen]) != string(zone) {
		return false
	}
	for i := 0; i <= int(q.labels); i++ {
		if int(q.starts[i]) >= at {
			return int(q.starts[i]) == at
		}
	}
	return false
}

// UDPLimit is the size in bytes that the client takes in one reply: by EDNS over UDP, or 512 without it.
func (q *Query) limit() int {
	if q.Transport != UDP {
		return MaxLen
	}
	return min(max(int(q.EDNS.UDPSize), MinUDPSize), MaxDatagram)
}

// Detach copies the query, so that it can be answered after its packet is gone.
func (q *Query) Detach() *Query {
	d := *q
	d.EDNS.Options = append([]byte(nil), q.EDNS.Options...)
	return &d
}

// Ask makes q the question for name and typ in class IN that the Resolver asks on behalf of from: same client, same
// transport, no EDNS. It has no size limit but that of TCP.
func (q *Query) Ask(from *Query, name Name, typ Type) {
	q.From, q.Local, q.Received, q.Shard, q.Resolver = from.From, from.Local, from.Received, from.Shard, from.Resolver
	q.Transport, q.MayBlock, q.Depth = TCP, from.MayBlock, from.Depth+1
	q.ID, q.Bits, q.Type, q.Class, q.EDNS = from.ID, from.Bits, typ, ClassIN, EDNS{}
	q.Size = HeaderLen + len(name) + 4
	q.setName([]byte(name))
}

// setName takes a valid, uncompressed name.
func (q *Query) setName(name []byte) {
	n := copy(q.asked[:], name)
	q.nameLen, q.labels, q.hasName = uint8(n), 0, true
	for i := 0; i < n; i += int(name[i]) + 1 {
		q.starts[q.labels] = uint8(i)
		if name[i] == 0 {
			break
		}
		q.labels++
	}
	for i, b := range q.asked[:n] {
		q.lower[i] = lower(b)
	}
}
