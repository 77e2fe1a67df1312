package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// query parses a question.
func query(t testing.TB, text string, typ uint16) *message.Query {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(text, typ).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(message.Query)
	if q.Parse(packet) != message.Accepted {
		t.Fatalf("question for %s not accepted", text)
	}
	return q
}

// found is the label of the block that is to answer a question.
func found(t testing.TB, blocks []*Block, text string, typ uint16) string {
	t.Helper()
	c := newChains(blocks).find(query(t, text, typ))
	switch {
	case c == nil:
		return "none"
	case c.Last == "":
		return c.Label + " refuses"
	}
	return c.Label
}

func TestFind(t *testing.T) {
	bare := block(t, "bare.local.")
	bare.Last = ""
	blocks := []*Block{
		block(t, "cluster.local. in-addr.arpa."),
		block(t, "prod.svc.cluster.local."),
		block(t, "cluster.local. other."),
		bare,
	}
	withRoot := append(blocks[:len(blocks):len(blocks)], block(t, ". example."))
	for _, tt := range []struct {
		blocks []*Block
		name   string
		typ    uint16
		want   string
	}{
		{blocks, "cluster.local.", dns.TypeA, "cluster.local."},
		{blocks, "web.dev.svc.Cluster.LOCAL.", dns.TypeA, "cluster.local."},
		{blocks, "web.prod.svc.cluster.local.", dns.TypeA, "prod.svc.cluster.local."},
		{blocks, "prod.svc.cluster.local.", dns.TypeA, "prod.svc.cluster.local."},
		{blocks, "xprod.svc.cluster.local.", dns.TypeA, "cluster.local."},
		{blocks, "xcluster.local.", dns.TypeA, "none"},
		{blocks, "local.", dns.TypeA, "none"},
		{blocks, ".", dns.TypeA, "none"},
		{blocks, "1.0.0.10.in-addr.arpa.", dns.TypePTR, "cluster.local."},
		{blocks, "other.", dns.TypeA, "cluster.local."},
		{blocks, "a.bare.local.", dns.TypeA, "bare.local. refuses"},
		{withRoot, ".", dns.TypeA, "."},
		{withRoot, "local.", dns.TypeA, "."},
		{withRoot, "a.example.", dns.TypeA, "."},
		{withRoot, "a.cluster.local.", dns.TypeA, "cluster.local."},
		{withRoot, "a.bare.local.", dns.TypeA, "bare.local. refuses"},
		{blocks, "prod.svc.cluster.local.", dns.TypeDS, "cluster.local."},
		{blocks, "web.prod.svc.cluster.local.", dns.TypeDS, "cluster.local."},
		{blocks, "cluster.local.", dns.TypeDS, "cluster.local."},
		{withRoot, "cluster.local.", dns.TypeDS, "cluster.local."},
		{withRoot, "elsewhere.", dns.TypeDS, "."},
		{withRoot, "a.bare.local.", dns.TypeDS, "bare.local. refuses"},
		{[]*Block{block(t, "."), block(t, ". a.")}, "a.", dns.TypeA, "."},
		{nil, "a.", dns.TypeA, "none"},
	} {
		if got := found(t, tt.blocks, tt.name, tt.typ); got != tt.want {
			t.Errorf("%s %s: block %s, want %s", tt.name, dns.TypeToString[tt.typ], got, tt.want)
		}
	}
}

// TestFindAmong: of blocks that have a zone in common the first one that takes a query gets it, for DS the last one, and what
// none takes goes to a shorter zone.
func TestFindAmong(t *testing.T) {
	taking := func(label, zones string, typ message.Type) *Block {
		b := block(t, zones)
		b.Label = label
		if typ != 0 {
			b.Takes = func(q *message.Query) bool { return q.Type == typ || q.Type == message.TypeDS }
		}
		return b
	}
	bare := taking("bare", ".", 0)
	bare.Last = ""
	blocks := []*Block{
		taking("a, A", "a.", message.TypeA),
		taking("a and b, TXT", "a. b.", message.TypeTXT),
		taking("b", "b.", 0),
		taking("b, A", "b.", message.TypeA),
		taking("c.a, A", "c.a.", message.TypeA),
	}
	withRoot := append(blocks[:len(blocks):len(blocks)], taking("root, MX", ".", message.TypeMX), taking("root", ".", 0))
	withBare := append(blocks[:len(blocks):len(blocks)], bare, taking("root, A", ".", message.TypeA))
	for _, tt := range []struct {
		blocks []*Block
		name   string
		typ    uint16
		want   string
	}{
		{blocks, "x.a.", dns.TypeA, "a, A"},
		{blocks, "x.a.", dns.TypeTXT, "a and b, TXT"},
		{blocks, "x.a.", dns.TypeMX, "none"},
		{blocks, "x.b.", dns.TypeTXT, "a and b, TXT"},
		{blocks, "x.b.", dns.TypeA, "b"},
		{blocks, "c.a.", dns.TypeA, "c.a, A"},
		{blocks, "c.a.", dns.TypeTXT, "a and b, TXT"},
		{blocks, "c.a.", dns.TypeDS, "a and b, TXT"},
		{blocks, "b.", dns.TypeDS, "b, A"},
		{withRoot, "x.a.", dns.TypeMX, "root, MX"},
		{withRoot, "x.a.", dns.TypeNS, "root"},
		{withRoot, "x.", dns.TypeA, "root"},
		{withRoot, "x.", dns.TypeDS, "root, MX"},
		{withRoot, ".", dns.TypeDS, "root"},
		{withRoot, ".", dns.TypeMX, "root, MX"},
		{withBare, "x.", dns.TypeA, "root, A"},
		{withBare, "x.", dns.TypeMX, "none"},
		{withBare, ".", dns.TypeA, "bare refuses"},
	} {
		if got := found(t, tt.blocks, tt.name, tt.typ); got != tt.want {
			t.Errorf("%s %s: block %s, want %s", tt.name, dns.TypeToString[tt.typ], got, tt.want)
		}
	}
}

// TestFindAgainstModel compares random zones and names with trying every zone.
func TestFindAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	randomName := func() string {
		labels := make([]string, random.IntN(5))
		for i := range labels {
			labels[i] = string(rune('a' + random.IntN(3)))
		}
		return strings.Join(labels, ".") + "."
	}
	for range 200 {
		var blocks []*Block
		longest := make(map[string]bool)
		for range random.IntN(20) {
			zone := randomName()
			longest[zone] = true
			blocks = append(blocks, block(t, zone))
		}
		for range 50 {
			asked, want := randomName(), "none"
			for zone := range longest {
				if dns.IsSubDomain(zone, asked) && (want == "none" || dns.CountLabel(zone) > dns.CountLabel(want)) {
					want = zone
				}
			}
			if got := found(t, blocks, asked, dns.TypeA); got != want {
				t.Fatalf("%s among %v: %s, want %s", asked, longest, got, want)
			}
		}
	}
}

func BenchmarkFind(b *testing.B) {
	var many []string
	for i := range 128 {
		many = append(many, fmt.Sprintf("%d.96.10.in-addr.arpa.", i))
	}
	for _, bb := range []struct{ name, zones string }{
		{"root", "."},
		{"cluster and root", "cluster.local. in-addr.arpa. ip6.arpa. ."},
		{"128 reverse zones", "cluster.local. . " + strings.Join(many, " ")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			table, q := newChains([]*Block{block(b, bb.zones)}), query(b, "web.prod.svc.cluster.local.", dns.TypeA)
			b.ReportAllocs()
			for b.Loop() {
				if table.find(q) == nil {
					b.Fatal("no block")
				}
			}
		})
	}
}
