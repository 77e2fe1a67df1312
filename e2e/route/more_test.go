package route

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// near has endpoints of slices hint at who should use them.
func near(objects []cluster.Object, zones, nodes map[string][]string) []cluster.Object {
	for _, o := range objects {
		slice, ok := o.(*cluster.Slice)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			place := *slice.Endpoints[i].Place
			place.ForZones, place.ForNodes = zones[place.Node], nodes[place.Node]
			slice.Endpoints[i].Place = &place
		}
	}
	return objects
}

func TestNearEndpointsArePreferred(t *testing.T) {
	l := theLab(t)
	l.tellAll(t, nearStories())
	here := &cluster.Node{Name: "node-1", Addresses: both("node-1"), Zone: "east"}
	t.Run("in the same zone", func(t *testing.T) {
		r := l.router(t, plan.Options{Pods: pods()})
		objects := near(with(service("web", func(s *cluster.Service) { s.Routing.Distribution = "PreferSameZone" }), "b", "c"),
			map[string][]string{"node-1": {"west"}, "node-2": {"east"}}, nil)
		if err := r.Set(append(append(objects, world()...), here)...); err != nil {
			t.Fatal(err)
		}
		l.check(t, "a * web:80 -> c sees a")
		moved := *here
		moved.Zone = "west"
		if err := r.Set(&moved); err != nil {
			t.Fatal(err)
		}
		l.forgetFlows(t) // a new client may come by the port of an old one
		l.check(t, "a * web:80 -> b sees a")
	})
}

func nearStories() []story {
	zones := map[string][]string{"node-1": {"east"}, "node-2": {"west"}}
	nodes := map[string][]string{"node-1": {"node-1"}, "node-2": {"node-2"}}
	distributed := func(s *cluster.Service) { everywhere(s); s.Routing.Distribution = "PreferSameNode" }
	return []story{
		{
			name: "on the same node", options: plan.Options{Pods: pods()},
			objects: near(with(service("web", distributed), "b", "c"), zones, nodes),
			asks: `
				a * web:80 -> b sees a
				outside * node-1:30080 -> b sees gateway
			`,
		}, {
			name: "hints of some only", options: plan.Options{Pods: pods()},
			objects: append(near(with(service("web", distributed), "b"), zones, nodes), beside(endpointsOf("web", "c"))...),
			asks:    `a * web:80 -> b sees a | c sees a`,
		}, {
			name: "hints for others", options: plan.Options{Pods: pods()},
			objects: near(with(service("web", distributed), "b", "c"), nil, map[string][]string{"node-1": {"node-3"}, "node-2": {"node-2"}}),
			asks:    `a * web:80 -> b sees a | c sees a`,
		},
	}
}

// beside gives slices other names.
func beside(objects []cluster.Object) []cluster.Object {
	for _, o := range objects {
		o.(*cluster.Slice).Name += "-2"
	}
	return objects
}

