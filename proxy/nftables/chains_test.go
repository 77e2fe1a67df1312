package nftables

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

func sticking(address string, endpoints ...string) *proxy.Route {
	return &proxy.Route{
		Frontend: frontend(address, cluster.TCP), Service: proxy.ServicePort{Namespace: "prod", Name: "web"},
		Verdict: proxy.Forward, Affinity: 60, Endpoints: ports(endpoints...),
	}
}

func TestNumbersBelongToServicePortAndEndpoint(t *testing.T) {
	n := newNumbers(1000)
	one, two := sticking("10.96.0.1:80", "10.1.0.1:80", "10.1.0.2:80"), sticking("192.0.2.1:80", "10.1.0.2:80")
	a, b := n.take(one), n.take(two)
	if a[one.Endpoints[1]] != b[two.Endpoints[0]] {
		t.Error("an endpoint has two numbers in one Service port")
	}
	if a[one.Endpoints[0]] == a[one.Endpoints[1]] {
		t.Error("two endpoints have one number")
	}
	other := sticking("10.96.0.2:80", "10.1.0.1:80")
	other.Service.Name = "api"
	if c := n.take(other); c[other.Endpoints[0]] == a[one.Endpoints[0]] {
		t.Error("two Service ports share an endpoint's number")
	}
}

func TestNumbersAreNeverGivenTwice(t *testing.T) {
	n := newNumbers(1000)
	r := sticking("10.96.0.1:80", "10.1.0.1:80")
	seen := map[uint32]bool{}
	for range 5 {
		id := n.take(r)[r.Endpoints[0]]
		if seen[id] {
			t.Errorf("%d is given again after the endpoint had left", id)
		}
		seen[id] = true
		n.give(r)
	}
	if len(n.of) != 0 {
		t.Errorf("%d Service ports are remembered, want none", len(n.of))
	}
}

func TestNumbersAreLearntFromTheKernel(t *testing.T) {
	r := sticking("10.96.0.1:80", "10.1.0.1:80", "10.1.0.2:80")
	before := unconnected()
	if err := before.route(proxy.RouteChange{New: r}, state{}); err != nil {
		t.Fatal(err)
	}
	was := before.made[0].numbers.of[portOf(r)]
	n := newNumbers(1)
	n.learn(r, told(t, before.tx)[0])
	for e, id := range n.take(r) {
		if id != was[e].id {
			t.Errorf("%v had number %d, has %d", e, was[e].id, id)
		}
	}
	later := sticking("10.96.0.2:80", "10.1.0.1:80")
	later.Service.Name = "api"
	if id := n.take(later)[later.Endpoints[0]]; id <= was[r.Endpoints[1]].id {
		t.Errorf("%d is given after %d", id, was[r.Endpoints[1]].id)
	}
	n.give(later)
	n.forget()
	if len(n.of) != 1 {
		t.Errorf("%d Service ports are remembered, want 1", len(n.of))
	}
}

// A repair in one process gives the numbers that it gave before, whatever has become of the kernel's.
func TestNumbersOutliveTheKernels(t *testing.T) {
	n := newNumbers(1000)
	r := sticking("10.96.0.1:80", "10.1.0.1:80", "10.1.0.2:80")
	before := n.take(r)
	n = n.again()
	k := newFound()
	k.comments[stickyName(r.Frontend, upTo)] = []string{numbered(5000, r.Endpoints[0], 60)}
	n.learn(r, k)
	after := n.take(r)
	n.forget()
	for e, id := range before {
		if after[e] != id {
			t.Errorf("%v had number %d, has %d", e, id, after[e])
		}
	}
	n.give(r)
	if len(n.of) != 0 {
		t.Errorf("%d Service ports are remembered, want none", len(n.of))
	}
	if n.next < 5000 {
		t.Errorf("the next number is %d, and the kernel has had 5000", n.next)
	}
}

func TestNumberedCommentsAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"10.1.0.1:80", "[fd00::1]:53"} {
		e := netip.MustParseAddrPort(text)
		id, endpoint, seconds, ok := parseNumbered(numbered(17, e, 10800))
		if !ok || id != 17 || endpoint != e || seconds != 10800 {
			t.Errorf("%s: read %d, %v, %d, %v", text, id, endpoint, seconds, ok)
		}
	}
	for _, text := range []string{"", "too many clients", "endpoint 5: nobody for 3 seconds"} {
		if _, _, _, ok := parseNumbered(text); ok {
			t.Errorf("%q is taken for an endpoint's", text)
		}
	}
}

func TestStickyChainsKnowThenChoose(t *testing.T) {
	r := sticking("10.96.0.1:80", "10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80")
	n := newNumbers(1000)
	f := families()
	c := stickyChain(&f[0], r, upTo, n.take(r))
	if len(c.rules) != 7 {
		t.Errorf("%d rules, want 3 that know clients, 3 that choose, and 1 for a full set", len(c.rules))
	}
}

// A chain of sources is made once, kept while a route uses it, and retired with the last one.
func TestChainsOfSourcesAreShared(t *testing.T) {
	tables := unconnected()
	a := &proxy.Route{Frontend: frontend("192.0.2.1:80", cluster.TCP), Verdict: proxy.Reject, Sources: prefixes("10.0.0.0/8")}
	b := &proxy.Route{Frontend: frontend("192.0.2.2:80", cluster.TCP), Verdict: proxy.Reject, Sources: prefixes("10.0.0.0/8")}
	change := func(old, new *proxy.Route) {
		t.Helper()
		c := proxy.RouteChange{Old: old, New: new}
		if err := tables.route(c, stateOf(old)); err != nil {
			t.Fatal(err)
		}
		tables.dismiss([]proxy.RouteChange{c})
	}
	change(nil, a)
	change(nil, b)
	change(a, nil)
	if len(tables.retired) != 0 {
		t.Errorf("retired %v while a route uses it", tables.retired)
	}
	change(b, nil)
	if want := guardName(a.Sources); len(tables.retired) != 1 || tables.retired[0].chain != want {
		t.Errorf("retired %v, want %s", tables.retired, want)
	}
	change(nil, a)
	if len(tables.retired) != 0 {
		t.Errorf("retired %v although it is used again", tables.retired)
	}
}

func TestStickyChainsAreRetiredWithTheirRoute(t *testing.T) {
	tables := unconnected()
	r := sticking("10.96.0.1:80", "10.1.0.1:80")
	plain := *r
	plain.Affinity = 0
	for _, c := range []proxy.RouteChange{{New: r}, {Old: r, New: &plain}} {
		if err := tables.route(c, stateOf(c.Old)); err != nil {
			t.Fatal(err)
		}
		tables.dismiss([]proxy.RouteChange{c})
	}
	names := []string{}
	for _, r := range tables.retired {
		names = append(names, r.chain)
	}
	if !slices.Equal(names, []string{"sticky-tcp-80-10.96.0.1"}) {
		t.Errorf("retired %v", names)
	}
}

func TestGuardsOfOtherSourcesHaveOtherNames(t *testing.T) {
	if guardName(prefixes("10.0.0.0/8")) == guardName(prefixes("10.0.0.0/9")) {
		t.Error("two lists share a chain")
	}
}
