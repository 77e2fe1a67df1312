package plan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/waypost/waypost/proxy/plan"
)

// refusals are those the kernel was told of, one a line, in their order.
func (w *world) refusals() string {
	var lines []string
	for _, r := range w.kernel.refused {
		lines = append(lines, fmt.Sprintf("%s: %s: %s (%s)", r.Service, r.What, r.Why, r.Reason))
	}
	return strings.Join(lines, "\n")
}

func TestRefusedEndpoints(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		service prod/web 10.96.0.1 fd00::1 port=http:80/tcp
		slice prod/web-1 web port=http:80/tcp 127.0.0.1 169.254.169.254 224.0.0.1 0.0.0.0 255.255.255.255 10.1.0.1
		slice prod/web-2 web port=http:80/tcp ::1 fe80::1 ff02::1 :: fd01::1
	`)
	expect(t, "routes", w.routes(), `
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
		[fd00::1]:80/tcp prod/web:http forward [fd01::1]:80 masquerade foreign
	`)
	expect(t, "refusals", w.refusals(), `
		prod/web: endpoint 127.0.0.1:80 of slice web-1: a loopback address (special_address)
		prod/web: endpoint 169.254.169.254:80 of slice web-1: a link-local address (special_address)
		prod/web: endpoint 224.0.0.1:80 of slice web-1: a multicast address (special_address)
		prod/web: endpoint 0.0.0.0:80 of slice web-1: an unspecified address (special_address)
		prod/web: endpoint 255.255.255.255:80 of slice web-1: the broadcast address (special_address)
		prod/web: endpoint [::1]:80 of slice web-2: a loopback address (special_address)
		prod/web: endpoint [fe80::1]:80 of slice web-2: a link-local address (special_address)
		prod/web: endpoint [ff02::1]:80 of slice web-2: a multicast address (special_address)
		prod/web: endpoint [::]:80 of slice web-2: an unspecified address (special_address)
	`)
}

func TestRefusedExternalIPs(t *testing.T) {
	o := atA
	o.Protected = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	evil := `
		service evil/web 10.96.0.66 port=dns:53/udp external=10.96.0.10 external=192.0.2.10 external=192.0.2.53 external=127.0.0.1 external=169.254.20.10 external=10.111.0.1 external=10.1.0.1 lb=10.96.0.10
		slice evil/web-1 web port=dns:53/udp 10.1.6.6
	`
	w := newWorld(t, o)
	w.tell(`
		range kubernetes 10.96.0.0/12
		node a 192.0.2.10
		service kube-system/dns 10.96.0.10 port=dns:53/udp
		slice kube-system/dns-1 dns port=dns:53/udp 10.1.0.1
	` + evil)
	expect(t, "routes", w.routes(), `
		10.96.0.10:53/udp kube-system/dns:dns forward 10.1.0.1:53 masquerade foreign
		10.96.0.66:53/udp evil/web:dns forward 10.1.6.6:53 masquerade foreign
	`)
	expect(t, "refusals", w.refusals(), `
		evil/web: load balancer IP 10.96.0.10: it is a ClusterIP (cluster_ip)
		evil/web: external IP 10.96.0.10: it is a ClusterIP (cluster_ip)
		evil/web: external IP 192.0.2.10: it is the address of a node (node_address)
		evil/web: external IP 192.0.2.53: the configuration protects it (protected_address)
		evil/web: external IP 127.0.0.1: a loopback address (special_address)
		evil/web: external IP 169.254.20.10: a link-local address (special_address)
		evil/web: external IP 10.111.0.1: it is in a range of ClusterIPs (cluster_ip)
		evil/web: external IP 10.1.0.1: it is in a range of Pods (pod_address)
	`)

	w.kernel.refused = nil
	w.tell("node b 192.0.2.11\nservice evil/other 10.96.0.67 port=dns:53/udp external=192.0.2.11")
	expect(t, "refusals", w.refusals(), "evil/other: external IP 192.0.2.11: it is the address of a node (node_address)")

	w.kernel.refused = nil
	w.tell("slice evil/web-1 web port=dns:53/udp 10.1.6.7")
	expect(t, "refusals that were told already", w.refusals(), "")
}

// The ranges of Pods come and go with the Node, where they are its own.
func TestExternalIPsAmongPods(t *testing.T) {
	w := newWorld(t, plan.Options{NodeName: "a", PodsOfNode: true})
	w.tell(`
		node a 192.0.2.10
		service prod/web 10.96.0.1 port=http:80/tcp external=10.5.0.1
		slice prod/web-1 web port=http:80/tcp 10.9.0.1
	`)
	outside := "10.5.0.1:80/tcp prod/web:http forward 10.9.0.1:80 masquerade always\n\t\t"
	expect(t, "routes", w.routes(), outside+"10.96.0.1:80/tcp prod/web:http forward 10.9.0.1:80")
	w.tell("node a 192.0.2.10 10.5.0.0/16")
	expect(t, "routes once Pods are there", w.routes(), "10.96.0.1:80/tcp prod/web:http forward 10.9.0.1:80 masquerade foreign")
	w.tell("node a 192.0.2.10 10.6.0.0/16")
	expect(t, "routes once Pods are elsewhere", w.routes(), outside+"10.96.0.1:80/tcp prod/web:http forward 10.9.0.1:80 masquerade foreign")
}

func TestRefusalsFollowTheCluster(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		service prod/web 10.96.0.1 port=http:80/tcp external=10.96.0.10 external=192.0.2.10
		slice prod/web-1 web port=http:80/tcp 10.1.0.1
	`)
	all := w.routes()
	expect(t, "routes", all, `
		10.96.0.10:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
		192.0.2.10:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
	`)
	for _, step := range []struct{ tell, lost, untell string }{
		{"service kube-system/dns 10.96.0.10 port=dns:53/udp", "10.96.0.10:80/tcp", "- service kube-system/dns 10.96.0.10"},
		{"range kubernetes 10.96.0.8/29", "10.96.0.10:80/tcp", "- range kubernetes"},
		{"node b 192.0.2.10", "192.0.2.10:80/tcp", "- node b"},
		{"node a 192.0.2.10", "192.0.2.10:80/tcp", "node a 192.0.2.11"},
	} {
		w.tell(step.tell)
		if routes := w.routes(); strings.Contains(routes, step.lost) {
			t.Errorf("after %q there is still:\n%s", step.tell, routes)
		}
		w.tell(step.untell)
		expect(t, "routes after "+step.untell, w.routes(), all)
	}

	o := atA
	o.AllowNodeAddresses = true
	w = newWorld(t, o)
	w.tell(`
		node a 192.0.2.10
		service prod/web 10.96.0.1 port=http:80/tcp external=192.0.2.10
	`)
	expect(t, "routes", w.routes(), `
		10.96.0.1:80/tcp prod/web:http reject
		192.0.2.10:80/tcp prod/web:http reject
	`)
}

