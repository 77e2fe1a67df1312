package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

func prefixes(text ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range text {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestNodePortAddresses(t *testing.T) {
	node := "node a 192.0.2.10 2001:db8::10 192.0.2.11"
	for _, c := range []struct {
		name string
		o    plan.Options
		node string
		want []netip.Prefix
	}{
		{"unset is all", plan.Options{}, node, prefixes("0.0.0.0/0", "::/0")},
		{"a family without a range of its own is all", plan.Options{NodePorts: prefixes("192.0.2.0/24")}, node, prefixes("192.0.2.0/24", "::/0")},
		{"ranges", plan.Options{NodePorts: prefixes("192.0.2.0/24", "fd00::/8", "10.0.0.0/8")}, node, prefixes("192.0.2.0/24", "10.0.0.0/8", "fd00::/8")},
		{"primary is the first of each family", plan.Options{NodePortsPrimary: true}, node, prefixes("192.0.2.10/32", "2001:db8::10/128")},
		{"primary, of one family", plan.Options{NodePortsPrimary: true}, "node a 192.0.2.10", prefixes("192.0.2.10/32")},
		{"primary, as the configuration says", plan.Options{NodePortsPrimary: true, NodeIP: netip.MustParseAddr("192.0.2.77")}, node, prefixes("192.0.2.77/32", "2001:db8::10/128")},
		{"primary, while nothing is known", plan.Options{NodePortsPrimary: true}, "node b 192.0.2.10", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.NodeName = "a"
			w := newWorld(t, c.o)
			if w.tell(c.node); !slices.Equal(w.kernel.node.NodePorts, c.want) {
				t.Errorf("NodePorts are open on %v, want %v", w.kernel.node.NodePorts, c.want)
			}
		})
	}
}

func TestNodeChangesAtOnce(t *testing.T) {
	w := newWorld(t, plan.Options{NodeName: "a", PodsOfNode: true, NodePortsPrimary: true})
	w.tell("service prod/web 10.96.0.1 port=http:80/tcp")
	for _, step := range []struct{ tell, want string }{
		{"node a", "pods [] node ports [] ranges []"},
		{"node a 192.0.2.1 10.1.0.0/24", "pods [10.1.0.0/24] node ports [192.0.2.1/32] ranges []"},
		{"node a 192.0.2.2 10.2.0.0/24 10.3.0.0/24 fd01::/64", "pods [10.2.0.0/24 fd01::/64] node ports [192.0.2.2/32] ranges []"},
		{"range kubernetes 10.96.0.0/12 fd00::/112", "pods [10.2.0.0/24 fd01::/64] node ports [192.0.2.2/32] ranges [10.96.0.0/12 fd00::/112]"},
		{"range more 10.112.0.0/16 10.96.0.0/12", "pods [10.2.0.0/24 fd01::/64] node ports [192.0.2.2/32] ranges [10.96.0.0/12 10.112.0.0/16 fd00::/112]"},
		{"- range kubernetes\n- node a", "pods [10.2.0.0/24 fd01::/64] node ports [192.0.2.2/32] ranges [10.96.0.0/12 10.112.0.0/16]"},
		{"node a 192.0.2.3", "pods [] node ports [192.0.2.3/32] ranges [10.96.0.0/12 10.112.0.0/16]"},
	} {
		w.tell(step.tell)
		n := w.kernel.node
		if got := fmt.Sprintf("pods %v node ports %v ranges %v", n.Pods.Prefixes, n.NodePorts, n.ServiceRanges); got != step.want {
			t.Errorf("after %q: %s\nwant: %s", step.tell, got, step.want)
		}
	}
}

func TestZoneChangesAtOnce(t *testing.T) {
	w := newWorld(t, plan.Options{NodeName: "a"})
	w.tell(`
		node a zone=z1
		service prod/web 10.96.0.1 port=http:80/tcp
		slice prod/web-1 web port=http:80/tcp 10.1.0.1,zone=z1 10.1.0.2,zone=z2
	`)
	expect(t, "routes in z1", w.routes(), "10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80")
	w.tell("node a zone=z2")
	expect(t, "routes in z2", w.routes(), "10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:80")
	w.tell("- node a")
	expect(t, "routes of a node that is to be registered anew", w.routes(), "10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:80")
	if w.plan.Node() != nil {
		t.Error("the node is there for /healthz")
	}
	w.tell("node a")
	expect(t, "routes of a node without a zone", w.routes(), "10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:80 10.1.0.1:80")
}

func TestHairpinsAndClusterIPs(t *testing.T) {
	w := newWorld(t, atA)
	state := func() string {
		var lines []string
		for h := range w.kernel.hairpins {
			lines = append(lines, fmt.Sprintf("hairpin %s/%s", h.Endpoint, h.Protocol))
		}
		for a := range w.kernel.clusterIPs {
			lines = append(lines, "ClusterIP "+a.String())
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	w.tell(`
		service prod/web 10.96.0.1 fd00::1 port=http:80/tcp
		slice prod/web-1 web port=http:8080/tcp 10.1.0.1@a 10.1.0.2@b 10.1.0.3@a,unready
		service prod/same 10.96.0.2 port=http:80/tcp port=dns:53/udp
		slice prod/same-1 same port=http:8080/tcp port=dns:53/udp 10.1.0.1@a
		service prod/headless headless port=http:80/tcp
	`)
	expect(t, "at first", state(), `
		ClusterIP 10.96.0.1
		ClusterIP 10.96.0.2
		ClusterIP fd00::1
		hairpin 10.1.0.1:53/udp
		hairpin 10.1.0.1:8080/tcp
	`)
	w.tell("- service prod/web 10.96.0.1")
	expect(t, "with one Service less", state(), `
		ClusterIP 10.96.0.2
		hairpin 10.1.0.1:53/udp
		hairpin 10.1.0.1:8080/tcp
	`)
	w.tell("slice prod/same-1 same port=http:8080/tcp port=dns:53/udp 10.1.0.1@b 10.1.0.4@a")
	expect(t, "after a move", state(), `
		ClusterIP 10.96.0.2
		hairpin 10.1.0.4:53/udp
		hairpin 10.1.0.4:8080/tcp
	`)
	w.tell(`
		service prod/same 10.96.0.2 port=http:80/tcp external-local
		slice prod/same-1 same port=http:8080/tcp 10.1.0.1@b 10.1.0.4@a,leaving
	`)
	expect(t, "of an endpoint that no route leads to", state(), "ClusterIP 10.96.0.2")
	w.tell("- service prod/same 10.96.0.2")
	expect(t, "at last", state(), "")
}

func TestHealthChecks(t *testing.T) {
	w := newWorld(t, atA)
	for _, step := range []struct {
		tell string
		want proxy.HealthCheck
	}{
		{"service prod/web 10.96.0.1 port=http:80/tcp port=admin:81/tcp health=31000 external-local", proxy.HealthCheck{Port: 31000}},
		{"slice prod/web-1 web port=http:80/tcp port=admin:81/tcp 10.1.0.1@a 10.1.0.2@a,unready 10.1.0.3@b", proxy.HealthCheck{Port: 31000, Local: 1}},
		{"slice prod/web-2 web port=http:80/tcp 10.1.0.1@a 10.1.0.4@a", proxy.HealthCheck{Port: 31000, Local: 2}},
		{"slice prod/web-3 web port=http:80/tcp fd01::1@a fd01::2@a fd01::3@a", proxy.HealthCheck{Port: 31000, Local: 3}},
		{"- slice prod/web-3 web\nslice prod/web-2 web port=http:80/tcp 10.1.0.4@a,leaving", proxy.HealthCheck{Port: 31000, Local: 1}},
		{"service prod/web 10.96.0.1 port=http:80/tcp health=31001 external-local", proxy.HealthCheck{Port: 31001, Local: 1}},
		{"service prod/web 10.96.0.1 port=http:80/tcp health=31001", proxy.HealthCheck{}},
		{"service prod/web 10.96.0.1 port=http:80/tcp health=31001 external-local", proxy.HealthCheck{Port: 31001, Local: 1}},
		{"- service prod/web 10.96.0.1", proxy.HealthCheck{}},
	} {
		key := cluster.Key{Namespace: "prod", Name: "web"}
		if step.want.Port != 0 {
			step.want.Service = key
		}
		if w.tell(step.tell); w.kernel.health[key] != step.want {
			t.Errorf("after %q: %+v, want %+v", step.tell, w.kernel.health[key], step.want)
		}
	}
}

func TestTriggered(t *testing.T) {
	w := newWorld(t, plan.Options{NodeName: "a", Started: time.Unix(0, 100)})
	for _, step := range []struct {
		tell string
		want []proxy.Trigger
	}{
		{"slice prod/web-1 web triggered=99 10.1.0.1", nil}, // before the process was there to answer
		{"slice prod/web-1 web triggered=101 10.1.0.1\nslice prod/web-2 web triggered=102 10.1.0.1", []proxy.Trigger{{Family: "IPv4", At: 101}, {Family: "IPv4", At: 102}}},
		{"slice prod/web-1 web triggered=101 10.1.0.2", []proxy.Trigger{{Family: "IPv4", At: 101}}}, // times are whole seconds, in which there may be two changes
		{"slice prod/web-1 web 10.1.0.2", nil},
		{"slice prod/web-6 web triggered=103 fd00::1", []proxy.Trigger{{Family: "IPv6", At: 103}}},
		{"slice prod/web-6 web triggered=104", []proxy.Trigger{{Family: "IPv6", At: 104}}}, // the last endpoint has gone
		{"slice prod/web-6 web triggered=105", nil},
		{"slice prod/web-2 web triggered=106 10.1.0.1 headless", nil},
		{"slice prod/web-3 web triggered=107 fqdn=example.org", nil},
	} {
		if c := w.tell(step.tell); !slices.Equal(c.Triggered, step.want) {
			t.Errorf("after %q: %v, want %v", step.tell, c.Triggered, step.want)
		}
	}
}

func TestNothingBeforeAllIsKnown(t *testing.T) {
	p := plan.New(atA)
	objects, _ := parse(t, "service prod/web 10.96.0.1 port=http:80/tcp")
	p.Apply([]cluster.Change{{New: objects[0]}})
	for _, kind := range []cluster.Kind{cluster.KindService, cluster.KindSlice, cluster.KindNode} {
		if c := p.Take(); c != nil || p.Ready() {
			t.Fatalf("before the %s are known: %+v", kind, c)
		}
		p.Synced(kind)
	}
	if c := p.Take(); c == nil || len(c.Routes) != 1 || c.Node == nil {
		t.Errorf("then: %+v", c)
	}
}

func TestWantedBeginsWithDNS(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		service a/a 10.96.0.1 port=http:80/tcp
		service kube-system/dns 10.96.0.10 port=dns:53/udp port=metrics:9153/tcp
		service b/b 10.96.0.2 port=http:80/tcp
	`)
	var got []string
	for _, r := range w.plan.Wanted().Routes {
		got = append(got, r.String())
	}
	expect(t, "wanted", strings.Join(got, "\n"), `
		10.96.0.10:53/udp kube-system/dns:dns reject
		10.96.0.10:9153/tcp kube-system/dns:metrics reject
		10.96.0.1:80/tcp a/a:http reject
		10.96.0.2:80/tcp b/b:http reject
	`)
}
