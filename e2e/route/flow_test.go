package route

import (
	"net/netip"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// externalIPs, balancer and the like set up a Service.
func externalIPs(s *cluster.Service) { s.Routing.ExternalIPs = both("external") }

func balancer(s *cluster.Service) {
	s.Routing.LoadBalancer, s.Routing.LoadBalancerIPs = true, both("balancer")
}

func everywhere(s *cluster.Service) { nodePorts(s); externalIPs(s); balancer(s) }

func externalLocal(s *cluster.Service) { everywhere(s); s.Routing.ExternalLocal = true }

func internalLocal(s *cluster.Service) { everywhere(s); s.Routing.InternalLocal = true }

func TestClusterIP(t *testing.T) { theLab(t).tellAll(t, clusterIPStories()) }

func clusterIPStories() []story {
	return []story{
		{
			name:    "Pods keep their address, others are masqueraded",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "b", "c"),
			asks: `
				a * web:80 -> b sees a | c sees a
				node-1 * web:80 -> b sees gateway | c sees node-1
				outside * web:80 -> b sees gateway | c sees node-1
			`,
		}, {
			name:    "without a way to tell Pods, nobody is masqueraded",
			objects: with(service("web", nil), "b"),
			asks: `
				a * web:80 -> b sees a
				outside * web:80 -> b sees outside
			`,
		}, {
			name:    "Pods told by their bridge",
			options: plan.Options{Pods: proxy.Detector{Interface: "cni0"}},
			objects: with(service("web", nil), "b"),
			asks: `
				a * web:80 -> b sees a
				outside * web:80 -> b sees gateway
				node-1 * web:80 -> b sees gateway
			`,
		}, {
			name:    "Pods told by their interface's prefix",
			options: plan.Options{Pods: proxy.Detector{InterfacePrefix: "cni"}},
			objects: with(service("web", nil), "b"),
			asks: `
				a * web:80 -> b sees a
				outside * web:80 -> b sees gateway
			`,
		}, {
			name:    "masqueradeAll",
			options: plan.Options{Pods: pods(), MasqueradeAll: true},
			objects: with(service("web", nil), "b", "c"),
			asks:    `a * web:80 -> b sees gateway | c sees node-1`,
		}, {
			name:    "a Pod that reaches itself comes from the node",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "b"),
			asks: `
				b * web:80 -> b sees gateway
				a * web:80 -> b sees a
			`,
		}, {
			name:    "an endpoint in the node's own network",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "node-1"),
			asks: `
				a * web:80 -> node-1 sees a
				node-1 tcp web:80 -> node-1 sees node-1
				node-1 sctp web:80 -> node-1 sees node-1
			`,
		}, {
			name:    "other ports and other addresses",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "b"),
			asks: `
				a * web:81 -> refused
				node-1 * web:81 -> refused
				outside * web:81 -> refused
				a * nobody:80 -> silent
				node-1 * nobody:80 -> silent
				outside * nobody:80 -> silent
			`,
		}, {
			name:    "nobody serves it",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", everywhere)),
			asks: `
				a * web:80 -> refused
				node-1 * web:80 -> refused
				outside * web:80 -> refused
				outside * external:80 -> refused
				outside * balancer:80 -> refused
				outside * node-1:30080 -> refused
				a * node-1:30080 -> refused
				node-1 * external:80 -> refused
			`,
		}, {
			name:    "endpoints that are not ready do not count",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "b/unready", "c"),
			asks:    `a * web:80 -> c sees a`,
		}, {
			name:    "where all are terminating, those that serve go on",
			options: plan.Options{Pods: pods()},
			objects: with(service("web", nil), "b/terminating"),
			asks:    `a * web:80 -> b sees a`,
		},
	}
}

func TestEachProtocolIsAPortOfItsOwn(t *testing.T) {
	l := theLab(t)
	web := service("web", nil)
	objects := []cluster.Object{web}
	for _, p := range protocols("*") {
		pod := map[cluster.Protocol]string{cluster.TCP: "b", cluster.UDP: "c", cluster.SCTP: "node-2"}[p]
		for family, suffix := range [2]string{"-four", "-six"} {
			objects = append(objects, &cluster.Slice{
				Namespace: "prod", Name: p.String() + suffix, Service: "web",
				Ports:     []cluster.Port{{Name: p.String(), Protocol: p, Number: 8080}},
				Endpoints: []cluster.Endpoint{endpoint(pod, family)},
			})
		}
	}
	l.tell(t, story{
		name: "three protocols", options: plan.Options{Pods: pods()}, objects: objects,
		asks: `
			a tcp web:80 -> b sees a
			a udp web:80 -> c sees a
			a sctp web:80 -> node-2 sees a
		`,
	})
}

func TestInternalTrafficPolicyLocal(t *testing.T) { theLab(t).tellAll(t, internalLocalStories()) }

func internalLocalStories() []story {
	return []story{
		{
			name: "an endpoint here", options: plan.Options{Pods: pods()},
			objects: with(service("web", internalLocal), "b", "c"),
			asks: `
				a * web:80 -> b sees a
				outside * web:80 -> b sees gateway
				outside * external:80 -> b sees gateway | c sees node-1
			`,
		},
		{
			name: "none here", options: plan.Options{Pods: pods()},
			objects: with(service("web", internalLocal), "c"),
			asks: `
				a * web:80 -> silent
				node-1 * web:80 -> silent
				outside * external:80 -> c sees node-1
			`,
		},
	}
}

func TestExternalAddresses(t *testing.T) { theLab(t).tellAll(t, externalStories()) }

