package conntrack

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

func endpoints(texts ...string) (list []netip.AddrPort) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddrPort(text))
	}
	return list
}

func route(protocol cluster.Protocol, frontend string, serving ...string) *proxy.Route {
	a := netip.MustParseAddrPort(frontend)
	r := &proxy.Route{
		Frontend: proxy.Frontend{Address: a.Addr(), Protocol: protocol, Port: a.Port()},
		Verdict:  proxy.Forward, Endpoints: endpoints(serving...), Serving: endpoints(serving...),
	}
	if len(serving) == 0 {
		r.Verdict = proxy.Reject
	}
	return r
}

// parse reads a flow: "udp 10.96.0.10:53 10.1.0.1:53" with the words "replied" and "translated" behind it.
func parse(t *testing.T, text string) *flow {
	t.Helper()
	words := strings.Fields(text)
	p, ok := cluster.ParseProtocol(strings.ToUpper(words[0]))
	if !ok {
		t.Fatalf("no protocol in %q", text)
	}
	f := &flow{protocol: p, target: netip.MustParseAddrPort(words[1]), endpoint: netip.MustParseAddrPort(words[2])}
	for _, word := range words[3:] {
		f.status |= map[string]uint32{"replied": seenReply, "translated": translated}[word]
	}
	return f
}

func TestFlowsThatContradict(t *testing.T) {
	d := desired{
		node: proxy.Node{
			NodePorts:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::/0")},
			ServiceRanges: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		},
		routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{},
	}
	for _, r := range []*proxy.Route{
		route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53", "10.1.0.2:53"),
		route(cluster.TCP, "10.96.0.10:53", "10.1.0.1:53"),
		route(cluster.UDP, "10.96.0.20:53"),
		route(cluster.UDP, "0.0.0.0:30053", "10.1.0.1:53"),
		route(cluster.UDP, "[::]:30053", "[fd00::1]:53"),
		route(cluster.UDP, "[fd00:96::a]:53", "[fd00::1]:53"),
	} {
		d.change(proxy.RouteChange{New: r})
	}
	for _, r := range []*proxy.Route{route(cluster.UDP, "203.0.113.9:53", "10.1.0.7:53"), route(cluster.UDP, "0.0.0.0:30099", "10.1.0.7:53")} {
		d.change(proxy.RouteChange{New: r})
		d.change(proxy.RouteChange{Old: r})
	}
	local := func(a netip.Addr) bool {
		return a == netip.MustParseAddr("192.0.2.1") || a == netip.MustParseAddr("198.51.100.1") ||
			a == netip.MustParseAddr("2001:db8::1") || a.IsLoopback()
	}
	for _, c := range []struct {
		flow string
		want bool
	}{
		{"udp 10.96.0.10:53 10.1.0.2:53 replied translated", false},
		{"udp 10.96.0.10:53 10.1.0.9:53 replied translated", true},
		{"udp 10.96.0.10:53 10.1.0.2:54 replied translated", true},
		{"udp 10.96.0.10:53 10.96.0.10:53", true}, // from before there was the Service
		{"udp [fd00:96::a]:53 [fd00::1]:53 translated", false},
		{"udp [fd00:96::a]:53 [fd00::2]:53 translated", true},
		{"udp 10.96.0.20:53 10.1.0.1:53 replied translated", true}, // nobody serves it any more
		{"udp 10.96.0.30:53 10.1.0.1:53 replied translated", true}, // no such Service any more
		{"udp 10.96.0.10:54 10.1.0.1:54 translated", true},         // nor such a port
		{"udp 10.96.0.30:53 10.96.0.30:53", false},                 // translated by nobody
		{"udp 8.8.8.8:53 8.8.8.8:53 replied", false},
		{"udp 8.8.8.8:30053 8.8.8.8:30053 replied", false},       // a NodePort's number, but not the node
		{"udp 8.8.8.8:53 10.1.0.9:53 replied translated", false}, // translated by somebody else
		{"udp 192.0.2.1:30053 10.1.0.1:53 replied translated", false},
		{"udp 192.0.2.1:30053 10.1.0.9:53 replied translated", true},
		{"udp 198.51.100.1:30053 10.1.0.9:53 replied translated", false}, // no NodePorts on that address
		{"udp 127.0.0.1:30053 127.0.0.1:30053 replied", false},
		{"udp [2001:db8::1]:30053 [fd00::9]:53 translated", true},
		{"udp 192.0.2.1:30099 10.1.0.7:53 translated", true},  // a NodePort that is gone
		{"udp 192.0.2.1:30099 10.1.0.8:53 translated", false}, // and somebody else's translation
		{"udp 203.0.113.9:53 10.1.0.7:53 translated", true},
		{"udp 203.0.113.9:53 203.0.113.9:53", false},
		{"udp 203.0.113.9:53 10.5.5.5:53 translated", false},
		{"tcp 10.96.0.10:53 10.1.0.9:53 translated", true}, // nobody has answered
		{"tcp 10.96.0.10:53 10.1.0.9:53 replied translated", false},
		{"tcp 10.96.0.10:53 10.1.0.1:53 translated", false},
	} {
		if got := d.contradicts(parse(t, c.flow), local); got != c.want {
			t.Errorf("%s: contradicts is %v, want %v", c.flow, got, c.want)
		}
	}
}

