package etcd

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/whole"
)

// answer is the answer to one query while it is looked up.
type answer struct {
	lookup
	query *message.Query
	zone  string // the closest of the directive's zones

	records, extra []dns.RR
	truncated      bool // a server that was asked for the target of an alias did not give all that it has
}

// find looks up what the question asks for. exists is false where there is no such name.
func (a *answer) find(owner string, typ uint16) (exists bool, err error) {
	name := strings.ToLower(owner)
	switch {
	case typ == dns.TypeSOA:
		a.records, exists = []dns.RR{soa(a.zone)}, true
	case typ == dns.TypeA || typ == dns.TypeAAAA || typ == dns.TypeTXT:
		a.records, exists, err = a.follow(owner, typ, nil)
	case typ == dns.TypeCNAME || typ == dns.TypePTR:
		exists, err = a.exact(owner, typ)
	case typ == dns.TypeSRV:
		exists, err = a.srv(owner)
	case typ == dns.TypeMX:
		exists, err = a.mx(owner)
	case typ == dns.TypeNS && name == a.zone:
		exists, err = a.ns(owner)
	default:
		_, exists, err = a.own(name, typ)
	}
	if err == nil && errors.Is(a.err, errTooMany) {
		err = a.err
	}
	return exists, err
}

// own are the records of a name itself. Those of the zone's own name stand below apex.dns of the zone; where nothing does,
// and the options do not say otherwise, they are all of the zone's.
func (a *answer) own(name string, typ uint16) (list []Service, exists bool, err error) {
	if name == a.zone {
		list, exists, err = a.services(under("apex.dns", a.zone), typ, false)
		if exists || err != nil || a.options.NoApexFallback {
			return list, exists, err
		}
	}
	return a.services(name, typ, false)
}

// follow are the records of type A, AAAA or TXT that a name has, and those that its aliases lead to. chain are the targets of
// the aliases that have led here.
func (a *answer) follow(owner string, typ uint16, chain []string) (records []dns.RR, exists bool, err error) {
	name := strings.ToLower(owner)
	find := a.own
	if typ == dns.TypeTXT {
		find = func(name string, typ uint16) ([]Service, bool, error) { return a.services(name, typ, false) }
	}
	list, exists, err := find(name, typ)
	said := make(map[string]bool)
	for _, s := range list {
		kind, ip := s.kind()
		content := s.Host
		if kind == dns.TypeTXT {
			content = s.Text
		}
		switch {
		case kind == dns.TypeCNAME:
			records = append(records, a.alias(owner, s, typ, chain)...)
		case kind != typ || said[content]:
		case kind == dns.TypeTXT:
			records = append(records, s.txt(owner))
		default:
			records = append(records, s.address(owner, kind, ip))
		}
		if kind == typ {
			said[content] = true
		}
	}
	return records, exists, err
}

// maxChain is how many aliases may have led to another one.
const maxChain = 10

// alias is the CNAME that a record is, with what its target has. One that leads to itself or below, as all records below a
// name are the name's, and one to a name of the zone that has nothing of the type, is left out.
func (a *answer) alias(owner string, s Service, typ uint16, chain []string) []dns.RR {
	target := dns.Fqdn(s.Host)
	if dns.IsSubDomain(strings.ToLower(owner), target) || len(chain) > maxChain || slices.Contains(chain, target) {
		return nil
	}
	records := []dns.RR{s.cname(owner)}
	if dns.IsSubDomain(a.zone, target) {
		found, _, err := a.follow(dns.Name(target).String(), typ, append(chain, target))
		if err != nil || len(found) == 0 {
			return nil
		}
		return append(records, found...)
	}
	m, err := whole.Resolve(a.query, target, typ)
	if err != nil {
		return nil
	}
	a.truncated = a.truncated || m.Truncated && typ != dns.TypeTXT
	return append(records, m.Answer...)
}

// exact finds the CNAME or the PTR records of a name, where what stands below it does not count.
func (a *answer) exact(owner string, typ uint16) (exists bool, err error) {
	list, exists, err := a.services(strings.ToLower(owner), typ, true)
	if typ == dns.TypeCNAME {
		list = list[:min(1, len(list))]
	}
	said := make(map[string]bool)
	for _, s := range list {
		if kind, _ := s.kind(); kind == dns.TypeA || kind == dns.TypeAAAA || said[s.Host] {
			continue
		}
		said[s.Host] = true
		if typ == dns.TypeCNAME {
			a.records = append(a.records, s.cname(owner))
		} else {
			a.records = append(a.records, s.ptr(owner))
		}
	}
	return exists, err
}

