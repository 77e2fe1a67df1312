package compare

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// The departures of ExternalName Services.

// maxCNAMEs is how many CNAME records Waypost follows from one ExternalName Service to the next.
const maxCNAMEs = 16

func externalName(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || c.Type == dns.TypeCNAME {
		return nil, nil
	}
	cname, err := c.cnameAt(c.Name)
	if err != nil || cname == nil {
		return nil, err
	}
	want, err := c.noData()
	if err != nil {
		return nil, err
	}
	denial := want.Sections[authority]
	want.Sections = [3][]Record{}
	want.Flags |= flagAA
	return want, c.follow(want, *cname, denial)
}

// cnameAt returns the CNAME record of an ExternalName Service, nil if the name is none.
func (c *Case) cnameAt(name string) (*Record, error) {
	if c.Oracle.External[strings.ToLower(name)] == "" {
		return nil, nil
	}
	a, err := c.Oracle.Ask(name, dns.TypeCNAME)
	if err != nil || len(a.Sections[answers]) == 0 {
		return nil, err
	}
	return &a.Sections[answers][0], nil
}

// follow adds CNAME records to want until it comes to a name that is no ExternalName Service of the question's zone, and
// what that name has.
func (c *Case) follow(want *Answer, cname Record, denial []Record) error {
	seen := map[string]bool{strings.ToLower(c.Name): true}
	for range maxCNAMEs - 1 {
		want.Sections[answers] = append(want.Sections[answers], cname)
		target := strings.ToLower(cname.Data)
		if seen[target] {
			return nil
		}
		seen[target] = true
		if !dns.IsSubDomain(c.Oracle.Zone(c.Name), target) {
			return c.addForeign(want, cname.Data)
		}
		next, err := c.cnameAt(cname.Data)
		if err != nil {
			return err
		}
		if next == nil {
			return c.addTarget(want, cname.Data, denial)
		}
		cname = *next
	}
	return nil
}

// addTarget adds what a name of the question's zone has.
func (c *Case) addTarget(want *Answer, target string, denial []Record) error {
	exists, _, err := c.Oracle.Exists(target)
	if err != nil {
		return err
	}
	a, err := c.Oracle.Ask(target, c.Type)
	if err != nil {
		return err
	}
	switch {
	case !exists:
		want.Rcode = dns.RcodeNameError
		want.Sections[authority] = denial
	case a.Rcode != dns.RcodeSuccess || len(a.Sections[answers]) == 0:
		want.Sections[authority] = denial
	default:
		want.Sections[answers] = append(want.Sections[answers], a.Sections[answers]...)
		want.Sections[additional] = a.Sections[additional]
	}
	return nil
}

// addForeign adds what a name outside the question's zone has, if this server serves it, as any client would be told.
func (c *Case) addForeign(want *Answer, target string) error {
	if c.Oracle.Zone(target) == "" {
		return nil
	}
	packet, err := new(dns.Msg).SetQuestion(target, c.Type).Pack()
	if err != nil {
		return fmt.Errorf("pack a question for %q: %w", target, err)
	}
	inner := &Case{Question: &question.Question{Packet: packet, Name: target, Type: c.Type, TCP: true}, Oracle: c.Oracle}
	a, err := c.Oracle.Whole(inner.Question)
	if err != nil {
		return err
	}
	if a, _, err = inner.Depart(a); err != nil {
		return err
	}
	want.Rcode = a.Rcode
	if a.Rcode == dns.RcodeRefused {
		want.Rcode = dns.RcodeServerFailure
	}
	want.Sections[answers] = append(want.Sections[answers], a.Sections[answers]...)
	want.Sections[authority] = a.Sections[authority]
	return nil
}
