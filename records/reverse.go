package records

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/message"
)

// reverseOf is 4 or 6 for a question below in-addr.arpa or ip6.arpa, else 0.
func reverseOf(q *message.Query) int {
	if q.Labels() < 3 || string(q.Label(q.Labels()-1)) != "arpa" {
		return 0
	}
	switch string(q.Label(q.Labels() - 2)) {
	case "in-addr":
		return 4
	case "ip6":
		return 6
	}
	return 0
}

// Labels of a whole reverse name before its two last ones.
const (
	octets4  = 4
	nibbles6 = 32
)

// findAddress is a reverse name (RFC 1035 section 3.5, RFC 3596 section 2.5): that of an address which Services or
// endpoints have, or one above such names.
func (z *Zone) findAddress(q *message.Query, family int) found {
	n := q.Labels() - 2
	var key nibbles
	var have int // nibbles known
	var ok bool
	if family == 4 {
		have, ok = reverse4(q, n, &key)
	} else {
		have, ok = reverse6(q, n, &key)
	}
	switch {
	case !ok:
		return found{}
	case have == key.len:
		addr := key.addr()
		if refs := z.reverse.get(addr); len(refs) > 0 {
			return found{what: address, refs: refs, addr: addr}
		}
	case z.reverse.below(&key, have):
		return found{what: arpaNode}
	}
	return found{}
}

// reverse4 reads up to four octets from the right.
func reverse4(q *message.Query, n int, key *nibbles) (int, bool) {
	key.len = 2 * octets4
	if n > octets4 {
		return 0, false
	}
	for i := range n {
		octet, ok := parseOctet(q.Label(n - 1 - i))
		if !ok {
			return 0, false
		}
		key.bytes[i] = octet
	}
	return 2 * n, true
}

// reverse6 reads up to 32 nibbles from the right. Like CoreDNS it does not look at up to three labels more.
func reverse6(q *message.Query, n int, key *nibbles) (int, bool) {
	key.len = nibbles6
	if n >= nibbles6+4 {
		return 0, false
	}
	have := min(n, nibbles6)
	for i := range have {
		label := q.Label(n - 1 - i)
		nibble, ok := parseNibble(label)
		if !ok {
			return 0, false
		}
		key.bytes[i/2] |= nibble << (4 * (1 - i&1))
	}
	return have, true
}

// addr is the whole key as an address.
func (k *nibbles) addr() netip.Addr {
	if k.len == nibbles6 {
		return netip.AddrFrom16(k.bytes).Unmap()
	}
	return netip.AddrFrom4([4]byte(k.bytes[:4]))
}

// parseOctet reads a decimal number up to 255 without leading zeros.
func parseOctet(b []byte) (byte, bool) {
	if len(b) == 0 || len(b) > 3 || len(b) > 1 && b[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return byte(n), n < 256
}

// parseNibble reads one hexadecimal digit in lower case.
func parseNibble(b []byte) (byte, bool) {
	if len(b) != 1 {
		return 0, false
	}
	switch c := b[0]; {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// writePTR answers a reverse name: with the Service whose ClusterIP it is, else with every endpoint that has the address.
// The names are in the first forward zone, each once.
//
//	dig -x 10.96.1.1
func (z *Zone) writePTR(r *message.Reply, owner int, f *found) {
	for i := range f.refs {
		if f.refs[i].kind == serviceRef {
			z.writeTarget(r, owner, f.refs[i].id, nil, new(int))
			return
		}
	}
	tail := 0
	for i, ref := range f.refs {
		if !repeated(f.refs[:i], ref) {
			var buf [message.MaxLabelLen]byte
			label := append(buf[:0], ref.host...)
			if ref.host == "" {
				label = dashed(f.addr.AppendTo(buf[:0]))
			}
			z.writeTarget(r, owner, ref.id, label, &tail)
		}
	}
}

func repeated(refs []*ref, r *ref) bool { return slices.ContainsFunc(refs, r.same) }

// writeTarget appends one PTR record. The part that all targets share is written once; tail is where it stands.
func (z *Zone) writeTarget(r *message.Reply, owner int, id *ident, label []byte, tail *int) {
	r.Record(message.Answer, owner, message.TypePTR, z.plan.TTL)
	if len(label) > 0 {
		r.Uint8(byte(len(label)))
		r.Bytes(label)
	}
	r.String(id.key)
	if *tail > 0 {
		r.Name(*tail)
	} else {
		*tail = r.At()
		r.String(svcLabel)
		r.String(string(z.plan.primary))
	}
	r.End()
}
