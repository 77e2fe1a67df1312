package compare

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// Departure is a row of docs/differences.md. Apply is given a question and CoreDNS's answer to it, as changed by the
// departures before this one, and returns the answer that Waypost must give, or nil where the departure does not apply.
type Departure struct {
	Number string // in docs/differences.md
	Name   string
	Apply  func(c *Case, a *Answer) (*Answer, error)
}

// Departures lists them in the order in which they apply: what a name has, then how a message is made.
func Departures() []Departure {
	return []Departure{
		{"5, 6", "ExternalName answers every type with its CNAME and the outcome of its target", externalName},
		{"1.5", "a PTR answer is sent without the records that cannot be", unsendablePTR},
		{"1, 2, 3", "a name that exists, or has names below it, is NODATA for types it has not", existingName},
		{"4 (SOA)", "SOA at a name that does not exist is a name error", missingSOA},
		{"4 (NS)", "NS at the apex is answered in any letter case", upperCaseNS},
		{"4 (ns.dns)", "ns.dns is answered in any letter case", upperCaseNSDNS},
		{"11", "NOTIFY gets NOTIMP", notify},
		{"12 (FORMERR)", "a question that is missing is a format error", missingQuestion},
		{"12 (FORMERR OPT)", "a format error keeps the OPT of a request whose own was sound", formatErrorOPT},
		{"12 (records)", "records of a request other than OPT are not looked into", unreadRecords},
		{"13 (size)", "an answer too long for any datagram is sent with TC", neverSent},
		{"13", "TC says that wanted records are missing, not additional ones", onlyAdditionalCut},
		{"12 (OPT)", "OPT has the server's own size and no reserved bits", ownOPT},
	}
}

// OwnSize is the UDP payload size that Waypost announces.
const OwnSize = 1232

// Case is a question and the means to find out what else CoreDNS would say.
type Case struct {
	*question.Question
	Oracle *Oracle
}

// zoneError reports whether the answer says that the name does not exist: NXDOMAIN, or what comes of falling through.
func zoneError(a *Answer) bool {
	if len(a.Sections[answers]) > 0 {
		return false // that is of the target of a CNAME
	}
	return a.Rcode == dns.RcodeNameError || (a.Rcode == dns.RcodeServerFailure || a.Rcode == dns.RcodeRefused) && a.Flags&flagAA == 0
}

// served reports whether the question is one for the data of a zone.
func (c *Case) served(a *Answer) bool {
	return c.Name != "" && c.Oracle.Zone(c.Name) != "" && a.Rcode != dns.RcodeBadVers && a.Rcode != dns.RcodeFormatError &&
		c.Type != dns.TypeAXFR && c.Type != dns.TypeIXFR
}

// noData is CoreDNS's NODATA answer to the question.
func (c *Case) noData() (*Answer, error) {
	qtype := dns.TypeSOA // which at any name but an apex is NODATA whatever the name
	if strings.EqualFold(c.Name, c.Oracle.Zone(c.Name)) {
		qtype = dns.TypeA
	}
	return c.Oracle.AskLike(c.Question, qtype)
}

func existingName(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || !zoneError(a) {
		return nil, nil
	}
	exists, between, err := c.Oracle.Exists(c.Name)
	passedOn := a.Rcode != dns.RcodeNameError
	if err != nil || !exists || between && passedOn && partlyReverse(c.Name) {
		return nil, err
	}
	return c.noData()
}

// partlyReverse reports whether a name is the end of a reverse name: such names go on falling through where the Corefile
// says so.
func partlyReverse(name string) bool {
	name = strings.ToLower(name)
	return (dns.IsSubDomain("in-addr.arpa.", name) || dns.IsSubDomain("ip6.arpa.", name)) && !strings.HasPrefix(name, "dns.")
}

func missingSOA(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || c.Type != dns.TypeSOA || a.Rcode != dns.RcodeSuccess || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	if exists, _, err := c.Oracle.Exists(c.Name); exists || err != nil {
		return nil, err
	}
	return c.Oracle.AskLike(c.Question, dns.TypeA)
}

func upperCaseNS(c *Case, a *Answer) (*Answer, error) {
	zone := c.Oracle.Zone(c.Name)
	if a.None || !c.served(a) || c.Type != dns.TypeNS || strings.ToLower(c.Name) != zone || c.Name == zone || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	lower, err := c.Oracle.Ask(zone, dns.TypeNS)
	if err != nil || len(lower.Sections[answers]) == 0 {
		return nil, err
	}
	inCase := func(s string) string { return strings.TrimSuffix(s, zone) + c.Name }
	want := a.Clone()
	want.Sections = lower.Sections
	for _, section := range want.Sections {
		for i := range section {
			section[i].Owner = inCase(section[i].Owner)
			if section[i].Type == dns.TypeNS {
				section[i].Data = inCase(section[i].Data)
			}
		}
	}
	return want, nil
}

// upperCaseNSDNS does for the addresses of the zone's name servers what upperCaseNS does for their names.
func upperCaseNSDNS(c *Case, a *Answer) (*Answer, error) {
	lower := "ns.dns." + c.Oracle.Zone(c.Name)
	if a.None || !c.served(a) || !strings.EqualFold(c.Name, lower) || c.Name == lower || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	plain, err := c.Oracle.Ask(lower, c.Type)
	if err != nil || len(plain.Sections[answers]) == 0 {
		return nil, err
	}
	want := a.Clone()
	want.Sections = plain.Sections
	for i := range want.Sections[answers] {
		want.Sections[answers][i].Owner = c.Name
	}
	return want, nil
}

func unsendablePTR(c *Case, a *Answer) (*Answer, error) {
	targets, ok := c.Oracle.Unnamed[strings.ToLower(c.Name)]
	if !a.None || !ok || c.Type != dns.TypePTR {
		return nil, nil
	}
	if len(targets) == 0 {
		return c.Oracle.AskLike(c.Question, dns.TypeA) // a name error
	}
	want, err := c.noData()
	if err != nil {
		return nil, err
	}
	ttl := want.Sections[authority][0].TTL // of the SOA, which in the variants that get here is the records' too
	want.Sections = [3][]Record{}
	for _, target := range targets {
		want.Sections[answers] = append(want.Sections[answers], Record{c.Name, ttl, dns.TypePTR, target})
	}
	return want, nil
}

// Depart applies the departures to CoreDNS's answer and returns the answer that Waypost must give, with the departures
// that made a difference.
func (c *Case) Depart(a *Answer) (*Answer, []Departure, error) {
	var applied []Departure
	for _, d := range Departures() {
		changed, err := d.Apply(c, a)
		if err != nil {
			return nil, nil, fmt.Errorf("departure %s: %w", d.Number, err)
		}
		if changed != nil {
			if Difference(changed, a) != "" {
				applied = append(applied, d)
			}
			a = changed
		}
	}
	return a, applied, nil
}