func TestChangesThatMayLeaveFlowsBehind(t *testing.T) {
	one, two := route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53"), route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53", "10.1.0.2:53")
	shared := *two
	shared.Masquerade = proxy.Always
	many := make([]string, 100)
	for i := range many {
		many[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), 53).String()
	}
	for _, c := range []struct {
		name     string
		old, new *proxy.Route
		want     bool
	}{
		{"a route begins", nil, one, true},
		{"an endpoint more", one, two, false},
		{"an endpoint less", two, one, true},
		{"other policies", two, &shared, false},
		{"nobody serves it any more", one, route(cluster.UDP, "10.96.0.10:53"), true},
		{"a route ends", one, nil, true},
		{"one of many less", route(cluster.UDP, "10.96.0.10:53", many...), route(cluster.UDP, "10.96.0.10:53", many[1:]...), true},
		{"one of many more", route(cluster.UDP, "10.96.0.10:53", many[1:]...), route(cluster.UDP, "10.96.0.10:53", many...), false},
		{"SCTP", route(cluster.SCTP, "10.96.0.10:53", "10.1.0.1:53"), route(cluster.SCTP, "10.96.0.10:53"), false},
		{"SCTP ends", route(cluster.SCTP, "10.96.0.10:53", "10.1.0.1:53"), nil, false},
	} {
		d := desired{routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{}}
		if got := d.change(proxy.RouteChange{Old: c.old, New: c.new}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRoutesThatEndedAreKeptUntilLookedFor(t *testing.T) {
	f := &Flows{late: &late{}, wake: make(chan struct{}, 1), desired: desired{routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{}}}
	gone, back := route(cluster.UDP, "203.0.113.9:53", "10.1.0.1:53"), route(cluster.UDP, "203.0.113.8:53", "10.1.0.1:53")
	f.Sync([]*proxy.Route{gone, back}, &proxy.Wanted{Routes: []*proxy.Route{back}})
	all, _ := f.due()
	if all != everywhere {
		t.Errorf("after a sync, looks are due at %v, want all", all)
	}
	if len(f.desired.gone) != 1 || f.desired.gone[gone.Frontend] == nil {
		t.Errorf("gone is %v, want %v", f.desired.gone, gone)
	}
	look := func() {
		f.looked(everywhere, f.asked, map[proxy.Frontend]*proxy.Route{gone.Frontend: gone})
	}
	pending := func() [realms]bool {
		where, _ := f.due()
		return where
	}
	look()
	if pending() != everywhere || len(f.desired.gone) != 1 {
		t.Error("one look is taken for enough")
	}
	f.Apply(&proxy.Changes{Routes: []proxy.RouteChange{{Old: back}}})
	f.looked(everywhere, [realms]int{0, 1, 1, 1}, nil) // a look that had begun before
	if want := [realms]int{udp4: looksPerChange}; f.looks != want {
		t.Errorf("looks to take after another change: %v, want %v", f.looks, want)
	}
	f.looked([realms]bool{udp6: true, tcp4: true, tcp6: true}, f.asked, map[proxy.Frontend]*proxy.Route{gone.Frontend: gone})
	if f.looks[udp4] != looksPerChange || f.desired.gone[gone.Frontend] == nil {
		t.Error("a look elsewhere is taken for one at the flows of a route")
	}
	look()
	look()
	if pending() != [realms]bool{} || len(f.desired.gone) != 1 || f.desired.gone[back.Frontend] == nil {
		t.Errorf("after the looks: pending %v, gone %v, want what ended while they were taken", pending(), f.desired.gone)
	}
}

// TestLooksAreWhereRoutesChanged has changes of routes ask for looks where their flows are, and nowhere else.
func TestLooksAreWhereRoutesChanged(t *testing.T) {
	for in, r := range map[realm]*proxy.Route{
		udp4: route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53"), udp6: route(cluster.UDP, "[fd00::10]:53", "[fd00:1::1]:53"),
		tcp4: route(cluster.TCP, "0.0.0.0:30080", "10.1.0.1:80"), tcp6: route(cluster.TCP, "[::]:30080", "[fd00:1::1]:80"),
	} {
		var want [realms]bool
		want[in] = true
		for name, change := range map[string]proxy.RouteChange{"begins": {New: r}, "ends": {Old: r}} {
			f := &Flows{late: &late{}, wake: make(chan struct{}, 1), desired: desired{routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{}}}
			f.Apply(&proxy.Changes{Routes: []proxy.RouteChange{change}})
			if where, _ := f.due(); where != want {
				t.Errorf("%v %s: looks are due at %v, want %v", r.Frontend, name, where, want)
			}
		}
	}
}

// TestFlowsThatAreExpected: between the kernel's change and its report, flows may agree with either.
func TestFlowsThatAreExpected(t *testing.T) {
	d := desired{
		node: proxy.Node{
			NodePorts: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ServiceRanges: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		},
		routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{},
	}
	old, next := route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53"), route(cluster.UDP, "10.96.0.10:53", "10.1.0.2:53")
	d.change(proxy.RouteChange{New: old})
	local := func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.1") }
	flows := []string{
		"udp 10.96.0.10:53 10.1.0.1:53 translated", "udp 10.96.0.10:53 10.1.0.2:53 translated", "udp 10.96.0.10:53 10.1.0.3:53 translated",
		"udp 10.96.0.11:53 10.1.0.2:53 translated", "udp 192.0.2.1:30053 10.1.0.2:53 translated",
	}
	check := func(when string, want ...bool) {
		t.Helper()
		for i, flow := range flows {
			if got := d.contradicts(parse(t, flow), local); got != want[i] {
				t.Errorf("%s: %s contradicts: %t, want %t", when, flow, got, want[i])
			}
		}
	}
	check("before", false, true, true, true, false)
	changes := []proxy.RouteChange{
		{Old: old, New: next}, {New: route(cluster.UDP, "10.96.0.11:53", "10.1.0.2:53")}, {New: route(cluster.UDP, "0.0.0.0:30053", "10.1.0.2:53")},
	}
	d.expect(changes)
	check("meanwhile", false, false, true, false, false)
	for _, c := range changes {
		d.change(c)
	}
	d.expect(nil)
	check("after", true, false, true, false, false)
}

// TestFlowsLeaveADNSServerAtOnce has flows of DNS questions agree with what new ones would get only, and all others with
// whatever serves.
func TestFlowsLeaveADNSServerAtOnce(t *testing.T) {
	r := route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53")
	r.Serving = endpoints("10.1.0.1:53", "10.1.0.2:53")
	leaving, none := *r, *r
	none.Endpoints = nil
	tcp, other := *r, *r
	tcp.Protocol, other.Port = cluster.TCP, 443
	split := *r
	split.Local = endpoints("10.1.0.2:53")
	for _, c := range []struct {
		name string
		r    *proxy.Route
		want bool
	}{
		{"another is chosen", &leaving, false},
		{"none is chosen", &none, true},
		{"TCP", &tcp, true},
		{"another port", &other, true},
		{"chosen for clients from outside", &split, true},
	} {
		if got := agrees(c.r, r.Serving[1]); got != c.want {
			t.Errorf("%s: a flow agrees: %t, want %t", c.name, got, c.want)
		}
		if owes(c.r, r.Serving[1]) == c.want {
			t.Errorf("%s: late answers are expected: %t, want %t", c.name, c.want, !c.want)
		}
	}
	d := desired{routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{}}
	both := *r
	both.Endpoints = r.Serving
	d.change(proxy.RouteChange{New: &both})
	if !d.change(proxy.RouteChange{Old: &both, New: &leaving}) {
		t.Error("nobody looks for the flows of a DNS server that leaves")
	}
	if d.change(proxy.RouteChange{Old: &leaving, New: &both}) {
		t.Error("flows are looked for where a DNS server is there again")
	}
}
