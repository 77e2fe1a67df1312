package message

import (
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
	Inner     *int     // how many the Resolver has asked for the client's query by now, whatever their depth; nil is none
	Listener  string   // the name of the listener that it came by: "dns://:53"
	Refresh   bool     // nobody waits for the answer: the Resolver asks so that steps can keep it
	Original  *Query   // what the client asked, where a step has changed the question since; else nil, see First

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

	added []uint16 // codes of options that a step added
}

// Resolver answers a question from inside, through the blocks and steps that a client's question would take.
type Resolver interface {
	// Resolve asks for name and typ on behalf of from. The reply is a whole message in wire form, the caller's to keep.
	// It is not covered where no server block, or no step of the one that fits, has anything to say of the name.
	Resolve(from *Query, name Name, typ Type) (reply []byte, covered bool)
	// Refresh asks once more what q's client asked, for nobody: the steps see a query with Refresh set, and no observer
	// sees it. It does not wait for the answer.
	Refresh(q *Query)
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

// UnderAny reports whether the name is one of the zones or below one.
func (q *Query) UnderAny(zones []Name) bool {
	for _, zone := range zones {
		if q.Under(zone) {
			return true
		}
	}
	return false
}

// Limit is the size in bytes of the longest reply that can be given: over UDP what the client says in OPT, or 512; over
// TCP, and to a question from inside, what a message can have.
func (q *Query) Limit() int {
	if q.Transport != UDP || q.Depth > 0 || q.Refresh {
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

// Copy makes q what from is, so that it can be answered after from's packet is gone.
func (q *Query) Copy(from *Query) {
	options := append(q.EDNS.Options[:0], from.EDNS.Options...)
	*q = *from
	q.EDNS.Options = options
}

// Ask makes q the question for name and typ in class IN on behalf of from, for the Resolver to ask or a step to look up: the
// same client over the same transport, the same header and OPT but for its options. The reply has no other size limit than a
// message has.
func (q *Query) Ask(from *Query, name Name, typ Type) {
	q.From, q.Local, q.Received, q.Shard, q.Resolver = from.From, from.Local, from.Received, from.Shard, from.Resolver
	q.Listener = from.Listener
	q.Transport, q.MayBlock, q.Depth = from.Transport, from.MayBlock, from.Depth+1
	q.ID, q.Bits, q.Type, q.Class, q.EDNS = from.ID, from.Bits, typ, ClassIN, from.EDNS
	q.EDNS.Options, q.EDNS.added = nil, nil
	q.Size = HeaderLen + len(name) + 4
	if q.EDNS.Present {
		q.Size += optLen
	}
	q.Inner = from.Inner
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
	lowerName(q.lower[:n], q.asked[:n])
}