func externalStories() []story {
	return []story{
		{
			name: "externalTrafficPolicy Cluster", options: plan.Options{Pods: pods()},
			objects: with(service("web", everywhere), "b", "c"),
			asks: `
				outside * node-1:30080 -> b sees gateway | c sees node-1
				outside * external:80 -> b sees gateway | c sees node-1
				outside * balancer:80 -> b sees gateway | c sees node-1
				a * node-1:30080 -> b sees gateway | c sees node-1
				a * balancer:80 -> b sees gateway | c sees node-1
				node-1 * node-1:30080 -> b sees gateway | c sees node-1
				node-1 * external:80 -> b sees gateway | c sees node-1
				d * node-1:30080 -> b sees gateway | c sees node-1
			`,
		},
		{
			name: "externalTrafficPolicy Local", options: plan.Options{Pods: pods()},
			objects: with(service("web", externalLocal), "b", "c"),
			asks: `
				outside * node-1:30080 -> b sees outside
				outside * external:80 -> b sees outside
				outside * balancer:80 -> b sees outside
				a * balancer:80 -> b sees a | c sees a
				a * node-1:30080 -> b sees a | c sees a
				node-1 * balancer:80 -> b sees gateway | c sees node-1
				node-1 * node-1:30080 -> b sees gateway | c sees node-1
				a * web:80 -> b sees a | c sees a
			`,
		},
		{
			name: "externalTrafficPolicy Local, no endpoint here", options: plan.Options{Pods: pods()},
			objects: with(service("web", externalLocal), "c"),
			asks: `
				outside * node-1:30080 -> silent
				outside * balancer:80 -> silent
				a * balancer:80 -> c sees a
				node-1 * balancer:80 -> c sees node-1
			`,
		},
		{
			name: "externalTrafficPolicy Local, a terminating endpoint here", options: plan.Options{Pods: pods()},
			objects: with(service("web", externalLocal), "b/terminating", "c"),
			asks: `
				outside * node-1:30080 -> b sees outside
				a * balancer:80 -> c sees a
			`,
		},
		{
			name:    "externalTrafficPolicy Local, nobody is told to be a Pod",
			objects: with(service("web", externalLocal), "b", "c"),
			asks:    `a * balancer:80 -> b sees a`,
		},
		{
			name: "without external IPs", options: plan.Options{Pods: pods(), NoExternalIPs: true},
			objects: with(service("web", everywhere), "b"),
			asks: `
				outside * external:80 -> silent
				outside * balancer:80 -> b sees gateway
			`,
		},
	}
}

func TestNodePortAddresses(t *testing.T) {
	l := theLab(t)
	objects := func() []cluster.Object { return with(service("web", everywhere), "b") }
	l.tell(t, story{
		name: "all of the node's", options: plan.Options{Pods: pods()}, objects: objects(),
		asks: `
			a * node-1:30080 -> b sees gateway
			a * gateway:30080 -> b sees gateway
			node-1 tcp localhost:30080 -> refused
			node-1 udp localhost:30080 -> refused
		`,
	})
	l.tell(t, story{
		name: "the primary ones", options: plan.Options{Pods: pods(), NodePortsPrimary: true}, objects: objects(),
		asks: `
			a * node-1:30080 -> b sees gateway
			a tcp gateway:30080 -> refused
			a udp gateway:30080 -> refused
		`,
	})
	l.tell(t, story{
		name: "some ranges", objects: objects(),
		options: plan.Options{Pods: pods(), NodePorts: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:244:1::/64")}},
		asks: `
			a * gateway:30080 -> b sees gateway
			a tcp node-1:30080 -> refused
		`,
	})
	for _, p := range protocols("*") {
		stop, err := l.Outside.Serve(p, 30080)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	l.tell(t, story{
		name: "the same port of somebody else is not ours", options: plan.Options{Pods: pods()}, objects: objects(),
		asks: `a * outside:30080 -> outside sees a`,
	})
}

func TestSourceRanges(t *testing.T) { theLab(t).tellAll(t, sourceRangeStories()) }

func sourceRangeStories() []story {
	ranged := func(ranges ...string) func(*cluster.Service) {
		return func(s *cluster.Service) {
			everywhere(s)
			for _, r := range ranges {
				s.Routing.SourceRanges = append(s.Routing.SourceRanges, netip.MustParsePrefix(r))
			}
		}
	}
	return []story{
		{
			name: "of the balancer only", options: plan.Options{Pods: pods()},
			objects: with(service("web", ranged("192.168.10.100/32", "198.51.100.0/24", "fd00:10::100/128")), "b"),
			asks: `
				outside * balancer:80 -> b sees gateway
				a * balancer:80 -> silent
				node-1 * balancer:80 -> silent
				a * web:80 -> b sees a
				a * external:80 -> b sees gateway
				a * node-1:30080 -> b sees gateway
			`,
		},
		{
			name: "also where nobody serves it", options: plan.Options{Pods: pods()},
			objects: with(service("web", ranged("192.168.10.100/32", "fd00:10::100/128"))),
			asks: `
				outside * balancer:80 -> refused
				a * balancer:80 -> silent
			`,
		},
		{
			name: "with externalTrafficPolicy Local", options: plan.Options{Pods: pods()},
			objects: with(service("web", func(s *cluster.Service) {
				ranged("192.168.10.0/24", "fd00:10::/64")(s)
				s.Routing.ExternalLocal = true
			}), "b", "c"),
			asks: `
				outside * balancer:80 -> b sees outside
				a * balancer:80 -> silent
				node-1 * balancer:80 -> b sees gateway | c sees node-1
			`,
		},
		{
			name: "everybody", options: plan.Options{Pods: pods()},
			objects: with(service("web", ranged("0.0.0.0/0", "::/0")), "b"),
			asks:    `a * balancer:80 -> b sees gateway`,
		},
	}
}
