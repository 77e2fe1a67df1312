package plan_test

import (
	"net/netip"
	"testing"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// atA are the options of a proxy on node a that recognises Pods by their addresses.
var atA = plan.Options{
	NodeName: "a",
	Pods:     proxy.Detector{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd01::/64")}},
}

// route is a case: a cluster, and where its frontends lead on node a.
type route struct {
	name    string
	cluster string
	want    string
}

func runRoutes(t *testing.T, o plan.Options, cases []route) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, o)
			w.tell(c.cluster)
			expect(t, "routes", w.routes(), c.want)
		})
	}
}

func TestWhichObjectsCount(t *testing.T) {
	runRoutes(t, atA, []route{
		{"a Service and its slice", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1 10.1.0.2
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 10.1.0.2:8080 masquerade foreign
			`},
		{"headless and ExternalName Services have no routes", `
			service prod/headless headless port=http:80/tcp
			service prod/none port=http:80/tcp
			service prod/name external-name 10.96.0.2 port=http:80/tcp
			slice prod/headless-1 headless port=http:8080/tcp 10.1.0.1
			slice prod/name-1 name port=http:8080/tcp 10.1.0.1
			`, ``},
		{"another proxy's Service", `
			service prod/web 10.96.0.1 port=http:80/tcp other-proxy
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1
			`, ``},
		{"a slice of names has no endpoints", `
			service prod/web 10.96.0.1 fd00::1 port=http:80/tcp
			slice prod/web-1 web port=http:8080/tcp fqdn=a.example.com fqdn=b.example.com
			slice prod/web-2 web port=http:8080/tcp 10.1.0.1
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 masquerade foreign
			[fd00::1]:80/tcp prod/web:http reject
			`},
		{"a port without a name is that of a Service's without one", `
			service prod/web 10.96.0.1 port=:80/tcp port=http:81/tcp
			slice prod/web-1 web port=:8080/tcp 10.1.0.1
			slice prod/web-2 web port=:0/tcp port=http:0/tcp 10.1.0.2
			`, `
			10.96.0.1:80/tcp prod/web forward 10.1.0.1:8080 masquerade foreign
			10.96.0.1:81/tcp prod/web:http reject
			`},
		{"a slice labelled headless is not for proxies", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1 headless
			slice prod/web-2 web port=http:8080/tcp 10.1.0.2
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:8080 masquerade foreign
			`},
		{"a slice without a Service, or of another namespace's", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/other other port=http:8080/tcp 10.1.0.1
			slice dev/web-1 web port=http:8080/tcp 10.1.0.2
			`, `
			10.96.0.1:80/tcp prod/web:http reject
			`},
		{"ports are joined by name and protocol, and have the slice's number", `
			service prod/web 10.96.0.1 port=http:80/tcp port=dns:53/udp port=dns-tcp:53/tcp
			slice prod/web-1 web port=http:8080/tcp port=dns:5353/udp 10.1.0.1
			slice prod/web-2 web port=http:9090/tcp port=dns:5353/tcp 10.1.0.2
			`, `
			10.96.0.1:53/tcp prod/web:dns-tcp reject
			10.96.0.1:53/udp prod/web:dns forward 10.1.0.1:5353 masquerade foreign
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 10.1.0.2:9090 masquerade foreign
			`},
		{"TCP, UDP and SCTP on one port number", `
			service prod/web 10.96.0.1 port=t:80/tcp port=u:80/udp port=s:80/sctp
			slice prod/web-1 web port=t:1/tcp port=u:2/udp port=s:3/sctp 10.1.0.1
			`, `
			10.96.0.1:80/sctp prod/web:s forward 10.1.0.1:3 masquerade foreign
			10.96.0.1:80/tcp prod/web:t forward 10.1.0.1:1 masquerade foreign
			10.96.0.1:80/udp prod/web:u forward 10.1.0.1:2 masquerade foreign
			`},
		{"a slice's port without a number, or of no port of the Service", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/web-1 web port=http:0/tcp 10.1.0.1
			slice prod/web-2 web port=admin:8081/tcp 10.1.0.2
			`, `
			10.96.0.1:80/tcp prod/web:http reject
			`},
		{"a port without a name", `
			service prod/web 10.96.0.1 port=:80/tcp
			slice prod/web-1 web port=:8080/tcp 10.1.0.1
			`, `
			10.96.0.1:80/tcp prod/web forward 10.1.0.1:8080 masquerade foreign
			`},
		{"only the first address of an endpoint", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1 10.1.0.2,further
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 masquerade foreign
			`},
		{"an address in several slices is one endpoint, and who stays is believed", `
			service prod/web 10.96.0.1 port=http:80/tcp
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1,leaving 10.1.0.2 10.1.0.3
			slice prod/web-2 web port=http:8080/tcp 10.1.0.1 10.1.0.2,dying 10.1.0.3
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 10.1.0.2:8080 10.1.0.3:8080 masquerade foreign
			`},
		{"dual stack is twice single stack", `
			service prod/web 10.96.0.1 fd00::1 port=http:80/tcp:30080 lb=203.0.113.1 lb=2001:db8::1
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1
			slice prod/web-2 web port=http:8080/tcp fd01::1
			`, `
			*4:30080/tcp prod/web:http forward 10.1.0.1:8080 masquerade always
			*6:30080/tcp prod/web:http forward [fd01::1]:8080 masquerade always
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 masquerade foreign
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:8080 masquerade always
			[2001:db8::1]:80/tcp prod/web:http forward [fd01::1]:8080 masquerade always
			[fd00::1]:80/tcp prod/web:http forward [fd01::1]:8080 masquerade foreign
			`},
		{"without a ClusterIP of a family, nothing of it", `
			service prod/web 10.96.0.1 port=http:80/tcp:30080 external=2001:db8::1
			slice prod/web-1 web port=http:8080/tcp 10.1.0.1
			slice prod/web-2 web port=http:8080/tcp fd01::1
			`, `
			*4:30080/tcp prod/web:http forward 10.1.0.1:8080 masquerade always
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 masquerade foreign
			`},
	})
}

func TestEndpointsOfClusterPolicy(t *testing.T) {
	service := "service prod/web 10.96.0.1 port=http:80/tcp\n"
	forward := "10.96.0.1:80/tcp prod/web:http forward "
	runRoutes(t, atA, []route{
		{"ready ones, here and elsewhere", service + `
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a 10.1.0.2@b 10.1.0.3@b,unready 10.1.0.4@a,leaving 10.1.0.5,dying
			`, forward + "10.1.0.1:80 10.1.0.2:80 masquerade foreign"},
		{"else those that serve while they are being deleted, whatever their hints", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,leaving,zone=z1 10.1.0.2@b,leaving,zone=z2 10.1.0.3,unready 10.1.0.5,dying
			`, forward + "10.1.0.1:80 10.1.0.2:80 masquerade foreign"},
		{"none that does not serve", service + `
			slice prod/web-1 web port=http:80/tcp 10.1.0.3,unready 10.1.0.5,dying
			`, "10.96.0.1:80/tcp prod/web:http reject"},
		{"the zone's, where every ready one has a hint", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z2 10.1.0.2@b,zone=z1 10.1.0.3@b,zone=z2,zone=z1 10.1.0.4,unready
			`, forward + "10.1.0.2:80 10.1.0.3:80 masquerade foreign"},
		{"all, where one has no hint", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z2 10.1.0.2@b,zone=z1 10.1.0.3@b
			`, forward + "10.1.0.1:80 10.1.0.2:80 10.1.0.3:80 masquerade foreign"},
		{"all, where no hint names our zone", service + `
			node a zone=z3
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z2 10.1.0.2@b,zone=z1
			`, forward + "10.1.0.1:80 10.1.0.2:80 masquerade foreign"},
		{"all, where we are in no zone", service + `
			node a
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z2 10.1.0.2@b,zone=z1
			`, forward + "10.1.0.1:80 10.1.0.2:80 masquerade foreign"},
		{"another node's zone is not ours", service + `
			node a zone=z1
			node b zone=z2
			slice prod/web-1 web port=http:80/tcp 10.1.0.1,zone=z1 10.1.0.2,zone=z2
			`, forward + "10.1.0.1:80 masquerade foreign"},
		{"the node's before the zone's", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z1,node=a 10.1.0.2@b,zone=z1,node=b
			`, forward + "10.1.0.1:80 masquerade foreign"},
		{"the zone's, where a node hint is missing", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z1,node=a 10.1.0.2@b,zone=z1 10.1.0.3,zone=z2,node=c
			`, forward + "10.1.0.1:80 10.1.0.2:80 masquerade foreign"},
		{"the zone's, where no node hint names us", service + `
			node a zone=z1
			slice prod/web-1 web port=http:80/tcp 10.1.0.1,zone=z1,node=b 10.1.0.2,zone=z2,node=c
			`, forward + "10.1.0.1:80 masquerade foreign"},
	})
}

