// Package dns64 is the dns64 directive: names that have only IPv4 addresses get IPv6 ones, by which clients without IPv4
// reach them through a NAT64 (RFC 6147).
package dns64

import (
	"net/netip"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/whole"
)

// DNS64 is the step of one server block.
type DNS64 struct {
	options    Options
	translated *prometheus.CounterVec
}

// New makes the step.
func New(o Options, e env.Env) (*DNS64, error) {
	counter, err := env.Register(e, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "coredns", Subsystem: "dns64", Name: "requests_translated_total", Help: "Counter of DNS requests translated by dns64.",
	}, []string{"server"}))
	return &DNS64{options: o, translated: counter}, err
}

// Serve asks to see the replies to the questions that may have to be translated.
func (d *DNS64) Serve(q *message.Query, r *message.Reply) message.Verdict {
	over6 := q.From.Addr().Unmap().Is6()
	if q.Type == message.TypeAAAA && q.Class == message.ClassIN && (over6 || d.options.AllowIPv4) {
		r.Revisions = append(r.Revisions, d)
	}
	return message.Next
}

// Revise implements message.Revision. A reply without the wanted records makes way for what the name has of type A.
func (d *DNS64) Revise(q *message.Query, r *message.Reply) message.Verdict {
	ttl, wanted := d.look(r)
	if !wanted {
		return message.Done
	}
	if !q.MayBlock {
		return message.Park
	}
	first := q.First()
	m, err := whole.Resolve(q, message.Name(first.Lower()).String(), dns.TypeA)
	r.Restart(first)
	r.DropOption(message.OptionError) // that was about the reply that makes way
	if err == nil {
		for i, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok {
				m.Answer[i] = d.translate(a, ttl)
			}
		}
		m.Authoritative, m.RecursionAvailable, m.AuthenticatedData = false, false, false
		d.translated.WithLabelValues(q.Listener).Inc()
		err = whole.Write(q, r, m)
	}
	if err != nil {
		r.Fail(message.ServFail)
		r.Err = err
		return message.Done
	}
	r.By, r.Err = "dns64", nil
	return message.Done
}

// defaultTTL bounds the TTL of translated records where no SOA tells how long the name has no others (RFC 6147 section
// 5.1.7), in seconds.
const defaultTTL = 600

// look reports whether a reply is to be translated, and the longest TTL of what that gives. It leaves alone a name that
// does not exist, and an error that the server itself is to send. An alias to a name that does not exist may lead to one
// that does, for type A.
func (d *DNS64) look(r *message.Reply) (ttl uint32, wanted bool) {
	switch {
	case r.Rcode == message.NXDomain && r.Count(message.Answer) == 0:
		return 0, false
	case r.Rcode != message.NoError && r.By == "" && r.Empty():
		return 0, false
	}
	ttl = defaultTTL
	for c := r.Cursor(); c.Next(); {
		switch {
		case c.Section == message.Answer && c.Type == message.TypeAAAA && !d.options.TranslateAll:
			return 0, false
		case c.Section == message.Authority && c.Type == message.TypeSOA:
			ttl = c.TTL
		}
	}
	return ttl, true
}

// translate makes a record that leads to the same host.
func (d *DNS64) translate(a *dns.A, ttl uint32) *dns.AAAA {
	addr, _ := netip.AddrFromSlice(a.A.To4())
	h := a.Hdr
	return &dns.AAAA{
		Hdr:  dns.RR_Header{Name: h.Name, Rrtype: dns.TypeAAAA, Class: h.Class, Ttl: min(h.Ttl, ttl)},
		AAAA: embed(d.options.Prefix, addr).AsSlice(),
	}
}

// embed puts an IPv4 address into the prefix: behind it, around the eight bits from the 64th on, which are zero (RFC 6052
// section 2.2).
func embed(prefix netip.Prefix, addr netip.Addr) netip.Addr {
	ip, v4 := prefix.Addr().As16(), addr.As4()
	at := prefix.Bits() / 8
	for _, b := range v4 {
		if at == 8 {
			at++
		}
		ip[at] = b
		at++
	}
	return netip.AddrFrom16(ip)
}
