package question

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

var vocabulary = &Vocabulary{
	Namespaces: []string{"default", "prod"},
	Services: []Service{{
		Namespace: "prod", Name: "web", Ports: []Port{{"http", "tcp"}}, Hosts: []string{"web-0", "10-1-2-3"},
	}},
	Addresses: []Address{{netip.MustParseAddr("10.1.2.3"), "prod"}, {netip.MustParseAddr("fd00::1"), "prod"}},
}

// TestGenerate is about what the end-to-end tests rely on: the questions are many, different, sound, the same each time,
// and of all kinds.
func TestGenerate(t *testing.T) {
	const count = 20_000
	questions := Generate(vocabulary, []string{"cluster.local."}, 1, count)
	if again := Generate(vocabulary, []string{"cluster.local."}, 1, count); !reflect.DeepEqual(questions, again) {
		t.Error("the same seed gives other questions")
	}
	if len(questions) < count {
		t.Fatalf("%d questions, want %d", len(questions), count)
	}
	seen := map[string]bool{}
	names, types := map[string]bool{}, map[uint16]int{}
	var tcp, opt, cased int
	for _, q := range questions {
		var m dns.Msg
		if err := m.Unpack(q.Packet); err != nil || m.Question[0].Name != q.Name {
			t.Fatalf("%v: the packet holds %v (%v)", &q, m.Question, err)
		}
		key := string(q.Packet[2:])
		if q.TCP {
			tcp++
			key += "tcp"
		}
		if seen[key] {
			t.Fatalf("%v comes twice", &q)
		}
		seen[key] = true
		types[q.Type]++
		names[q.Name] = true
		if m.IsEdns0() != nil {
			opt++
		}
		if dns.CanonicalName(q.Name) != q.Name {
			cased++
		}
	}
	for _, name := range []string{
		"cluster.local.", "web.prod.svc.cluster.local.", "_http._tcp.web.prod.svc.cluster.local.", "web-0.web.prod.svc.cluster.local.",
		"10-1-2-3.prod.pod.cluster.local.", "fd00--1.prod.pod.cluster.local.", "3.2.1.10.in-addr.arpa.", "2.1.10.in-addr.arpa.",
		"dns-version.cluster.local.", "ns.dns.cluster.local.", "www.example.com.",
	} {
		if !names[name] {
			t.Errorf("nobody asks for %s", name)
		}
	}
	for _, typ := range slices.Concat(mainTypes, moreTypes, rareTypes) {
		if types[typ] == 0 {
			t.Errorf("nobody asks for type %v", dns.Type(typ))
		}
	}
	if tcp < count/50 || opt < count/4 || cased < count/10 {
		t.Errorf("of %d questions %d go over TCP, %d have OPT and %d mixed letter case", len(questions), tcp, opt, cased)
	}
}

func TestHostile(t *testing.T) {
	questions := Hostile(1, 1000)
	if again := Hostile(1, 1000); !reflect.DeepEqual(questions, again) {
		t.Error("the same seed gives other packets")
	}
	broken := 0
	for _, q := range questions {
		if new(dns.Msg).Unpack(q.Packet) != nil {
			broken++
		}
	}
	if broken < 100 {
		t.Errorf("only %d of %d packets cannot be read", broken, len(questions))
	}
}
