package nftables

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// model is the elements of a table as the kernel would have them: "set key" to data, both in hexadecimal.
type model map[string]string

// carryOut does what the transaction's elements say, and fails where the kernel would refuse.
func (m model) carryOut(t *testing.T, tx *transaction) {
	t.Helper()
	for i := range tx.parts {
		tx.finish(&tx.parts[i])
	}
	for message := range nfnetlink.Messages(tx.messages.Bytes()) {
		name := fmt.Sprintf("%d %s ", message.Family, nfnetlink.String(nfnetlink.Attribute(message.Body, unix.NFTA_SET_ELEM_LIST_SET)))
		for _, b := range nfnetlink.Attributes(nfnetlink.Attribute(message.Body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			e := parseElement(b)
			key := name + hex.EncodeToString(e.key)
			_, exists := m[key]
			switch message.Type {
			case kindOf(unix.NFT_MSG_NEWSETELEM):
				if exists {
					t.Fatalf("%s is added twice", key)
				}
				m[key] = hex.EncodeToString(e.data) + e.verdict.chain
			case kindOf(unix.NFT_MSG_DELSETELEM):
				if !exists {
					t.Fatalf("%s is removed, and is not there", key)
				}
				delete(m, key)
			}
		}
	}
	tx.messages.Reset()
}

// move is the model's way from one route to another; nil is none.
func (m model) move(t *testing.T, from, to *proxy.Route) {
	t.Helper()
	if from == nil && to == nil {
		return
	}
	f := families()
	tx := newTransaction("t", &f)
	a, b := stateOf(from), stateOf(to)
	tx.move(frontendOf(proxy.RouteChange{Old: from, New: to}), &a, &b)
	m.carryOut(t, tx)
}

func ports(addresses ...string) (list []netip.AddrPort) {
	for _, a := range addresses {
		list = append(list, netip.MustParseAddrPort(a))
	}
	return list
}

func frontend(text string, p cluster.Protocol) proxy.Frontend {
	a := netip.MustParseAddrPort(text)
	return proxy.Frontend{Address: a.Addr(), Protocol: p, Port: a.Port()}
}

func TestElementsOfRoutes(t *testing.T) {
	web := frontend("10.96.0.10:80", cluster.TCP)
	const key = "0a60000a" + "06000000" + "00500000"
	for _, c := range []struct {
		name  string
		route proxy.Route
		want  model
	}{
		{"reject", proxy.Route{Frontend: web, Verdict: proxy.Reject},
			model{"2 rejected " + key: ""}},
		{"drop", proxy.Route{Frontend: web, Verdict: proxy.Drop},
			model{"2 dropped " + key: ""}},
		{"forward to two", proxy.Route{Frontend: web, Verdict: proxy.Forward, Endpoints: ports("10.1.0.1:8080", "10.1.0.2:8080")},
			model{
				"2 frontends " + key: "", "2 up-to-2 " + key: "",
				"2 endpoints " + key + "00000000": "0a0100011f900000",
				"2 endpoints " + key + "01000000": "0a0100021f900000",
			}},
		{"forward, outsiders masqueraded", proxy.Route{
			Frontend: web, Verdict: proxy.Forward, Masquerade: proxy.Foreign, Endpoints: ports("10.1.0.1:80"),
		}, model{
			"2 frontends " + key: "", "2 foreign " + key: "", "2 up-to-1 " + key: "",
			"2 endpoints " + key + "00000000": "0a01000100500000",
		}},
		{"forward, all masqueraded, to some sources only", proxy.Route{
			Frontend: web, Verdict: proxy.Forward, Masquerade: proxy.Always, Endpoints: ports("10.1.0.1:80"),
			Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		}, model{
			"2 frontends " + key: "", "2 masqueraded " + key: "", "2 up-to-1 " + key: "",
			"2 endpoints " + key + "00000000": "0a01000100500000",
			"2 guards " + key:                 guardName([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}),
		}},
		{"split", proxy.Route{
			Frontend: web, Verdict: proxy.Split, Endpoints: ports("10.1.0.1:80", "10.1.0.2:80"), Local: ports("10.1.0.2:80"),
		}, model{
			"2 split " + key: "", "2 up-to-2 " + key: "", "2 local-up-to-1 " + key: "",
			"2 endpoints " + key + "00000000": "0a01000100500000",
			"2 endpoints " + key + "01000000": "0a01000200500000",
			"2 endpoints " + key + "00000100": "0a01000200500000",
		}},
		{"split, nobody for outsiders", proxy.Route{Frontend: web, Verdict: proxy.Split, Endpoints: ports("10.1.0.1:80")},
			model{
				"2 split " + key: "", "2 dropped " + key: "", "2 up-to-1 " + key: "",
				"2 endpoints " + key + "00000000": "0a01000100500000",
			}},
		{"session affinity", proxy.Route{Frontend: web, Verdict: proxy.Forward, Affinity: 60, Endpoints: ports("10.1.0.1:80")},
			model{
				"2 frontends " + key: "", "2 sticky " + key: "sticky-tcp-80-10.96.0.10",
				"2 endpoints " + key + "00000000": "0a01000100500000",
			}},
		{"a NodePort of IPv6", proxy.Route{
			Frontend: frontend("[::]:30053", cluster.UDP), Verdict: proxy.Forward, Masquerade: proxy.Always, Endpoints: ports("[fd00::1]:53"),
		}, model{
			"10 frontends 00000000000000000000000000000000" + "11000000" + "75650000":              "",
			"10 masqueraded 00000000000000000000000000000000" + "11000000" + "75650000":            "",
			"10 up-to-1 00000000000000000000000000000000" + "11000000" + "75650000":                "",
			"10 endpoints 00000000000000000000000000000000" + "11000000" + "75650000" + "00000000": "fd000000000000000000000000000001" + "00350000",
		}},
	} {
		m := model{}
		m.move(t, nil, &c.route)
		if !maps.Equal(m, c.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", c.name, m, c.want)
		}
		m.move(t, &c.route, nil)
		if len(m) > 0 {
			t.Errorf("%s: left behind %v", c.name, m)
		}
	}
}

func TestOneEndpointIsOneElement(t *testing.T) {
	was := &proxy.Route{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Forward,
		Endpoints: ports("10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80", "10.1.0.4:80")}
	is := *was
	is.Endpoints = ports("10.1.0.1:80", "10.1.0.9:80", "10.1.0.3:80", "10.1.0.4:80")
	f := families()
	tx := newTransaction("t", &f)
	a, b := stateOf(was), stateOf(&is)
	tx.move(was.Frontend, &a, &b)
	e := tx.parts[0].changes[endpoints]
	if len(tx.parts[0].touched) != 1 || len(e.gone) != 28 || len(e.come) != 44 {
		t.Errorf("changed sets %v; %d bytes gone, %d come; want one set, one element gone (28) and come (44)",
			tx.parts[0].touched, len(e.gone), len(e.come))
	}
}

// Whatever the way, the elements at its end are those of a direct one.
func TestRandomMovesEndWhereAFreshOneDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range []proxy.Frontend{frontend("10.96.0.10:80", cluster.TCP), frontend("[fd00::a]:53", cluster.UDP), frontend("0.0.0.0:30000", cluster.SCTP)} {
		m := model{}
		var last *proxy.Route
		for range 2000 {
			next := randomRoute(random, f)
			m.move(t, last, next)
			fresh := model{}
			fresh.move(t, nil, next)
			if !maps.Equal(m, fresh) {
				t.Fatalf("from %+v to %+v:\ngot  %v\nwant %v", last, next, m, fresh)
			}
			last = next
		}
	}
}