func TestPolicies(t *testing.T) {
	endpoints := "slice prod/web-1 web port=http:80/tcp 10.1.0.1@a 10.1.0.2@b\n"
	remote := "slice prod/web-1 web port=http:80/tcp 10.1.0.2@b\n"
	runRoutes(t, atA, []route{
		{"internal Local", "service prod/web 10.96.0.1 port=http:80/tcp internal-local\n" + endpoints, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			`},
		{"internal Local restricts ClusterIPs only", "service prod/web 10.96.0.1 port=http:80/tcp:30080 internal-local external=192.0.2.1 lb=203.0.113.1\n" + endpoints, `
			*4:30080/tcp prod/web:http forward 10.1.0.1:80 10.1.0.2:80 masquerade always
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			192.0.2.1:80/tcp prod/web:http forward 10.1.0.1:80 10.1.0.2:80 masquerade always
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 10.1.0.2:80 masquerade always
			`},
		{"internal Local without an endpoint here drops", "service prod/web 10.96.0.1 port=http:80/tcp internal-local\n" + remote, `
			10.96.0.1:80/tcp prod/web:http drop
			`},
		{"internal Local without any rejects", `
			service prod/web 10.96.0.1 port=http:80/tcp internal-local
			`, `
			10.96.0.1:80/tcp prod/web:http reject
			`},
		{"internal Local falls back to endpoints here that are being deleted", `
			service prod/web 10.96.0.1 port=http:80/tcp internal-local
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,leaving 10.1.0.2@b 10.1.0.3@a,unready 10.1.0.4@a,dying
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			`},
		{"local policies pay no heed to hints", `
			node a zone=z1
			service prod/web 10.96.0.1 port=http:80/tcp internal-local
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,zone=z2 10.1.0.2@b,zone=z1
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			`},
		{"external Local splits", "service prod/web 10.96.0.1 port=http:80/tcp:30080 external-local external=192.0.2.1 lb=203.0.113.1\n" + endpoints, `
			*4:30080/tcp prod/web:http split 10.1.0.1:80 10.1.0.2:80 local 10.1.0.1:80
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 10.1.0.2:80 masquerade foreign
			192.0.2.1:80/tcp prod/web:http split 10.1.0.1:80 10.1.0.2:80 local 10.1.0.1:80
			203.0.113.1:80/tcp prod/web:http split 10.1.0.1:80 10.1.0.2:80 local 10.1.0.1:80
			`},
		{"external Local without an endpoint here still serves the node and its Pods", "service prod/web 10.96.0.1 port=http:80/tcp:30080 external-local\n" + remote, `
			*4:30080/tcp prod/web:http split 10.1.0.2:80 local
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:80 masquerade foreign
			`},
		{"external Local without any endpoint rejects", `
			service prod/web 10.96.0.1 port=http:80/tcp:30080 external-local
			`, `
			*4:30080/tcp prod/web:http reject
			10.96.0.1:80/tcp prod/web:http reject
			`},
		{"external Local: both lists fall back, each for itself", `
			service prod/web 10.96.0.1 port=http:80/tcp:30080 external-local
			slice prod/web-1 web port=http:80/tcp 10.1.0.1@a,leaving 10.1.0.2@b
			`, `
			*4:30080/tcp prod/web:http split 10.1.0.2:80 local 10.1.0.1:80
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.2:80 masquerade foreign
			`},
		{"external Local means nothing without an external frontend", "service prod/web 10.96.0.1 port=http:80/tcp external-local\n" + endpoints, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 10.1.0.2:80 masquerade foreign
			`},
		{"both Local", "service prod/web 10.96.0.1 port=http:80/tcp:30080 external-local internal-local\n" + remote, `
			*4:30080/tcp prod/web:http split 10.1.0.2:80 local
			10.96.0.1:80/tcp prod/web:http drop
			`},
	})
}

