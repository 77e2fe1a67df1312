package cache

import (
	"encoding/binary"
	"time"

	"github.com/waypost/waypost/message"
)

// kind is what a reply says.
type kind uint8

const (
	other   kind = iota // nothing to be kept
	success             // data, or a referral
	denial              // that the name or the data do not exist (RFC 2308)
	failure             // that the one who was asked has failed
)

// class is the index of the cache that keeps such replies, for metrics and exceptions: 0 is success, 1 denial.
func (k kind) class() int {
	if k == success {
		return 0
	}
	return 1
}

// verdict is what becomes of a reply.
type verdict struct {
	kind      kind
	storable  bool
	answering bool   // it has what was asked for
	ttl       uint32 // seconds, of all of its records from now on
}

// classify finds out what a reply says and for how long it is good. The rules are CoreDNS's: the life of a reply is the
// lowest TTL in it, within the bounds of its class; a denial without SOA, and aliases without the asked data and without
// SOA, are not kept, nor is a failure that no directive wrote and that nothing went wrong for: some directive just has no answer.
// Other than there, a denial behind an alias is kept too (RFC 2308 section 2.1).
func (o *Options) classify(q *message.Query, r *message.Reply, now time.Time) verdict {
	s := survey(q, r, now)
	v := verdict{kind: s.kind(q, r), answering: s.answering}
	class := &o.Success
	switch v.kind {
	case failure:
		v.ttl, v.storable = uint32(o.ServFail/time.Second), o.ServFail > 0 && (written(r) || r.Err != nil)
	case denial:
		class = &o.Denial
		v.ttl, v.storable = class.bound(s.lowest(class.Most)), s.soa || r.Rcode == message.NoError
	case success:
		lowest := s.lowest(class.Most)
		if r.Count(message.Answer) == 0 && s.ns > 0 { // a referral
			lowest = leastTTL
		}
		v.ttl, v.storable = class.bound(lowest), r.Count(message.Answer) == 0 || s.answering
	default:
		v.ttl = class.bound(leastTTL)
	}
	v.storable = v.storable && !r.Truncated
	return v
}

// written reports whether a directive wrote the reply; else the server makes it of an error code.
func written(r *message.Reply) bool { return r.By != "" || !r.Empty() }

// bound keeps a TTL within the limits of the class.
func (c *Class) bound(ttl uint32) uint32 { return min(max(ttl, c.Least), c.Most) }

// findings are what a look at all records of a reply found.
type findings struct {
	records   int
	least     uint32 // the lowest TTL
	soa       bool   // in the authority section
	ns        int    // in the authority section
	expired   bool   // a signature is not valid now, and somebody will look at that
	answering bool
}

func survey(q *message.Query, r *message.Reply, now time.Time) findings {
	s := findings{least: ^uint32(0)}
	for c := r.Cursor(); c.Next(); {
		s.records++
		s.least = min(s.least, c.TTL)
		switch {
		case c.Section == message.Authority && c.Type == message.TypeSOA:
			s.soa = true
		case c.Section == message.Authority && c.Type == message.TypeNS:
			s.ns++
		case c.Type == message.TypeRRSIG && q.EDNS.DO:
			s.expired = s.expired || !valid(c.Data, now)
		}
	}
	s.answering = r.Rcode == message.NoError && r.Count(message.Answer) > 0 && answers(q, r)
	return s
}

// lowest is the lowest TTL, but not more than most; a reply without records is good for 5 seconds.
func (s *findings) lowest(most uint32) uint32 {
	if s.records == 0 {
		return leastTTL
	}
	return min(s.least, most)
}

func (s *findings) kind(q *message.Query, r *message.Reply) kind {
	switch {
	case q.Type == message.TypeAXFR || q.Type == message.TypeIXFR || s.expired:
		return other
	case r.Rcode == message.ServFail || r.Rcode == message.NotImp:
		return failure
	case r.Rcode == message.NXDomain && r.Count(message.Answer) > 0 && !s.soa:
		return other
	case r.Rcode == message.NXDomain:
		return denial
	case r.Rcode != message.NoError:
		return other
	case s.soa && !s.answering:
		return denial
	}
	return success
}

// valid reports whether an RRSIG's period (RFC 4034 section 3.1.5) includes now. Its times are numbers of seconds which
// wrap around.
func valid(rrsig []byte, now time.Time) bool {
	if len(rrsig) < 16 {
		return false
	}
	expiration, inception := binary.BigEndian.Uint32(rrsig[8:]), binary.BigEndian.Uint32(rrsig[12:])
	at := uint32(now.Unix())
	return int32(at-inception) >= 0 && int32(expiration-at) >= 0
}

// maxAliases is how many CNAMEs are followed.
const maxAliases = 64

// answers reports whether there is a record of the asked type at the end of the CNAMEs that begin at the question's name.
// Aliases that go round or lead to two places answer nothing.
func answers(q *message.Query, r *message.Reply) bool {
	if q.Type == message.TypeANY {
		return has(r, message.QuestionAt, q.Type)
	}
	name := message.QuestionAt
	for range maxAliases {
		target, unique := alias(r, name)
		switch {
		case !unique:
			return false
		case q.Type == message.TypeCNAME:
			return target >= 0
		case target < 0:
			return has(r, name, q.Type)
		}
		name = target
	}
	return false
}

// has reports whether the answer has a record of a type, or for ANY of whatever type, at a name of the message.
func has(r *message.Reply, name int, typ message.Type) bool {
	for c := r.Cursor(); c.Next() && c.Section == message.Answer; {
		if (c.Type == typ || typ == message.TypeANY) && c.Same(c.Owner(), name) {
			return true
		}
	}
	return false
}

// alias is where the name's CNAME leads, -1 where it has none. unique says that there are not two that differ.
func alias(r *message.Reply, name int) (target int, unique bool) {
	target = -1
	for c := r.Cursor(); c.Next() && c.Section == message.Answer; {
		if c.Type != message.TypeCNAME || !c.Same(c.Owner(), name) {
			continue
		}
		if target >= 0 && !c.Same(target, c.Target()) {
			return target, false
		}
		target = c.Target()
	}
	return target, true
}
