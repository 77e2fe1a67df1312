package kubernetes

import (
	"bytes"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/records"
)

// chase completes an answer with what names have that are not in the zone, by asking the server itself for them. It
// waits for that and so runs off the socket loop.
//
// Behind the CNAME of an ExternalName Service the reply takes over the target's outcome: its records or, without any, its
// response code and SOA (RFC 6604, RFC 2308 section 2.1). An upstream that refuses is a failure; a name that nothing here
// covers is left to the client. Of several endpoints that are names each is a CNAME with what it has, always NOERROR.
//
// It reports whether the targets had a say; where not, the zone has to deny the type.
func chase(q *message.Query, r *message.Reply, targets []records.Target, ttl uint32) bool {
	r.Authoritative = true
	if len(targets) == 1 && targets[0].Chain {
		chaseOne(q, r, targets[0])
		return true
	}
	found := false
	for _, t := range targets {
		m, _ := resolve(q, t.Wire)
		if !t.Inside || m != nil && len(m.Answer) > 0 {
			found = true
			copyRecords(r, message.Answer, writeCNAME(r, t, ttl), answers(m))
		}
	}
	return found
}

// chaseOne follows the CNAME that the answer ends with.
func chaseOne(q *message.Query, r *message.Reply, t records.Target) {
	m, covered := resolve(q, t.Wire)
	switch {
	case !covered:
		return
	case m == nil || m.Rcode == dns.RcodeRefused:
		r.Rcode = message.ServFail
		return
	}
	r.Rcode = message.Rcode(m.Rcode)
	r.Truncated = r.Truncated || m.Truncated
	copyRecords(r, message.Answer, t.At, m.Answer)
	copyRecords(r, message.Authority, t.At, denial(m))
}

// resolve asks for a name; nil is a reply that cannot be read.
func resolve(q *message.Query, wire []byte) (*dns.Msg, bool) {
	reply, covered := q.Resolver.Resolve(q, message.Name(bytes.ToLower(wire)), q.Type)
	if !covered {
		return nil, false
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		return nil, true
	}
	return m, true
}

func answers(m *dns.Msg) []dns.RR {
	if m == nil {
		return nil
	}
	return m.Answer
}

// denial is the SOA that makes an answer without the wanted type a negative one.
func denial(m *dns.Msg) []dns.RR {
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != dns.TypeCNAME {
			return nil
		}
	}
	var soa []dns.RR
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			soa = append(soa, rr)
		}
	}
	return soa
}

// writeCNAME appends the CNAME to a target and returns where a name stands that what follows is likely to share.
func writeCNAME(r *message.Reply, t records.Target, ttl uint32) int {
	r.Record(message.Answer, t.At, message.TypeCNAME, ttl)
	at := r.At()
	r.NameUnder(t.Wire, t.At)
	if !r.End() {
		return t.At
	}
	return at
}

// copyRecords appends records of another message behind a chain of CNAMEs, of which the last target stands at an offset of
// the reply. They are mostly about that name and those the chain goes on with, which are not written twice.
func copyRecords(r *message.Reply, section message.Section, at int, rrs []dns.RR) {
	for _, rr := range rrs {
		wire := make([]byte, dns.Len(rr)+1)
		end, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			continue // it came out of a message, so it fits into one
		}
		owner := nameLen(wire)
		const fixed = 2 + 2 + 4 + 2 // type, class, TTL, RDLENGTH
		data := wire[owner+fixed : end]
		h := rr.Header()
		r.RecordUnder(section, wire[:owner], at, message.Type(h.Rrtype), h.Ttl)
		if h.Rrtype != dns.TypeCNAME {
			r.Bytes(data)
			r.End()
			continue
		}
		target := r.At()
		r.NameUnder(data, at)
		if r.End() {
			at = target
		}
	}
}

// nameLen is the length of the uncompressed name that wire begins with.
func nameLen(wire []byte) int {
	n := 0
	for wire[n] != 0 {
		n += int(wire[n]) + 1
	}
	return n + 1
}
