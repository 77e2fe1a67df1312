package message

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
)

// Section is a part of a message that holds records. They are filled in their order.
type Section uint8

// The sections.
const (
	Answer Section = iota
	Authority
	Additional
)

// QuestionAt is where the question's name stands in every reply: the owner of most records.
const QuestionAt = HeaderLen

// Reply is a message that is being written, at most as long as the client takes. A record that does not fit is left out
// whole; where it was wanted (Answer or Authority) the reply is Truncated and takes no further ones.
//
// Begin makes it a reply to a query; the steps fill it; Finish closes it.
type Reply struct {
	Rcode         Rcode
	Authoritative bool
	Truncated     bool
	Shuffle       bool   // address records are written in random order
	By            string // the directive that answered, for metrics
	Err           error  // what went wrong on the way, for the error log; nil where nothing did
	Unanswered    bool   // no step of the block has answered, now or when the reply was kept: it says nothing of the name

	RecursionAvailable bool
	Authenticated      bool // DNSSEC proved it; the client is told if it can tell what that means (RFC 6840 section 5.7)

	// Revisions want to see the reply when it is complete, the last of them first. A step appends its own.
	Revisions []Revision

	query    *Query
	buf      []byte
	room     int // what buf may grow to, room for OPT set aside
	counts   [3]uint16
	saved    int // bytes that pointers saved, see UncompressedLen
	missing  int // bytes of records that did not fit
	question int // where the records start
	start    int // the record being written
	data     int // its RDATA
	section  Section
	full     bool
	whole    int     // how many steps want more to be written than the client takes, see Whole
	source   *Packed // what Take took, as long as nothing else was written
	options  []byte
	own      uint16 // the size in bytes that OPT announces; 0 is OwnUDPSize
}

// Begin starts a reply to q in out, whose contents are overwritten: a header, and the question where there was one.
func (r *Reply) Begin(q *Query, out []byte) {
	*r = Reply{query: q, buf: append(out[:0], make([]byte, HeaderLen)...), options: r.options[:0], Revisions: r.Revisions[:0]}
	if q.hasName {
		r.buf = append(r.buf, q.asked[:q.nameLen]...)
		r.buf = binary.BigEndian.AppendUint16(r.buf, uint16(q.Type))
		r.buf = binary.BigEndian.AppendUint16(r.buf, uint16(q.Class))
	}
	r.question = len(r.buf)
	r.room = q.Limit()
	if q.EDNS.Present {
		r.room -= optLen
	}
}

// Continue begins r as a reply to q, a copy of the query that earlier replies to, with what the steps so far have set for
// good: Shuffle, the options, the Revisions. earlier is free to be used again.
func (r *Reply) Continue(earlier *Reply, q *Query, out []byte) {
	r.Begin(q, out)
	own := r.Revisions
	r.keep(earlier)
	r.Revisions = append(own, earlier.Revisions...)
}

// Reset takes back everything that was written behind the question, and what the fields say.
func (r *Reply) Reset() {
	*r = Reply{
		Shuffle: r.Shuffle, query: r.query, buf: r.buf[:r.question], room: r.room, question: r.question, options: r.options,
		whole: r.whole, own: r.own, Revisions: r.Revisions,
	}
}

// Option appends an EDNS option to what Finish writes; it does nothing for a client that sent no OPT.
func (r *Reply) Option(code uint16, data []byte) {
	if !r.query.EDNS.Present || len(r.buf)+4+len(data) > r.room {
		return
	}
	r.room -= 4 + len(data)
	r.options = appendOption(r.options, code, data)
}

// Record starts a record whose owner is the name at offset owner of this message, QuestionAt for the question's. Its
// data follows by calls to Name, Bytes, Byte and Uint16; End closes it.
func (r *Reply) Record(section Section, owner int, typ Type, ttl uint32) {
	r.section, r.start = section, len(r.buf)
	r.name(owner)
	r.saved += r.nameLen(owner) - (len(r.buf) - r.start)
	r.fixed(typ, ttl)
}

// RecordNamed is Record for an owner that is written out: wire is an uncompressed name.
func (r *Reply) RecordNamed(section Section, wire []byte, typ Type, ttl uint32) {
	r.section, r.start = section, len(r.buf)
	r.buf = append(r.buf, wire...)
	r.fixed(typ, ttl)
}

// fixed writes what stands between owner and data. The class is the question's.
func (r *Reply) fixed(typ Type, ttl uint32) {
	class := r.query.Class
	r.buf = append(r.buf, byte(typ>>8), byte(typ), byte(class>>8), byte(class), byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), 0, 0)
	r.data = len(r.buf)
}

// At is the offset at which the next byte will stand, to refer to a name that is written there.
func (r *Reply) At() int { return len(r.buf) }

// Bytes appends to the data of the record.
func (r *Reply) Bytes(b []byte) { r.buf = append(r.buf, b...) }

