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
			writeCNAME(r, t, ttl)
			copyRecords(r, message.Answer, answers(m))
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
	copyRecords(r, message.Answer, m.Answer)
	copyRecords(r, message.Authority, denial(m))
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

func writeCNAME(r *message.Reply, t records.Target, ttl uint32) {
	r.Record(message.Answer, t.Owner, message.TypeCNAME, ttl)
	r.NameUnder(t.Wire, t.Owner)
	r.End()
}

// copyRecords appends records of another message, their names written out.
func copyRecords(r *message.Reply, section message.Section, rrs []dns.RR) {
	for _, rr := range rrs {
		wire := make([]byte, dns.Len(rr)+1)
		end, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			continue // it came out of a message, so it fits into one
		}
		owner := nameLen(wire)
		h := rr.Header()
		const fixed = 2 + 2 + 4 + 2 // type, class, TTL, RDLENGTH
		r.RecordNamed(section, wire[:owner], message.Type(h.Rrtype), h.Ttl)
		r.Bytes(wire[owner+fixed : end])
		r.End()
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