func randomRoute(random *rand.Rand, f proxy.Frontend) *proxy.Route {
	if random.IntN(10) == 0 {
		return nil
	}
	r := &proxy.Route{Frontend: f, Verdict: proxy.Verdict(random.IntN(4)), Masquerade: proxy.Masquerade(random.IntN(3))}
	if random.IntN(4) == 0 {
		r.Affinity = uint32(random.IntN(3))
	}
	if random.IntN(4) == 0 {
		r.Sources = []netip.Prefix{netip.PrefixFrom(f.Address, random.IntN(9)).Masked()}
	}
	some := func() (list []netip.AddrPort) {
		for range random.IntN(20) {
			a := f.Address.As16()
			a[15], a[14] = byte(random.IntN(8)), 9
			address := netip.AddrFrom16(a)
			if f.Address.Is4() {
				address = address.Unmap()
			}
			list = append(list, netip.AddrPortFrom(address, uint16(random.IntN(2)+80)))
		}
		return list
	}
	r.Endpoints, r.Local = some(), some()
	return r
}

func TestLongListsFitIntoMessages(t *testing.T) {
	r := &proxy.Route{Frontend: frontend("10.96.0.10:80", cluster.TCP), Verdict: proxy.Forward}
	for i := range mostEndpoints + 7 {
		r.Endpoints = append(r.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80))
	}
	m := model{}
	m.move(t, nil, r)
	if want := 2 + mostEndpoints; len(m) != want {
		t.Errorf("%d elements, want %d", len(m), want)
	}
}

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	all := families()
	for _, c := range []proxy.Frontend{frontend("10.96.0.10:80", cluster.TCP), frontend("[::]:30000", cluster.SCTP)} {
		f := &all[familyOf(c.Address)]
		got, ok := f.parseFrontend(appendFrontend(nil, c))
		if !ok || got != c {
			t.Errorf("wrote %v, read %v", c, got)
		}
		e := netip.AddrPortFrom(c.Address, c.Port)
		if got, ok := f.parseEndpoint(appendEndpoint(nil, e)); !ok || got != e {
			t.Errorf("wrote %v, read %v", e, got)
		}
		h := proxy.Hairpin{Endpoint: e, Protocol: c.Protocol}
		if got, ok := f.parseHairpin(appendHairpin(nil, h)); !ok || got != h {
			t.Errorf("wrote %v, read %v", h, got)
		}
	}
}

func TestNamesOfStickyChainsAreIdentifiers(t *testing.T) {
	for _, c := range []struct {
		frontend proxy.Frontend
		first    setID
		want     string
	}{
		{frontend("10.96.0.10:80", cluster.TCP), upTo, "sticky-tcp-80-10.96.0.10"},
		{frontend("[fd00::a]:53", cluster.UDP), localUpTo, "local-sticky-udp-53-fd00__a"},
	} {
		if got := stickyName(c.frontend, c.first); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
