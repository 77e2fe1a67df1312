package route

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// What one Service asks for is another's, or a Pod's, or nobody's yet.
func TestTrapsOfExternalAddresses(t *testing.T) {
	l := theLab(t)
	asking := func(name string, created int64, address ...string) *cluster.Service {
		return service(name, func(s *cluster.Service) {
			s.Routing.Created = created
			for _, a := range address {
				s.Routing.ExternalIPs = append(s.Routing.ExternalIPs, both(a)...)
			}
			for i := range s.Ports {
				s.Ports[i].Number = 8080
			}
		})
	}
	l.tellAll(t, []story{
		{
			name: "the older of two Services has an external IP (CVE-2026-32254)", options: plan.Options{Pods: pods()},
			objects: append(with(asking("api", 2, "external"), "c"), with(asking("web", 1, "external"), "b")...),
			asks:    `outside * external:8080 -> b sees gateway`,
		}, {
			name: "an external IP that is a Pod's (CVE-2020-8554)", options: plan.Options{Pods: pods()},
			objects: with(asking("api", 1, "b"), "c"),
			asks: `
				a * b:8080 -> b sees a
				outside * b:8080 -> b sees outside
			`,
		}, {
			name:    "an external IP that the configuration protects (CVE-2020-8554)",
			options: plan.Options{Pods: pods(), Protected: both("external")},
			objects: with(asking("api", 1, "external"), "c"),
			asks:    `outside * external:8080 -> silent`,
		}, {
			name: "a load balancer that has no address yet (CVE-2021-25736)", options: plan.Options{Pods: pods()},
			objects: with(service("web", func(s *cluster.Service) { nodePorts(s); s.Routing.LoadBalancer = true }), "b"),
			asks: `
				outside * balancer:80 -> silent
				outside tcp node-1:80 -> refused
				outside * node-1:30080 -> b sees gateway
			`,
		},
	})
	for name, at := range map[string][2]string{
		"link-local": {"169.254.169.254", "fe80::1"}, "multicast": {"224.0.0.1", "ff02::1"}, "unspecified": {"0.0.0.0", "::"},
	} {
		objects := with(service("web", nil), "b")
		for i, address := range at {
			objects[1+i].(*cluster.Slice).Endpoints[0].Address = netip.MustParseAddr(address)
		}
		l.tell(t, story{
			name: "an endpoint with an address that is " + name + " (CVE-2021-25737)", options: plan.Options{Pods: pods()}, objects: objects,
			asks: `a * web:80 -> refused`,
		})
	}
}

// A neighbour that sends to addresses of the node's loopback does not reach what listens there (CVE-2020-8558): route_localnet
// stays off, with NodePorts too.
func TestLoopbackIsOutOfReach(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(append(with(service("web", everywhere), "b"), world()...)...); err != nil {
		t.Fatal(err)
	}
	l.Outside.change(t, "lo", "127.0.0.1/8", netlink.AddrDel) // so that the neighbour sends it at all
	if err := l.Outside.Sysctl(map[string]string{"net/ipv4/conf/all/route_localnet": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Outside.Route("127.0.0.1/32", addresses["node-1"][0]); err != nil {
		t.Fatal(err)
	}
	l.check(t, "node-1 tcp localhost:8080 -> node-1 sees localhost")
	for _, port := range []uint16{8080, 30080, 10256} {
		for _, p := range []cluster.Protocol{cluster.TCP, cluster.UDP} {
			if got := l.Outside.Ask(p, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), Silence); got != "silent" {
				t.Errorf("%s of the node's 127.0.0.1:%d is reached from outside: %q", p, port, got)
			}
		}
	}
	l.check(t, "outside tcp node-1:30080 -> b sees gateway")
}

// Pods are recognised by the ranges of the Node they are on, where the configuration says so.
func TestPodsOfTheNode(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{PodsOfNode: true})
	node := &cluster.Node{Name: "node-1", Addresses: both("node-1"), PodCIDRs: []netip.Prefix{
		netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:244:1::/64"),
	}}
	if err := r.Set(append(append(with(service("web", nil), "b"), world()...), node)...); err != nil {
		t.Fatal(err)
	}
	l.check(t, `
		a * web:80 -> b sees a
		outside * web:80 -> b sees gateway
	`)
	// The ranges are others now.
	moved := *node
	moved.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24"), netip.MustParsePrefix("fd00:10::/64")}
	if err := r.Set(&moved); err != nil {
		t.Fatal(err)
	}
	l.forgetFlows(t) // a new client may come by the port of an old one
	l.check(t, `
		a * web:80 -> b sees gateway
		outside * web:80 -> b sees outside
	`)
}
