package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// AnswerOf is what is compared of a message.
func AnswerOf(m *dns.Msg) Answer {
	a := Answer{Status: status(m.Rcode), Flags: flags(m)}
	for i, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if opt, ok := rr.(*dns.OPT); ok {
				a.EDNS = edns(opt)
				a.Status = status(m.Rcode | opt.ExtendedRcode()&^0xf)
				continue
			}
			a.Sections[i] = append(a.Sections[i], record(rr))
		}
	}
	return a
}

// status is a response code as dig names it: 16 is BADVERS in an answer, BADSIG only in a TSIG record.
func status(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS"
	}
	return dns.RcodeToString[rcode]
}

// record is a record's fields. Of a serial only whether it is 0 counts: servers count by themselves.
func record(rr dns.RR) string {
	if soa, ok := rr.(*dns.SOA); ok {
		soa.Serial = min(soa.Serial, 1)
	}
	return strings.Join(strings.Fields(rr.String()), " ")
}

func flags(m *dns.Msg) string {
	var names []string
	for _, f := range []struct {
		set  bool
		name string
	}{
		{m.Response, "qr"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"},
		{m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, " ")
}

func edns(opt *dns.OPT) string {
	do := ""
	if opt.Do() {
		do = " do"
	}
	return fmt.Sprintf("version: %d, flags:%s; udp: %d", opt.Version(), do, opt.UDPSize())
}

// String is the answer as a file has it.
func (a Answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s, flags: %s\n", statusPrefix, a.Status, a.Flags)
	if a.EDNS != "" {
		fmt.Fprintln(&b, ednsPrefix+a.EDNS)
	}
	for i, records := range a.Sections {
		if len(records) > 0 {
			fmt.Fprintln(&b, sectionLines[i])
		}
		for _, r := range records {
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}

// Diff compares the answer with one that a server gave and returns both as text, "" where they are equal. The order of
// records does not count, but for CNAME records: they come first, and in the order of their chain.
func (a Answer) Diff(got *dns.Msg) string {
	g := AnswerOf(got)
	equal := a.Status == g.Status && a.Flags == g.Flags && a.EDNS == g.EDNS && slices.Equal(aliases(a.Sections[0]), aliases(g.Sections[0]))
	for i := range a.Sections {
		equal = equal && slices.Equal(sorted(a.Sections[i]), sorted(g.Sections[i]))
	}
	if equal {
		return ""
	}
	return fmt.Sprintf("--- want\n%v+++ got\n%v", a, g)
}

// aliases are the records before the first that is no CNAME.
func aliases(records []string) []string {
	for i, r := range records {
		if !strings.Contains(r, " IN CNAME ") {
			return records[:i]
		}
	}
	return records
}

func sorted(records []string) []string { return slices.Sorted(slices.Values(records)) }