func TestPortsAreJoinedByName(t *testing.T) {
	l := theLab(t)
	for _, p := range protocols("*") {
		stop, err := l.C.Serve(p, 9090)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	l.tellAll(t, joinedStories())
}

// joinedStories need somebody on c who serves port 9090.
func joinedStories() []story {
	objects := with(service("web", nil), "b")
	for _, o := range beside(endpointsOf("web", "c")) {
		slice := o.(*cluster.Slice)
		for i := range slice.Ports {
			slice.Ports[i].Number = 9090
		}
		objects = append(objects, slice)
	}
	return []story{{
		name: "one name, two numbers", options: plan.Options{Pods: pods()}, objects: objects,
		asks: `a * web:80 -> b sees a | c sees a`,
	}}
}

func TestWhatIsNotOurs(t *testing.T) {
	l := theLab(t)
	l.tell(t, story{
		name: "another proxy's Service", options: plan.Options{Pods: pods()},
		objects: with(service("web", func(s *cluster.Service) { s.Routing.OtherProxy = true }), "b"),
		asks:    `a * web:80 -> silent`,
	})
	t.Run("the label comes and goes", func(t *testing.T) {
		r := l.router(t, plan.Options{Pods: pods()})
		if err := r.Set(append(with(service("web", nil), "b"), world()...)...); err != nil {
			t.Fatal(err)
		}
		l.check(t, "a * web:80 -> b sees a")
		if err := r.Set(service("web", func(s *cluster.Service) { s.Routing.OtherProxy = true })); err != nil {
			t.Fatal(err)
		}
		l.forgetFlows(t) // this is about new clients, which may come by the ports of old ones
		l.check(t, "a * web:80 -> silent")
		if err := r.Set(service("web", nil)); err != nil {
			t.Fatal(err)
		}
		l.forgetFlows(t)
		l.check(t, "a * web:80 -> b sees a")
	})
	l.tell(t, story{
		name: "externalTrafficPolicy of what is not external", options: plan.Options{Pods: pods()},
		objects: with(service("web", func(s *cluster.Service) { s.Routing.ExternalLocal = true }), "b", "c"),
		asks:    `outside * web:80 -> b sees gateway | c sees node-1`,
	})
}

// What others translate is none of our business, even where we would reject it.
func TestOthersTranslationsComeFirst(t *testing.T) {
	l := theLab(t)
	for _, family := range []string{"ip", "ip6"} {
		to := map[string]string{"ip": "10.244.1.20:8080", "ip6": "[fd00:244:1::20]:8080"}[family]
		l.Node1.nft(t, "add table "+family+" portmap; add chain "+family+" portmap in { type nat hook prerouting priority dstnat; }; "+
			"add rule "+family+" portmap in tcp dport 30080 dnat to "+to)
	}
	l.tell(t, story{
		name: "a port of the host", options: plan.Options{Pods: pods()},
		objects: with(service("web", everywhere)),
		asks: `
			outside tcp node-1:30080 -> b sees outside
			outside udp node-1:30080 -> refused
		`,
	})
}

func TestHairpinsOfAllKinds(t *testing.T) { theLab(t).tellAll(t, hairpinStories()) }

func hairpinStories() []story {
	asks := `
		b * web:80 -> b sees gateway
		b * external:80 -> b sees gateway
		b * balancer:80 -> b sees gateway
		b * node-1:30080 -> b sees gateway
	`
	return []story{
		{name: "hairpins, externalTrafficPolicy Cluster", options: plan.Options{Pods: pods()}, objects: with(service("web", everywhere), "b"), asks: asks},
		{name: "hairpins, externalTrafficPolicy Local", options: plan.Options{Pods: pods()}, objects: with(service("web", externalLocal), "b"), asks: asks},
		{
			name: "hairpins, session affinity", options: plan.Options{Pods: pods()}, asks: asks,
			objects: with(service("web", func(s *cluster.Service) { everywhere(s); s.Routing.AffinitySeconds = 60 }), "b"),
		},
	}
}

// Addresses that are dangerous to route to, or from, are not.
func TestTrapsAreRefused(t *testing.T) {
	l := theLab(t)
	trap := func(with func(*cluster.Service)) *cluster.Service { return service("api", with) }
	l.tell(t, story{
		name: "an external IP that is another's ClusterIP, or the node's", options: plan.Options{Pods: pods()},
		objects: append(with(service("web", nil), "b"), with(trap(func(s *cluster.Service) {
			s.Routing.ExternalIPs = append(both("web"), both("node-1")...)
			for i := range s.Ports {
				s.Ports[i].Number = 8080
			}
		}), "c")...),
		asks: `
			a * web:80 -> b sees a
			a * web:8080 -> refused
			outside * node-1:8080 -> node-1 sees outside
		`,
	})
	objects := with(service("web", nil), "b")
	for i, address := range []string{"127.0.0.1", "fe80::1"} {
		objects[1+i].(*cluster.Slice).Endpoints[0].Address = netip.MustParseAddr(address)
	}
	l.tell(t, story{
		name: "an endpoint that is the node's loopback", options: plan.Options{Pods: pods()}, objects: objects,
		asks: `a * web:80 -> refused`,
	})
	for _, key := range []string{"all", "default", "eth0", "cni0"} {
		err := l.Node1.Do(func() error {
			value, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + key + "/route_localnet")
			if err == nil && strings.TrimSpace(string(value)) != "0" {
				err = errors.New(key + ": route_localnet is " + string(value))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// change gives a link another address, or takes it away.
func (s *Space) change(t *testing.T, link, text string, how func(netlink.Link, *netlink.Addr) error) {
	t.Helper()
	err := s.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		return how(l, address)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An address counts from when the node has it.
func TestNodeAddressesComeAndGo(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(append(with(service("web", everywhere), "b"), world()...)...); err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("192.168.10.77:30080")
	l.Node1.change(t, "eth0", "192.168.10.77/24", netlink.AddrAdd)
	if got := l.Outside.Ask(cluster.TCP, to, Patience); got != "b sees 10.244.1.1" {
		t.Errorf("a new address: got %q", got)
	}
	l.Node1.change(t, "eth0", "192.168.10.77/24", netlink.AddrDel)
	if got := l.Outside.Ask(cluster.TCP, to, Silence); strings.Contains(got, "sees") {
		t.Errorf("an address that is gone: got %q", got)
	}
}

// Where the balancer's address is one of the node's, what the node sends there comes from that address. It may where the node may.
func TestSourceRangesOfTheNode(t *testing.T) {
	l := theLab(t)
	l.Node1.change(t, "lo", "203.0.113.20/32", netlink.AddrAdd)
	to := netip.MustParseAddrPort("203.0.113.20:80")
	for _, c := range []struct{ source, want string }{
		{"192.168.10.0/24", "b sees 10.244.1.1"}, {"198.51.100.0/24", "silent"},
	} {
		r := l.router(t, plan.Options{Pods: pods()})
		err := r.Set(append(with(service("web", func(s *cluster.Service) {
			balancer(s)
			s.Routing.SourceRanges = []netip.Prefix{netip.MustParsePrefix(c.source)}
		}), "b"), world()...)...)
		if err != nil {
			t.Fatal(err)
		}
		patience := Patience
		if c.want == "silent" {
			patience = Silence
		}
		if got := l.Node1.Ask(cluster.TCP, to, patience); got != c.want {
			t.Errorf("allowed from %s: got %q, want %q", c.source, got, c.want)
		}
		if _, err := r.Kernel.RemoveOwn(); err != nil {
			t.Fatal(err)
		}
	}
}

// The node may have addresses of Services itself, as a cache of DNS on it does. What it listens on there is reached, as behind
// kube-proxy, from elsewhere than the node, and ports of Services are theirs.
func TestAddressesOfServicesThatTheNodeHas(t *testing.T) {
	l := theLab(t)
	for _, name := range []string{"web", "nobody"} {
		l.Node1.change(t, "lo", address(name, 0).String()+"/32", netlink.AddrAdd)
		l.Node1.change(t, "lo", address(name, 1).String()+"/128", netlink.AddrAdd)
		t.Cleanup(func() {
			l.Node1.change(t, "lo", address(name, 0).String()+"/32", netlink.AddrDel)
			l.Node1.change(t, "lo", address(name, 1).String()+"/128", netlink.AddrDel)
		})
	}
	for _, primary := range []bool{true, false} {
		l.tell(t, story{
			name:    map[bool]string{true: "NodePorts on the primary addresses", false: "NodePorts on all addresses"}[primary],
			options: plan.Options{Pods: pods(), NodePortsPrimary: primary},
			objects: append(with(service("web", nodePorts), "b"), with(service("api", nil))...),
			asks: `
				a * web:80 -> b sees a
				a tcp web:8080 -> node-1 sees a
				a tcp nobody:8080 -> node-1 sees a
				outside tcp web:8080 -> node-1 sees outside
				outside tcp nobody:8080 -> node-1 sees outside
				node-1 tcp web:8080 -> refused
				node-1 tcp nobody:8080 -> silent
				a tcp api:80 -> refused
				a tcp api:8080 -> refused
			`,
		})
	}
}

// Ranges of Services are known as soon as they are.
func TestServiceRangesComeAndGo(t *testing.T) {
	l := theLab(t)
	l.Outside.change(t, "lo", "10.100.0.1/32", netlink.AddrAdd)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(&cluster.Node{Name: "node-1", Addresses: both("node-1")}); err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("10.100.0.1:8080")
	all := &cluster.Range{Name: "kubernetes", Prefixes: serviceRanges}
	for _, c := range []struct {
		change func() error
		want   string
	}{
		{func() error { return nil }, "outside sees 10.244.1.10"},
		{func() error { return r.Set(all) }, "silent"},
		{func() error { return r.Delete(all) }, "outside sees 10.244.1.10"},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		patience := Patience
		if c.want == "silent" {
			patience = Silence
		}
		if got := l.A.Ask(cluster.TCP, to, patience); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Two nodes route the same Service, each as it stands to it.
func TestTwoNodes(t *testing.T) {
	l := theLab(t)
	objects := append(with(service("web", externalLocal), "b", "c"), world()...)
	for _, node := range []*Space{l.Node1, l.Node2} {
		r, err := NewRouter(node, plan.Options{Pods: pods()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if err := r.Set(objects...); err != nil {
			t.Fatal(err)
		}
	}
	l.check(t, `
		a * web:80 -> b sees a | c sees a
		d * web:80 -> b sees d | c sees d
		outside * node-1:30080 -> b sees outside
		outside * node-2:30080 -> c sees outside
		d * balancer:80 -> b sees d | c sees d
	`)
}
