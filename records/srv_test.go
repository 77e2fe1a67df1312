package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// headlessZone has the headless Service db with so many endpoints, if both is set with an address of each family.
func headlessZone(endpoints int, both bool) *Zone {
	v4 := &cluster.Slice{Namespace: "prod", Name: "db-v4", Service: "db", Ports: db.Ports}
	v6 := &cluster.Slice{Namespace: "prod", Name: "db-v6", Service: "db", Ports: db.Ports}
	for n := range endpoints {
		host := fmt.Sprintf("db-%d", n)
		v4.Endpoints = append(v4.Endpoints, endpoint(fmt.Sprintf("10.244.1.%d", n), host))
		if both {
			v6.Endpoints = append(v6.Endpoints, endpoint(fmt.Sprintf("2001:db8::1:%d", n), host))
		}
	}
	return newZone(testConfig(), prod, db, v4, v6).Zone()
}

// TestShuffleGlue: with loadbalance another target's address is the first of its family each time, and what does not fit is
// another one's. Without it the order is a stable one. The SRV records have one in any case.
func TestShuffleGlue(t *testing.T) {
	for _, tt := range []struct {
		endpoints int
		both      bool
		shuffle   bool
		size      uint16
		kept      int // addresses in each answer
		first     int // how many come first of their family
		seen      int // how many are in any answer
	}{
		{1, true, true, 1232, 2, 2, 2},
		{5, false, false, 1232, 5, 1, 5},
		{5, false, true, 1232, 5, 5, 5},
		{5, true, true, 1232, 10, 10, 10},
		{8, false, false, 512, 0, 1, 0},
		{8, false, true, 512, 0, 8, 8},
		{200, false, true, 65535, 200, 150, 200},
	} {
		t.Run(fmt.Sprintf("%d, both %v, shuffle %v, %d bytes", tt.endpoints, tt.both, tt.shuffle, tt.size), func(t *testing.T) {
			z, first, seen, answer := headlessZone(tt.endpoints, tt.both), map[string]bool{}, map[string]bool{}, ""
			for range 400 {
				m := shuffled(t, z, "_pg._tcp.db.prod.svc.cluster.local.", dns.TypeSRV, tt.shuffle, tt.size)
				if text := fmt.Sprint(m.Answer); answer == "" {
					answer = text
				} else if text != answer {
					t.Fatalf("the answer changes:\n%s\n%s", answer, text)
				}
				begun := map[uint16]bool{}
				var all []string
				for _, rr := range m.Extra[:len(m.Extra)-1] {
					text := strings.ReplaceAll(rr.String(), "\t", " ")
					all = append(all, text)
					seen[text] = true
					if typ := rr.Header().Rrtype; !begun[typ] {
						begun[typ], first[text] = true, true
					}
					host, _, _ := strings.Cut(text, ".")
					if address := text[strings.LastIndexAny(text, ".:")+1:]; host != "db-"+address {
						t.Fatalf("another target's address: %s", text)
					}
				}
				slices.Sort(all)
				if n := len(slices.Compact(all)); n != len(m.Extra)-1 || tt.kept > 0 && n != tt.kept {
					t.Fatalf("%d different addresses of %d, want %d", n, len(m.Extra)-1, tt.kept)
				}
			}
			if len(first) < tt.first || tt.first == 1 && len(first) > 1 || tt.seen > 0 && len(seen) != tt.seen {
				t.Errorf("%d come first, want %d; %d are seen, want %d", len(first), tt.first, len(seen), tt.seen)
			}
		})
	}
}

// TestShuffleNameServers: the same for the addresses of the zone's name servers.
func TestShuffleNameServers(t *testing.T) {
	c := testConfig()
	c.LocalIPs = addrs("10.244.2.10")
	z, first := newZone(c, prod, db, dbSlice).Zone(), map[string]bool{}
	for range 100 {
		m := shuffled(t, z, "cluster.local.", dns.TypeNS, true, 1232)
		if len(m.Answer) != 2 || len(m.Extra) != 3 {
			t.Fatalf("got %v", m)
		}
		first[m.Extra[0].String()] = true
	}
	if len(first) != 2 {
		t.Errorf("%d come first", len(first))
	}
}

// shuffled is the zone's answer, in random order if shuffle is set.
func shuffled(t testing.TB, z *Zone, name string, typ uint16, shuffle bool, size uint16) *dns.Msg {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(name, typ).SetEdns0(size, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q message.Query
	var r message.Reply
	q.Parse(packet)
	r.Begin(&q, nil)
	r.Shuffle = shuffle
	z.Answer(&q, &r)
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGlueAllocatesNothing, with and without a random order.
func TestGlueAllocatesNothing(t *testing.T) {
	z := headlessZone(20, true)
	var q message.Query
	var r message.Reply
	q.Parse(query(t, "_pg._tcp.db.prod.svc.cluster.local", message.TypeSRV))
	q.Transport = message.TCP
	out := make([]byte, 0, 8192)
	for _, shuffle := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() {
			r.Begin(&q, out)
			r.Shuffle = shuffle
			z.Answer(&q, &r)
		}); n != 0 || r.Count(message.Additional) != 40 {
			t.Errorf("shuffle %v: %v allocations, %d addresses", shuffle, n, r.Count(message.Additional))
		}
	}
}
