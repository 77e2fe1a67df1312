package account

import (
	"net/netip"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

func endpoints(text ...string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range text {
		all = append(all, netip.MustParseAddrPort(s))
	}
	return all
}

func TestDifferences(t *testing.T) {
	frontend := proxy.Frontend{Address: netip.MustParseAddr("10.96.0.1"), Protocol: cluster.TCP, Port: 80}
	forward := func(change func(*proxy.Route)) *proxy.Route {
		r := &proxy.Route{
			Frontend: frontend, Verdict: proxy.Forward, Masquerade: proxy.Foreign, Affinity: 60,
			Sources:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")},
			Endpoints: endpoints("10.1.0.1:80", "10.1.0.2:80"),
		}
		change(r)
		return r
	}
	split := func(local ...string) *proxy.Route {
		return &proxy.Route{Frontend: frontend, Verdict: proxy.Split, Endpoints: endpoints("10.1.0.1:80"), Local: endpoints(local...)}
	}
	nothing := func(*proxy.Route) {}
	for _, c := range []struct {
		name           string
		wanted, kernel *proxy.Route
		want           string
	}{
		{"the same", forward(nothing), forward(nothing), ""},
		{"what a kernel does not know", forward(func(r *proxy.Route) { r.Service.Name, r.Serving = "web", r.Endpoints }), forward(nothing), ""},
		{"slots and the order of sources do not count", forward(nothing), forward(func(r *proxy.Route) {
			r.Endpoints = endpoints("10.1.0.2:80", "10.1.0.1:80")
			r.Sources = []netip.Prefix{r.Sources[1], r.Sources[0]}
		}), ""},
		{"no route", forward(nothing), nil, "nothing"},
		{"verdict", forward(nothing), forward(func(r *proxy.Route) { r.Verdict = proxy.Drop }), "drop"},
		{"masquerade", forward(nothing), forward(func(r *proxy.Route) { r.Masquerade = proxy.Always }), "masquerade always"},
		{"affinity", forward(nothing), forward(func(r *proxy.Route) { r.Affinity = 61 }), "affinity 61s"},
		{"sources", forward(nothing), forward(func(r *proxy.Route) { r.Sources = r.Sources[:1] }), "sources [10.0.0.0/8]"},
		{"an endpoint less", forward(nothing), forward(func(r *proxy.Route) { r.Endpoints = r.Endpoints[:1] }), "endpoints [10.1.0.1:80]"},
		{"an endpoint twice", forward(nothing), forward(func(r *proxy.Route) { r.Endpoints = endpoints("10.1.0.1:80", "10.1.0.1:80") }), "endpoints [10.1.0.1:80 10.1.0.1:80]"},
		{"local endpoints", split("10.1.0.1:80"), split(), "local []"},
		{"masquerade says nothing of split", split(), func() *proxy.Route { r := split(); r.Masquerade = proxy.Always; return r }(), ""},
	} {
		a := RouteOf(c.wanted)
		if got := a.differs(c.kernel); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if a.Frontend() != frontend {
			t.Errorf("%s: the frontend is %s", c.name, a.Frontend())
		}
	}
}