// String appends to the data of the record.
func (r *Reply) String(s string) { r.buf = append(r.buf, s...) }

// Uint8 appends a number to the data of the record.
func (r *Reply) Uint8(n uint8) { r.buf = append(r.buf, n) }

// Uint16 appends a number to the data of the record.
func (r *Reply) Uint16(n uint16) { r.buf = append(r.buf, byte(n>>8), byte(n)) }

// Uint32 appends a number to the data of the record.
func (r *Reply) Uint32(n uint32) {
	r.buf = append(r.buf, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// Name appends the name at an offset of this message to the data of the record, compressed.
func (r *Reply) Name(at int) {
	before := len(r.buf)
	r.name(at)
	r.saved += r.nameLen(at) - (len(r.buf) - before)
}

// End closes the record. It reports whether the record fitted; one that did not is gone, and for Answer and Authority
// the reply is then Truncated.
func (r *Reply) End() bool {
	if r.full || len(r.buf) > r.most() {
		r.missing += len(r.buf) - r.start
		r.buf = r.buf[:r.start]
		r.full = true
		r.Truncated = r.Truncated || r.section != Additional
		return false
	}
	binary.BigEndian.PutUint16(r.buf[r.data-2:], uint16(len(r.buf)-r.data))
	r.counts[r.section]++
	return true
}

// Addresses appends compiled A or AAAA records: an RRset of one type whose records begin with a two-byte pointer to
// QuestionAt, as AppendAddress writes them. The owner is the name at offset owner. They come in random order where
// Shuffle is set, and so does the choice where not all fit.
func (r *Reply) Addresses(section Section, owner int, set []byte) {
	if len(set) == 0 {
		return
	}
	stride := 2 + fixedLen + int(set[11])
	total, fit, at := len(set)/stride, 0, len(r.buf)
	if owner >= pointerReach {
		r.farAddresses(section, owner, set, stride)
		return
	}
	if !r.full {
		fit = max(0, min(total, (r.most()-at)/stride))
	}
	r.saved += total * (r.nameLen(owner) - 2)
	if fit == total {
		r.buf = append(r.buf, set...)
	} else {
		r.part(set, stride, fit)
		r.missing += (total - fit) * stride
		r.full = true
		r.Truncated = r.Truncated || section != Additional
	}
	r.counts[section] += uint16(fit)
	if owner != QuestionAt {
		for i := at; i < len(r.buf); i += stride {
			binary.BigEndian.PutUint16(r.buf[i:], 0xC000|uint16(owner))
		}
	}
	if r.Shuffle && fit > 1 {
		shuffle(r.buf[at:], stride, stride-2-fixedLen)
	}
}

// farAddresses is Addresses for an owner that no pointer reaches.
func (r *Reply) farAddresses(section Section, owner int, set []byte, stride int) {
	at, before, first := len(r.buf), r.counts[section], 0
	if r.Shuffle {
		first = rand.IntN(len(set)/stride) * stride
	}
	for i := 0; i < len(set); i += stride {
		record := set[(first+i)%len(set):][:stride]
		r.Record(section, owner, Type(binary.BigEndian.Uint16(record[2:])), binary.BigEndian.Uint32(record[6:]))
		r.Bytes(record[2+fixedLen:])
		r.End()
	}
	if n := int(r.counts[section] - before); r.Shuffle && n > 1 {
		shuffle(r.buf[at:], (len(r.buf)-at)/n, stride-2-fixedLen)
	}
}

// part appends fit records of the set, from a random one on where the order is random.
func (r *Reply) part(set []byte, stride, fit int) {
	first := 0
	if r.Shuffle {
		first = rand.IntN(len(set)/stride) * stride
	}
	n := fit * stride
	tail := min(n, len(set)-first)
	r.buf = append(r.buf, set[first:first+tail]...)
	r.buf = append(r.buf, set[:n-tail]...)
}

// shuffle puts the data of records in random order. Each record has stride bytes, of which the last size are its data.
func shuffle(records []byte, stride, size int) {
	var spare [16]byte
	for i := len(records)/stride - 1; i > 0; i-- {
		j := int(rand.Uint32N(uint32(i + 1)))
		a, b := records[(i+1)*stride-size:(i+1)*stride], records[(j+1)*stride-size:(j+1)*stride]
		n := copy(spare[:], a)
		copy(a, b)
		copy(b, spare[:n])
	}
}

// Fail empties the reply and makes it an error without records: SERVFAIL, REFUSED and the like, not authoritative.
func (r *Reply) Fail(rcode Rcode) {
	by, err := r.By, r.Err
	r.Reset()
	r.Rcode, r.By, r.Err = rcode, by, err
}

// Empty reports whether no record has been written.
func (r *Reply) Empty() bool { return len(r.buf) == r.question }

// Count is the number of records in a section.
func (r *Reply) Count(s Section) int { return int(r.counts[s]) }

// Records are the records written so far, in wire form: as many of each section as Count says, in the sections' order.
// They are the reply's own bytes, valid until the next call.
func (r *Reply) Records() []byte { return r.buf[r.question:] }

// UncompressedLen is the length of the message without compression, with the records that did not fit and without OPT:
// CoreDNS counts sizes so. It is meant for the time before Finish.
func (r *Reply) UncompressedLen() int { return len(r.buf) + r.saved + r.missing }

// Bits is the header's second word as Finish writes it, without the response code.
func (r *Reply) Bits() uint16 {
	bits := BitQR | r.query.Bits&(BitRD|BitCD)
	if r.Authoritative {
		bits |= BitAA
	}
	if r.Truncated {
		bits |= BitTC
	}
	if r.RecursionAvailable {
		bits |= BitRA
	}
	if r.Authenticated && (r.query.EDNS.DO || r.query.Bits&BitAD != 0) {
		bits |= BitAD
	}
	return bits
}

// Finish writes OPT and the header and returns the message, which stands in the buffer that Begin was given. A response code
// whose upper bits need an OPT record becomes SERVFAIL for a client that sent none: the lower ones mean something else.
func (r *Reply) Finish() []byte {
	switch {
	case r.query.EDNS.Present:
		r.opt()
	case r.Rcode > 0xF:
		r.Fail(ServFail)
	}
	r.header()
	return r.buf
}

// header writes the header.
func (r *Reply) header() {
	h := r.buf[:HeaderLen]
	binary.BigEndian.PutUint16(h, r.query.ID)
	binary.BigEndian.PutUint16(h[2:], r.Bits()|uint16(r.Rcode&0xF))
	questions := uint16(0)
	if r.question > HeaderLen {
		questions = 1
	}
	binary.BigEndian.PutUint16(h[4:], questions)
	for i, n := range r.counts {
		binary.BigEndian.PutUint16(h[6+2*i:], n)
	}
}

// opt appends the OPT record: our own size, version 0, the client's DO bit, and the options (RFC 6891 section 6.1).
func (r *Reply) opt() {
	do := byte(0)
	if r.query.EDNS.DO && r.Rcode != BadVers {
		do = 0x80
	}
	n, own := len(r.options), cmp.Or(r.own, OwnUDPSize)
	r.buf = append(r.buf, 0, 0, byte(TypeOPT), byte(own>>8), byte(own), byte(r.Rcode>>4), 0, do, 0, byte(n>>8), byte(n))
	r.buf = append(r.buf, r.options...)
	r.counts[Additional]++
}

// Rejection writes the answer to a query that Parse rejected: a header with the response code, the question where it was
// read, OPT where it was sound. The bits are the request's, as miekg/dns leaves them.
func Rejection(q *Query, out []byte) []byte {
	var r Reply
	r.Begin(q, out)
	r.Rcode = q.Reject
	msg := r.Finish()
	bits := BitQR | q.Bits&(BitTC|BitRD|BitRA|BitAD|BitCD) | uint16(q.Reject)
	if q.Reject == NotImp {
		bits |= q.Bits & (opcodeMask << opcodeShift)
	}
	binary.BigEndian.PutUint16(msg[2:], bits)
	return msg
}

// name appends the name at an offset: as a pointer where one reaches, written out otherwise.
func (r *Reply) name(at int) {
	if r.buf[at] == 0 {
		r.buf = append(r.buf, 0)
		return
	}
	if at < pointerReach {
		r.buf = append(r.buf, 0xC0|byte(at>>8), byte(at))
		return
	}
	for r.buf[at] != 0 && r.buf[at] < 0xC0 {
		n := int(r.buf[at]) + 1
		r.buf = append(r.buf, r.buf[at:at+n]...)
		at += n
	}
	if r.buf[at] == 0 {
		r.buf = append(r.buf, 0)
		return
	}
	r.buf = append(r.buf, r.buf[at], r.buf[at+1])
}

// nameLen is the uncompressed length of the name at an offset of this message.
func (r *Reply) nameLen(at int) int {
	if at == QuestionAt {
		return int(r.query.nameLen)
	}
	n := 0
	for {
		c := int(r.buf[at])
		switch {
		case c == 0:
			return n + 1
		case c >= 0xC0:
			at = (c&0x3F)<<8 | int(r.buf[at+1])
		default:
			n += c + 1
			at += c + 1
		}
	}
}

// AppendAddress appends a compiled address record for Addresses: a pointer to QuestionAt, and A or AAAA by the address.
func AppendAddress(set []byte, ip []byte, ttl uint32) []byte {
	typ := TypeA
	if len(ip) == 16 {
		typ = TypeAAAA
	}
	set = append(set, 0xC0, QuestionAt, byte(typ>>8), byte(typ), 0, byte(ClassIN))
	set = binary.BigEndian.AppendUint32(set, ttl)
	set = append(set, 0, byte(len(ip)))
	return append(set, ip...)
}