// srv finds the SRV records of a name. An address is the target of one under the name of its key.
func (a *answer) srv(owner string) (exists bool, err error) {
	list, exists, err := a.services(strings.ToLower(owner), dns.TypeSRV, false)
	weights := make(map[int]int) // by priority
	for _, s := range list {
		weights[s.Priority] += s.weight()
	}
	t := targets{answer: a, said: make(map[said]bool)}
	for _, s := range list {
		if s.Port == -1 {
			continue
		}
		share := math.Floor(100 / float64(weights[s.Priority]) * float64(s.weight()))
		t.add(s, uint16(s.Port), func(target string) dns.RR {
			return &dns.SRV{
				Hdr: s.header(owner, dns.TypeSRV), Priority: uint16(s.Priority), Weight: max(1, uint16(share)), Port: uint16(s.Port), Target: target,
			}
		})
	}
	return exists, err
}

func (s *Service) weight() int {
	if s.Weight == 0 {
		return defaultWeight
	}
	return s.Weight
}

// mx finds the MX records of a name.
func (a *answer) mx(owner string) (exists bool, err error) {
	list, exists, err := a.services(strings.ToLower(owner), dns.TypeMX, false)
	t := targets{answer: a, said: make(map[said]bool), unstripped: true}
	for _, s := range list {
		if !s.Mail {
			continue
		}
		t.add(s, uint16(s.Priority), func(target string) dns.RR {
			return &dns.MX{Hdr: s.header(owner, dns.TypeMX), Preference: uint16(s.Priority), Mx: target}
		})
	}
	return exists, err
}

// targets adds records that lead to other names, and the addresses of these.
type targets struct {
	*answer
	said map[said]bool
	// unstripped says that addresses are given under the whole name of their key, whatever TargetStrip is. It is so for MX,
	// in CoreDNS too.
	unstripped bool
}

// said tells apart what is given once: a target with its number, an address of a target, and what a target has.
type said struct {
	target  string
	number  uint16
	address string
	looked  bool
}

func (t *targets) first(s said) bool {
	before := t.said[s]
	t.said[s] = true
	return !before
}

// add adds the record that leads to a Service, and the addresses behind it. Where the Service is an address itself, that is
// one of the name of its key. Records with the same target and number are given once.
func (t *targets) add(s Service, number uint16, record func(target string) dns.RR) {
	kind, ip := s.kind()
	switch kind {
	case dns.TypeCNAME:
		target := s.target()
		t.records = append(t.records, record(target))
		if t.first(said{target: target, looked: true}) {
			t.extra = append(t.extra, t.addresses(target)...)
		}
	case dns.TypeA, dns.TypeAAAA:
		address := s.Host
		s.Host = domain(s.key)
		target := s.target()
		if t.first(said{target: target, number: number}) {
			t.records = append(t.records, record(target))
		}
		if t.unstripped {
			target = s.Host
		}
		if t.first(said{target: target, address: address}) {
			t.extra = append(t.extra, s.address(target, kind, ip))
		}
	}
}

// addresses are those of the target of another record. Of a name in the zone these are, as in CoreDNS, of type A only.
func (a *answer) addresses(target string) []dns.RR {
	if dns.IsSubDomain(a.zone, target) {
		found, _, err := a.follow(dns.Name(target).String(), dns.TypeA, nil)
		if err != nil {
			return nil
		}
		return found
	}
	var found []dns.RR
	if m, err := whole.Resolve(a.query, target, dns.TypeA); err == nil {
		found = append(found, m.Answer...)
	}
	if m, err := whole.Resolve(a.query, target, dns.TypeAAAA); err == nil {
		for _, rr := range m.Answer {
			if rr.Header().Rrtype != dns.TypeCNAME { // the A records have them already
				found = append(found, rr)
			}
		}
	}
	return found
}

// ns finds the zone's name servers: the addresses below ns.dns of the zone.
func (a *answer) ns(owner string) (exists bool, err error) {
	list, exists, err := a.services(under("ns.dns", a.zone), dns.TypeNS, false)
	said := make(map[string]bool)
	for _, s := range list {
		kind, ip := s.kind()
		switch kind {
		case dns.TypeCNAME:
			a.records, a.extra = nil, nil
			return true, fmt.Errorf("NS record must be an IP address: %s", s.Host)
		case dns.TypeA, dns.TypeAAAA:
			s.Host = domain(s.key)
			name := s.target()
			a.extra = append(a.extra, s.address(name, kind, ip))
			if !said[name] {
				said[name] = true
				a.records = append(a.records, &dns.NS{Hdr: s.header(owner, dns.TypeNS), Ns: name})
			}
		}
	}
	return exists, err
}

// soa is the SOA record of a zone, whose serial is the time.
func soa(zone string) dns.RR {
	const ttl = 30
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  under("ns.dns", zone), Mbox: under("hostmaster", zone),
		Serial: uint32(time.Now().Unix()), Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}
