package message

import (
	"encoding/binary"
	"math/rand/v2"
)

// Packed is a reply that is kept, to be given to all who ask the same question. It does not change.
type Packed struct {
	Rcode              Rcode
	Authoritative      bool
	Truncated          bool
	RecursionAvailable bool
	Authenticated      bool
	Unanswered         bool // see Reply.Unanswered

	records  []byte // as they stand behind the question
	options  []byte // of OPT
	counts   [3]uint16
	question int // where the records start
	saved    int
	mx       span // of records: MX that may be moved, as no name in them is pointed to
}

// span is a part of something, from its first byte to the one behind its last.
type span struct{ from, to int }

// Size is about how many bytes of memory the reply takes.
func (p *Packed) Size() int { return 160 + len(p.records) + len(p.options) }

// Count is the number of records in a section.
func (p *Packed) Count(s Section) int { return int(p.counts[s]) }

// Take makes r, to which nothing has been written, the reply that p is. Records that are too much for the client are left
// out. r.Shuffle puts addresses, and MX records of the answer, in random order. It returns false for a p that replies to a
// question of another length, whose names would not stand where they have to.
func (r *Reply) Take(p *Packed) bool {
	if r.question != p.question || !r.Empty() {
		return false
	}
	r.Rcode, r.Authoritative, r.Truncated = p.Rcode, p.Authoritative, p.Truncated
	r.RecursionAvailable, r.Authenticated = p.RecursionAvailable, p.Authenticated
	r.Unanswered = r.Unanswered || p.Unanswered // a step may have written anew what it took
	if len(p.options) > 0 {
		for code, data := range eachOption(p.options) {
			r.Option(code, data)
		}
	}
	r.buf = append(r.buf, p.records...)
	r.counts, r.saved, r.source = p.counts, p.saved, p
	if r.Shuffle && r.Rcode == NoError {
		r.shuffleAddresses()
		r.ShuffleGlue()
		r.shuffleMX(p)
	}
	r.cut(r.most())
	return true
}

// Pack keeps the reply as it is now, but for what was added by Option.
func (r *Reply) Pack() *Packed {
	s := r.source
	if s != nil && (s.counts != r.counts || len(s.records) != len(r.Records())) {
		s = nil
	}
	if s != nil && s.Rcode == r.Rcode && s.Authoritative == r.Authoritative && s.Truncated == r.Truncated &&
		s.RecursionAvailable == r.RecursionAvailable && s.Authenticated == r.Authenticated && s.Unanswered == r.Unanswered {
		return s
	}
	p := &Packed{counts: r.counts, question: r.question, saved: r.saved}
	if s != nil {
		*p = *s
	} else {
		p.records = append([]byte(nil), r.Records()...)
	}
	p.Rcode, p.Authoritative, p.Truncated = r.Rcode, r.Authoritative, r.Truncated
	p.RecursionAvailable, p.Authenticated, p.Unanswered = r.RecursionAvailable, r.Authenticated, r.Unanswered
	return p
}

// SetTTL gives all records one TTL, in seconds.
func (r *Reply) SetTTL(ttl uint32) {
	r.source = nil
	for c := r.Cursor(); c.Next(); {
		binary.BigEndian.PutUint32(r.buf[c.data-6:], ttl)
	}
}

// Whole lifts the limit on the reply's length which its client sets, for a step that wants all of what is written next.
// It is Fit that has to follow. Several steps may want it.
func (r *Reply) Whole() { r.whole++ }

// Fit leaves out the records that are too much for the client, once it has followed each Whole.
func (r *Reply) Fit() {
	r.whole--
	r.cut(r.most())
}

// most is what buf may grow to now.
func (r *Reply) most() int {
	switch {
	case r.whole == 0:
		return r.room
	case r.query.EDNS.Present:
		return MaxLen - optLen - len(r.options)
	}
	return MaxLen
}

// cut leaves out the records behind the last one that ends within the limit.
func (r *Reply) cut(limit int) {
	if len(r.buf) <= limit {
		return
	}
	end, kept := r.question, [3]uint16{}
	for c := r.Cursor(); c.Next() && c.end <= limit; {
		end = c.end
		kept[c.Section]++
	}
	r.missing += len(r.buf) - end
	r.Truncated = r.Truncated || kept[Answer] < r.counts[Answer] || kept[Authority] < r.counts[Authority]
	r.buf, r.counts, r.full = r.buf[:end], kept, true
}

// shuffleAddresses puts the addresses of each name in random order, section by section. Only the data of the records change
// places, so that what points to an owner is not misled.
func (r *Reply) shuffleAddresses() {
	if max(r.counts[Answer], r.counts[Authority], r.counts[Additional]) < 2 {
		return
	}
	var space [64]uint16
	set := space[:0] // where the data of the last addresses stand, which have owner and typ
	owner, typ, section := 0, TypeNone, Answer
	for c := r.Cursor(); c.Next(); {
		if !c.address() {
			continue
		}
		if c.Type != typ || c.Section != section || !c.Same(c.Owner(), owner) {
			r.exchange(set, addressLen(typ))
			set, owner, typ, section = set[:0], c.Owner(), c.Type, c.Section
		}
		set = append(set, uint16(c.data))
	}
	r.exchange(set, addressLen(typ))
}

// ShuffleGlue puts the addresses in the additional section in random order, those of each family among themselves, if
// Shuffle is set. They are mostly of one name each, so that whole records change places: those whose owner is nothing but a
// pointer, as nothing else points to them.
func (r *Reply) ShuffleGlue() {
	if !r.Shuffle || r.counts[Additional] < 2 {
		return
	}
	var space4, space6 [64]uint16
	v4, v6 := space4[:0], space6[:0]
	for c := r.Cursor(); c.Next(); {
		switch {
		case c.Section != Additional || !c.address() || c.data-c.start != 2+fixedLen:
		case c.Type == TypeA:
			v4 = append(v4, uint16(c.start))
		default:
			v6 = append(v6, uint16(c.start))
		}
	}
	r.exchange(v4, 2+fixedLen+4)
	r.exchange(v6, 2+fixedLen+16)
}

// address reports whether the record is an address.
func (c *Cursor) address() bool {
	return (c.Type == TypeA || c.Type == TypeAAAA) && len(c.Data) == addressLen(c.Type)
}

// addressLen is the length of an address by its record's type.
func addressLen(t Type) int {
	if t == TypeA {
		return 4
	}
	return 16
}

// exchange puts what stands at the offsets, each of it of one size, in random order.
func (r *Reply) exchange(at []uint16, size int) {
	var spare [2 + fixedLen + 16]byte
	for i := len(at) - 1; i > 0; i-- {
		j := int(rand.Uint32N(uint32(i + 1)))
		a, b := r.buf[at[i]:][:size], r.buf[at[j]:][:size]
		n := copy(spare[:], a)
		copy(a, b)
		copy(b, spare[:n])
	}
}

// shuffleMX puts the MX records of a packed reply, which have just been appended, in random order.
func (r *Reply) shuffleMX(p *Packed) {
	if p.mx.from == p.mx.to {
		return
	}
	var records []span
	for c := r.Cursor(); c.Next() && c.end <= p.question+p.mx.to; {
		if c.start >= p.question+p.mx.from {
			records = append(records, span{c.start - p.question, c.end - p.question})
		}
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	at := p.question + p.mx.from
	for _, s := range records {
		at += copy(r.buf[at:], p.records[s.from:s.to])
	}
}
