package nftables

import (
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// newFound is what a kernel has that has nothing.
func newFound() *found {
	return &found{
		sets: map[string]set{}, chains: map[string]*hook{}, comments: map[string][]string{},
		routes: map[proxy.Frontend]*state{}, hairpins: map[proxy.Hairpin]bool{}, clusterIPs: map[netip.Addr]bool{},
		odd: map[oddElement]bool{},
	}
}

// told is what a kernel would tell after a transaction into an empty table.
func told(t *testing.T, tx *transaction) [2]*found {
	t.Helper()
	k := [2]*found{newFound(), newFound()}
	ids := map[string]setID{}
	for id := range sets {
		ids[setName(id)] = id
	}
	for i := range tx.parts {
		tx.finish(&tx.parts[i])
	}
	for m := range nfnetlink.Messages(tx.messages.Bytes()) {
		i := 0
		if m.Family == unix.NFPROTO_IPV6 {
			i = 1
		}
		switch m.Type {
		case kindOf(unix.NFT_MSG_NEWSETELEM):
			id := ids[nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_SET_ELEM_LIST_SET))]
			for _, e := range nfnetlink.Attributes(nfnetlink.Attribute(m.Body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				k[i].take(tx.parts[i].family, id, parseElement(e))
			}
		case kindOf(unix.NFT_MSG_NEWRULE):
			chain := nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_CHAIN))
			if c, ok := comment(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_USERDATA)); ok {
				k[i].comments[chain] = append(k[i].comments[chain], c)
			}
		}
	}
	return k
}

// unconnected are tables that have no kernel.
func unconnected() *Tables {
	t := &Tables{table: "t", mark: 1 << 14, families: families()}
	for i := range t.made {
		t.made[i] = made{guards: map[string]int{}, numbers: newNumbers(1000)}
	}
	t.tx = newTransaction(t.table, &t.families)
	return t
}

func TestRoutesAreReadAsTheyAreWritten(t *testing.T) {
	for _, r := range []*proxy.Route{
		{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Reject},
		{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Drop},
		{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Forward, Endpoints: ports("10.1.0.1:80")},
		{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Forward, Masquerade: proxy.Foreign,
			Endpoints: ports("10.1.0.1:80", "10.1.0.2:8080", "10.1.0.1:8080")},
		{Frontend: frontend("[fd00::a]:53", cluster.UDP), Verdict: proxy.Forward, Masquerade: proxy.Always,
			Endpoints: ports("[fd00::1]:53"), Affinity: 10800, Sources: prefixes("2001:db8::/32", "fd00::/8")},
		{Frontend: frontend("0.0.0.0:30000", cluster.SCTP), Verdict: proxy.Split, Affinity: 5,
			Endpoints: ports("10.1.0.1:80", "10.1.0.2:80"), Local: ports("10.1.0.2:80")},
		{Frontend: frontend("192.0.2.1:80", cluster.TCP), Verdict: proxy.Split,
			Endpoints: ports("10.1.0.1:80"), Sources: prefixes("0.0.0.0/1")},
	} {
		tables := unconnected()
		if err := tables.route(proxy.RouteChange{New: r}, state{}); err != nil {
			t.Fatal(err)
		}
		k := told(t, tables.tx)[familyOf(r.Address)]
		got := k.route(r.Frontend, k.routes[r.Frontend])
		if !reflect.DeepEqual(got, r) {
			t.Errorf("wrote %+v\n read %+v", r, got)
		}
	}
}

func TestOddElementsAreNoticed(t *testing.T) {
	f := families()[0]
	k := newFound()
	port := appendFrontend(nil, frontend("10.0.0.1:80", cluster.TCP))
	k.take(&f, endpoints, element{key: appendSlot(port, 2*mostEndpoints), data: appendEndpoint(nil, ports("10.1.0.1:80")[0])})
	k.take(&f, hairpins, element{key: append([]byte{10, 0, 0, 2}, port...)})
	k.take(&f, frontends, element{key: []byte{1}})
	if len(k.odd) != 3 {
		t.Errorf("%d odd elements, want 3: %v", len(k.odd), k.odd)
	}
}

func TestEndpointsMayLackSlots(t *testing.T) {
	var s state
	s.fill(2, ports("10.1.0.1:80")[0])
	s.fill(localSlot+1, ports("10.1.0.2:80")[0])
	if len(s.endpoints) != 3 || s.endpoints[0].IsValid() || !s.endpoints[2].IsValid() || len(s.local) != 2 {
		t.Errorf("got %+v", s)
	}
	if s.fill(2*mostEndpoints, ports("10.1.0.1:80")[0]) {
		t.Error("filled a slot that does not exist")
	}
}

// FuzzTake reads arbitrary elements and comments.
func FuzzTake(f *testing.F) {
	f.Add(uint8(endpoints), false, appendElement(nil, make([]byte, 16), make([]byte, 8)), []byte{0, 2, 'x', 0})
	f.Add(uint8(guards), true, appendVerdictElement(nil, make([]byte, 24), verdict{-4, "chain"}), []byte{0, 200})
	f.Fuzz(func(t *testing.T, id uint8, six bool, list, data []byte) {
		all := families()
		family := &all[0]
		if six {
			family = &all[1]
		}
		k := newFound()
		n := 0
		for _, e := range nfnetlink.Attributes(list) {
			k.take(family, setID(id)%sets, parseElement(e))
			n++
		}
		if got := len(k.odd) + len(k.routes) + len(k.hairpins) + len(k.clusterIPs); got > 2*n {
			t.Errorf("%d things out of %d elements", got, n)
		}
		for frontend, has := range k.routes {
			if r := k.route(frontend, has); r.Frontend != frontend {
				t.Errorf("the route of %v is that of %v", frontend, r.Frontend)
			}
		}
		if c, ok := comment(data); ok {
			parseNumbered(c)
		}
		parseSet(list)
		parseHook(list)
		target(list)
	})
}