func TestLoadBalancer(t *testing.T) {
	endpoints := "slice prod/web-1 web port=http:80/tcp 10.1.0.1\n"
	node := "node a 192.0.2.10 2001:db8::10\n"
	runRoutes(t, atA, []route{
		{"source ranges are for its own IPs only", node + "service prod/web 10.96.0.1 port=http:80/tcp:30080 external=192.0.2.1 lb=203.0.113.1 from=198.51.100.0/24 from=10.0.0.0/8\n" + endpoints, `
			*4:30080/tcp prod/web:http forward 10.1.0.1:80 masquerade always
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			192.0.2.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always from 10.0.0.0/8 198.51.100.0/24
			`},
		{"where the node may, so may the IPs", node + "service prod/web 10.96.0.1 port=http:80/tcp lb=203.0.113.1 lb=203.0.113.2 from=192.0.2.0/24\n" + endpoints, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always from 192.0.2.0/24 203.0.113.1/32 203.0.113.2/32
			203.0.113.2:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always from 192.0.2.0/24 203.0.113.1/32 203.0.113.2/32
			`},
		{"a range of everything lifts the limits", node + "service prod/web 10.96.0.1 port=http:80/tcp lb=203.0.113.1 from=192.0.2.0/24 from=0.0.0.0/0\n" + endpoints, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
			`},
		{"ranges are kept where nobody serves", node + "service prod/web 10.96.0.1 port=http:80/tcp lb=203.0.113.1 from=198.51.100.0/24\n", `
			10.96.0.1:80/tcp prod/web:http reject
			203.0.113.1:80/tcp prod/web:http reject from 198.51.100.0/24
			`},
		{"ranges count for their own family", node + `
			service prod/web 10.96.0.1 fd00::1 port=http:80/tcp lb=203.0.113.1 lb=2001:db8::1 from=198.51.100.0/24
			slice prod/web-1 web port=http:80/tcp 10.1.0.1
			slice prod/web-2 web port=http:80/tcp fd01::1
			`, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always from 198.51.100.0/24
			[2001:db8::1]:80/tcp prod/web:http forward [fd01::1]:80 masquerade always
			[fd00::1]:80/tcp prod/web:http forward [fd01::1]:80 masquerade foreign
			`},
		{"an address of both sorts is the load balancer's", "service prod/web 10.96.0.1 port=http:80/tcp external=203.0.113.1 lb=203.0.113.1 from=198.51.100.0/24\n" + endpoints, `
			10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign
			203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always from 198.51.100.0/24
			`},
	})
}

func TestAffinityAndMasquerade(t *testing.T) {
	cluster := `
		service prod/web 10.96.0.1 port=http:80/tcp:30080 affinity=10800
		slice prod/web-1 web port=http:80/tcp 10.1.0.1@a
		node a 10.1.0.0/24
	`
	affine := []route{{"affinity is every frontend's", cluster, `
		*4:30080/tcp prod/web:http forward 10.1.0.1:80 masquerade always affinity 10800s
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade foreign affinity 10800s
	`}}
	runRoutes(t, atA, affine)
	runRoutes(t, plan.Options{NodeName: "a", PodsOfNode: true}, affine)
	runRoutes(t, plan.Options{NodeName: "a", Pods: proxy.Detector{Interface: "cni0"}}, affine)
	runRoutes(t, plan.Options{NodeName: "a", MasqueradeAll: true}, []route{{"masqueradeAll", cluster, `
		*4:30080/tcp prod/web:http forward 10.1.0.1:80 masquerade always affinity 10800s
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always affinity 10800s
	`}})
	runRoutes(t, plan.Options{NodeName: "a"}, []route{{"without a detector everyone is taken for a Pod", cluster, `
		*4:30080/tcp prod/web:http forward 10.1.0.1:80 masquerade always affinity 10800s
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80 affinity 10800s
	`}})
	runRoutes(t, plan.Options{NodeName: "a", NoExternalIPs: true}, []route{{"external IPs can be left out", `
		service prod/web 10.96.0.1 port=http:80/tcp external=192.0.2.1 lb=203.0.113.1
		slice prod/web-1 web port=http:80/tcp 10.1.0.1@a
		`, `
		10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:80
		203.0.113.1:80/tcp prod/web:http forward 10.1.0.1:80 masquerade always
	`}})
}
