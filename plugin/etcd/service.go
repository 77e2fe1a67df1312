package etcd

import (
	"net"
	"strings"

	"github.com/miekg/dns"
)

// Service is a SkyDNS record, the value of a key: an address or a name, a text, or both, in the form of an SRV record.
type Service struct {
	Host     string `json:"host"`     // an address or a name
	Port     int    `json:"port"`     // of SRV; -1 is none
	Priority int    `json:"priority"` // of SRV, and MX's preference; default 10
	Weight   int    `json:"weight"`   // of SRV, among those of its priority; default 100
	Text     string `json:"text"`     // of TXT
	Mail     bool   `json:"mail"`     // it is for MX too
	TTL      uint32 `json:"ttl"`      // seconds; default 300

	// TargetStrip is how many labels are taken off a name that is given as a target: what is left has to have the address.
	TargetStrip int `json:"targetstrip"`
	// Group keeps records apart that are below one name: those of other groups are left out, see group.
	Group string `json:"group"`

	key string // where it stands
}

const (
	defaultPriority = 10
	defaultTTL      = 300
	defaultWeight   = 100
	maxString       = 255 // bytes of a string of TXT
)

// kind is the type of the record that a Service is first of all: A or AAAA, then with the address; TXT where there is a text
// and no address; else CNAME.
func (s *Service) kind() (uint16, net.IP) {
	ip := net.ParseIP(s.Host)
	switch {
	case ip == nil && s.Text == "":
		return dns.TypeCNAME, nil
	case ip == nil:
		return dns.TypeTXT, nil
	case ip.To4() != nil:
		return dns.TypeA, ip.To4()
	}
	return dns.TypeAAAA, ip
}

// target is the Host as the target of a record.
func (s *Service) target() string {
	name := dns.Fqdn(s.Host)
	at, end := 0, false
	for i := 0; i < s.TargetStrip && !end; i++ {
		at, end = dns.NextLabel(name, at)
	}
	if end { // it has not so many
		return name
	}
	return name[at:]
}

func (s *Service) header(owner string, typ uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET, Ttl: s.TTL}
}

// address is the A or AAAA record that kind speaks of.
func (s *Service) address(owner string, typ uint16, ip net.IP) dns.RR {
	if typ == dns.TypeA {
		return &dns.A{Hdr: s.header(owner, typ), A: ip}
	}
	return &dns.AAAA{Hdr: s.header(owner, typ), AAAA: ip}
}

func (s *Service) cname(owner string) dns.RR {
	return &dns.CNAME{Hdr: s.header(owner, dns.TypeCNAME), Target: dns.Fqdn(s.Host)}
}

func (s *Service) ptr(owner string) dns.RR {
	return &dns.PTR{Hdr: s.header(owner, dns.TypePTR), Ptr: dns.Fqdn(s.Host)}
}

// txt is the text in strings. One that fills its last string has an empty one behind, as in CoreDNS.
func (s *Service) txt(owner string) dns.RR {
	text, list := s.Text, []string(nil)
	for len(text) >= maxString {
		list = append(list, text[:maxString])
		text = text[maxString:]
	}
	return &dns.TXT{Hdr: s.header(owner, dns.TypeTXT), Txt: append(list, text)}
}

// group leaves out what is not of the group, if there is one: that of the records with the shortest key, where these agree.
// Records without a group are in all of them.
func group(list []Service) []Service {
	if len(list) == 0 {
		return list
	}
	depths := make([]int, len(list))
	depth, name := strings.Count(list[0].key, "/"), list[0].Group
	for i, s := range list {
		depths[i] = strings.Count(s.key, "/")
		if depths[i] >= depth {
			continue
		}
		if s.Group == "" {
			break // and the depths behind stay 0, as in CoreDNS
		}
		depth, name = depths[i], s.Group
	}
	if name == "" {
		return list
	}
	var members []Service
	for i, s := range list {
		if depths[i] == depth && s.Group != "" && s.Group != name {
			return list
		}
		if s.Group == "" || s.Group == name {
			members = append(members, s)
		}
	}
	return members
}
