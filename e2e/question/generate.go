// Package question makes questions: from a cluster's objects, every shape of name that Kubernetes DNS has a rule for,
// asked in every way; and packets that are no questions at all.
package question

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Types that every name is asked for, and those drawn now and then. 65 and 64 are HTTPS and SVCB; 0 and 65280 are nothing.
var (
	mainTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV}
	moreTypes = []uint16{dns.TypePTR, dns.TypeCNAME, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeANY}
	rareTypes = []uint16{
		dns.TypeHTTPS, dns.TypeSVCB, dns.TypeDS, dns.TypeDNSKEY, 0, 41, 250, dns.TypeMAILB, 65280, dns.TypeAXFR, dns.TypeIXFR, dns.TypeNSEC,
		dns.TypeCAA, dns.TypeNAPTR, dns.TypeHINFO,
	}
)

// Generate makes at least count questions, all different, about a cluster served in the given forward zones ("cluster.local.").
// The same vocabulary, zones and seed give the same questions. First every name is asked for the common types, and the zones'
// own names for all types in any letter case; what is missing to count is drawn at random.
func Generate(v *Vocabulary, zones []string, seed uint64, count int) []Question {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 1)), seen: map[string]bool{}, names: v.Names(zones), zones: zones, flags: randomFlags}
	g.systematic()
	for len(g.questions) < count {
		g.add(g.mutate(g.names[g.rand.IntN(len(g.names))]), g.randomType(), g.rand.IntN(10) == 0)
	}
	g.rand.Shuffle(len(g.questions), func(i, j int) { g.questions[i], g.questions[j] = g.questions[j], g.questions[i] })
	return g.questions
}

// About makes count different questions about names, as resolvers' clients ask: for recursion, some with AD or CD. The same
// names and seed give the same questions.
func About(names []string, seed uint64, count int) []Question {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 2)), seen: map[string]bool{}, names: names, flags: usualFlags}
	for _, name := range names {
		g.add(name, mainTypes[g.rand.IntN(len(mainTypes))], false)
	}
	for len(g.questions) < count {
		g.add(g.mutate(names[g.rand.IntN(len(names))]), g.randomType(), g.rand.IntN(10) == 0)
	}
	g.rand.Shuffle(len(g.questions), func(i, j int) { g.questions[i], g.questions[j] = g.questions[j], g.questions[i] })
	return g.questions[:count]
}

// Names returns the absolute names to ask about, all that fit into a message.
func (v *Vocabulary) Names(zones []string) []string {
	names := append(v.reverse(), outside...)
	for _, relative := range v.forward() {
		for _, zone := range zones {
			names = append(names, strings.TrimPrefix(relative+"."+zone, "."))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, ok := dns.IsDomainName(name)
		return !ok
	})
}

type generator struct {
	rand      *rand.Rand
	flags     func(*rand.Rand) uint16
	names     []string
	zones     []string
	seen      map[string]bool // packets without their ID
	questions []Question
}

// systematic asks for each name once with each main type, plainly, and with one of the others.
func (g *generator) systematic() {
	for _, name := range g.names {
		types := append([]uint16{moreTypes[g.rand.IntN(len(moreTypes))]}, mainTypes...)
		for _, t := range types {
			g.add(name, t, false)
		}
		if g.own(name) {
			g.thoroughly(name)
		}
	}
}

// own reports whether a name is one of a zone's own: its apex, or one or two labels below.
func (g *generator) own(name string) bool {
	for _, zone := range append([]string{"in-addr.arpa.", "ip6.arpa."}, g.zones...) {
		if dns.IsSubDomain(zone, name) && dns.CountLabel(name) <= dns.CountLabel(zone)+2 {
			return true
		}
	}
	return false
}

// thoroughly asks for a name in each letter case, type and way.
func (g *generator) thoroughly(name string) {
	for _, t := range slices.Concat(mainTypes, moreTypes, rareTypes) {
		for _, cased := range []string{name, strings.ToUpper(name), g.mixCase(name)} {
			g.add(cased, t, g.rand.IntN(4) == 0)
		}
	}
}

func (g *generator) randomType() uint16 {
	switch n := g.rand.IntN(10); {
	case n < 4:
		return mainTypes[g.rand.IntN(len(mainTypes))]
	case n < 9:
		return moreTypes[g.rand.IntN(len(moreTypes))]
	}
	return rareTypes[g.rand.IntN(len(rareTypes))]
}

func (g *generator) add(name string, qtype uint16, tcp bool) {
	packet, err := build(uint16(g.rand.Uint32()), g.flags(g.rand), name, qtype, randomEDNS(g.rand))
	key := string(packet[min(2, len(packet)):])
	if tcp {
		key += "tcp"
	}
	if err != nil || g.seen[key] {
		return
	}
	if name, _, err = dns.UnpackDomainName(packet, 12); err != nil { // the one way to write it
		return
	}
	g.seen[key] = true
	g.questions = append(g.questions, Question{Packet: packet, Name: name, Type: qtype, TCP: tcp})
}

// mutate returns the name as it is, or in mixed case, or with a label more, less or changed.
func (g *generator) mutate(name string) string {
	switch g.rand.IntN(10) {
	case 0, 1, 2:
		return g.mixCase(name)
	case 3:
		return strings.ToUpper(name)
	case 4:
		return g.changeLabels(name)
	}
	return name
}

func (g *generator) mixCase(name string) string {
	b := []byte(name)
	for i, c := range b {
		if (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') && g.rand.IntN(2) == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// oddLabels are what no cluster has a label of, or what other name servers take for something special.
var oddLabels = []string{
	"*", "_", "x", "svc", "pod", "any", "_tcp", "_zone", "a\\.b", "\\000", "\\255", "a\\032b", "dns-version", "web", "prod", "10-1-2-3",
	"x23456789012345678901234567890123456789012345678901234567890123", "xn--bcher-kva", "1", "-",
}

func (g *generator) changeLabels(name string) string {
	labels := dns.SplitDomainName(name)
	if len(labels) == 0 {
		return oddLabels[g.rand.IntN(len(oddLabels))] + "."
	}
	i := g.rand.IntN(len(labels))
	odd := oddLabels[g.rand.IntN(len(oddLabels))]
	switch g.rand.IntN(4) {
	case 0:
		labels = append(labels[:i], labels[i+1:]...)
	case 1:
		labels[i] = odd
	case 2:
		labels = append(labels[:i], append([]string{odd}, labels[i:]...)...)
	case 3:
		j := g.rand.IntN(len(labels))
		labels[i], labels[j] = labels[j], labels[i]
	}
	return dns.Fqdn(strings.Join(labels, "."))
}