// Load balancers that run in the cluster, as k3s has one, have the addresses of nodes.
func TestLoadBalancersMayHaveNodesAddresses(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		node a 192.0.2.10
		node b 192.0.2.11
		service prod/web 10.96.0.1 port=http:80/tcp lb=192.0.2.10 lb=192.0.2.11 external=192.0.2.11
		slice prod/web-1 web port=http:80/tcp 10.1.0.1
	`)
	expect(t, "routes", w.routes(), `
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
		192.0.2.10:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
		192.0.2.11:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
	`)
	expect(t, "refusals", w.refusals(), "prod/web: external IP 192.0.2.11: it is the address of a node (node_address)")
}

func TestManyRefusalsAreBounded(t *testing.T) {
	w := newWorld(t, atA)
	bad := strings.Repeat(" 127.0.0.1", 1000)
	for i := range 1000 {
		bad += fmt.Sprintf(" 127.0.%d.%d", i/250, 2+i%250)
	}
	w.tell("service prod/web 10.96.0.1 port=http:80/tcp\nslice prod/web-1 web port=http:80/tcp" + bad)
	if n := len(w.kernel.refused); n != 17 || w.kernel.refused[16].What != "more of the kind" {
		t.Errorf("%d refusals, the last %+v", n, w.kernel.refused[n-1])
	}
}

func TestWhoHasAFrontend(t *testing.T) {
	w := newWorld(t, plan.Options{NodeName: "a"})
	web := func(name, more string) string {
		return fmt.Sprintf("service prod/%s 10.96.0.%s port=http:80/tcp%s\n", name, name, more)
	}
	frontend := func() string {
		for _, line := range strings.Split(w.routes(), "\n") {
			if strings.HasPrefix(line, "192.0.2.1:80/tcp ") {
				return strings.Fields(line)[1]
			}
		}
		return "nobody"
	}
	for _, step := range []struct{ tell, want string }{
		{web("2", " external=192.0.2.1 created=20"), "prod/2:http"},
		{web("1", " external=192.0.2.1 created=30"), "prod/2:http"}, // later, though its name is before
		{web("3", " external=192.0.2.1 created=10"), "prod/3:http"}, // seen last, but created first
		{web("4", " external=192.0.2.1 created=10"), "prod/3:http"}, // of the same age the name decides
		{web("3", " created=10"), "prod/4:http"},
		{web("3", " external=192.0.2.1 created=40"), "prod/4:http"}, // deleted and created again
		{"- " + web("4", ""), "prod/2:http"},
		{web("2", " external=192.0.2.1 created=20 other-proxy"), "prod/1:http"},
		{web("1", "") + web("2", " external=192.0.2.1 created=50"), "prod/3:http"}, // both at once
		{"- " + web("3", "") + "- " + web("2", ""), "nobody"},
	} {
		if w.tell(step.tell); frontend() != step.want {
			t.Errorf("after %q: %s has it, want %s", step.tell, frontend(), step.want)
		}
	}
}

// A frontend that passes from one Service to another at once is refused to nobody, whichever is looked at first.
func TestAFrontendThatIsGivenUpIsNotRefused(t *testing.T) {
	web := func(name, age, nodePort string) string {
		return fmt.Sprintf("service prod/%s 10.96.0.%s created=%s port=http:80/tcp:%s\n", name, name, age, nodePort)
	}
	for _, step := range []struct{ name, tell, want string }{
		{"the younger first", web("2", "20", "30080") + web("1", "10", "30082"), ""},
		{"the older first", web("1", "10", "30082") + web("2", "20", "30080"), ""},
		{"the younger alone", web("2", "20", "30080"), "prod/2: frontend *4:30080/tcp: Service prod/1 had it first (taken)"},
		{"both the same", web("2", "20", "30081") + web("1", "10", "30081"), "prod/2: frontend *4:30081/tcp: Service prod/1 had it first (taken)"},
	} {
		w := newWorld(t, plan.Options{NodeName: "a"})
		w.tell("node a 192.0.2.1\n" + web("1", "10", "30080") + web("2", "20", "30081"))
		w.tell(step.tell)
		expect(t, "refusals, "+step.name, w.refusals(), step.want)
		w.kernel.refused = nil
		w.tell(step.tell)
		expect(t, "refusals that were told already, "+step.name, w.refusals(), "")
	}
}
