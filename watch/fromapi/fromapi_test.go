package fromapi

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/cluster"
)

// conversion is one object, as YAML, and what is to become of it, as show prints it.
type conversion struct {
	name   string
	needs  cluster.Needs
	object string
	want   string // "" where nothing is
	flaw   string // "" where there is none
}

// run converts each object twice, so that what is shared is shared with something.
func run[T any, V cluster.Object](t *testing.T, method func(*Converter, *T) (V, error), tests []conversion) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := New(test.needs)
			var first V
			for i := range 2 {
				o := new(T)
				if err := yaml.UnmarshalStrict([]byte(test.object), o); err != nil {
					t.Fatal(err)
				}
				value, err := method(c, o)
				if got := show(value); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				if got := fmt.Sprint(err); got != test.flaw && (err != nil || test.flaw != "") {
					t.Errorf("flaw %s\nwant %s", got, test.flaw)
				}
				if i == 0 {
					first = value
				} else if !reflect.ValueOf(value).IsNil() && !first.Equal(value) {
					t.Errorf("the same object became %s and %s", show(first), show(value))
				}
			}
		})
	}
}

var routes = cluster.Needs{Routes: true}

func TestService(t *testing.T) {
	run(t, (*Converter).Service, []conversion{{
		name: "cluster IP",
		object: `
metadata: {namespace: prod, name: web, labels: {app: web}}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  clusterIPs: [10.96.1.1, "fd00:10:96::1"]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP}
  - {port: 5060, protocol: SCTP}`,
		want: "prod/web 10.96.1.1 fd00:10:96::1 http:tcp/80 dns:udp/53 :sctp/5060",
	}, {
		name: "of an API server before dual stack",
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1}`,
		want: "prod/web 10.96.1.1",
	}, {
		name: "headless",
		object: `
metadata: {namespace: prod, name: db}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: pg, port: 5432}]}`,
		want: "prod/db headless pg:tcp/5432",
	}, {
		name: "external name",
		object: `
metadata: {namespace: prod, name: outside}
spec: {type: ExternalName, externalName: www.Example_1.com., clusterIP: 10.96.1.1}`,
		want: "prod/outside is www.Example_1.com.",
	}, {
		name: "external name that is none",
		object: `
metadata: {namespace: prod, name: outside}
spec: {type: ExternalName, externalName: "www..com"}`,
		flaw: `"prod/outside": spec.externalName "www..com" is not a domain name`,
	}, {
		name: "leading zeros, and IPv4 in IPv6",
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIPs: [010.096.001.010, "::ffff:10.96.1.2"]}`,
		want: "prod/web 10.96.1.10 10.96.1.2",
	}, {
		name: "bad addresses and ports",
		object: `
metadata: {namespace: prod, name: web}
spec:
  clusterIPs: [abc, 10.96.1.1, "fe80::1%eth0", 10.96.1]
  ports:
  - {name: zero, port: 0}
  - {name: high, port: 65536}
  - {name: icmp, port: 1, protocol: ICMP}
  - {name: a.b, port: 1}
  - {name: good, port: 1}`,
		want: "prod/web 10.96.1.1 good:tcp/1",
		flaw: `"prod/web": port "zero": the number 0 is not one (and 6 more)`,
	}, {
		name:   "no namespace",
		object: `metadata: {name: web}`,
		flaw:   `"web": the namespace "" is not a DNS label`,
	}, {
		name:   "no name",
		object: `metadata: {namespace: prod}`,
		flaw:   "an object without a name",
	}, {
		name:   "a name with dots",
		object: `metadata: {namespace: prod, name: web.shop}`,
		flaw:   `"prod/web.shop": the name is not a DNS label`,
	}, {
		name:   "a name too long",
		object: `metadata: {namespace: prod, name: ` + strings.Repeat("w", 64) + `}`,
		flaw:   `"prod/` + strings.Repeat("w", 64) + `": the name is not a DNS label`,
	}})
}

func TestServiceRouting(t *testing.T) {
	run(t, (*Converter).Service, []conversion{{
		name: "plain", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, ports: [{port: 80, nodePort: 30080}]}`,
		want: "prod/web 10.96.1.1 :tcp/80/30080 node-ports",
	}, {
		name: "all there is", needs: routes,
		object: `
metadata:
  namespace: prod
  name: web
  creationTimestamp: "2026-11-21T07:16:00Z"
  labels: {service.kubernetes.io/service-proxy-name: "", service.kubernetes.io/headless: ""}
  annotations: {service.kubernetes.io/topology-mode: Auto}
spec:
  type: LoadBalancer
  clusterIP: 10.96.1.1
  externalIPs: [192.0.2.1]
  allocateLoadBalancerNodePorts: false
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  healthCheckNodePort: 32000
  trafficDistribution: PreferSameNode
  publishNotReadyAddresses: true
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  loadBalancerSourceRanges: [" 198.51.100.7/24 ", "2001:db8::/32"]
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.1}
    - {ip: 203.0.113.2, ipMode: VIP}
    - {ip: 203.0.113.3, ipMode: Proxy}
    - {hostname: lb.example.com}`,
		want: "prod/web 10.96.1.1 external 192.0.2.1 balanced 203.0.113.1 203.0.113.2 for 198.51.100.0/24 2001:db8::/32 " +
			"affinity 60s internal-local external-local health 32000 PreferSameNode load-balancer topology auto " +
			"not-ready other-proxy headless-label created 1795245360",
	}, {
		name: "affinity by default", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, sessionAffinity: ClientIP}`,
		want: "prod/web 10.96.1.1 affinity 10800s node-ports",
	}, {
		name: "some ranges are bad", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, loadBalancerSourceRanges: [all, 10.0.0.0/8]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}`,
		want: "prod/web 10.96.1.1 balanced 203.0.113.1 for 10.0.0.0/8 node-ports",
		flaw: `"prod/web": spec.loadBalancerSourceRanges: "all" is not a range of addresses`,
	}, {
		name: "all ranges are bad: nobody gets in", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, loadBalancerSourceRanges: [all]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}`,
		want: "prod/web 10.96.1.1 node-ports",
		flaw: `"prod/web": spec.loadBalancerSourceRanges: "all" is not a range of addresses`,
	}})
}

const webSlice = `
metadata:
  namespace: prod
  name: web-x7k2p
  labels: {kubernetes.io/service-name: web}
  annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-11-21T07:16:00.5Z"}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- addresses: [10.0.0.1, 10.0.0.2]
  hostname: web-0
  nodeName: node-1
  zone: Zone-A
  targetRef: {kind: Pod, name: web-0, namespace: prod}
  hints: {forZones: [{name: zone-a}, {name: zone-b}], forNodes: [{name: node-1}]}
- addresses: [10.0.0.3]
  conditions: {ready: false, serving: true, terminating: true}
  nodeName: node-1
  zone: Zone-A
- addresses: [10.0.0.4]
  conditions: {ready: false, serving: false}
`

func TestSlice(t *testing.T) {
	const triggered = " triggered 1795245360500000000"
	run(t, (*Converter).Slice, []conversion{{
		name: "for plain DNS", object: webSlice,
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 ready serving] [10.0.0.2 web-0 ready serving further]" +
			" [10.0.0.3 serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "with Pod names and zones", object: webSlice, needs: cluster.Needs{PodNames: true, Zones: true},
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 pod=web-0 zone=Zone-A ready serving] [10.0.0.2 web-0 pod=web-0 zone=Zone-A ready serving further]" +
			" [10.0.0.3 zone=Zone-A serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "for routes", object: webSlice, needs: routes,
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 zone=Zone-A node=node-1 for=zone-a,zone-b;node-1 ready serving]" +
			" [10.0.0.2 web-0 zone=Zone-A node=node-1 for=zone-a,zone-b;node-1 ready serving further]" +
			" [10.0.0.3 zone=Zone-A node=node-1 serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "names", object: `
metadata: {namespace: prod, name: far, labels: {kubernetes.io/service-name: far}}
addressType: FQDN
endpoints: [{addresses: [a.example.com, "b,c", c.example.com], hostname: h}]`,
		want: "prod/far of far [a.example.com h ready serving] [c.example.com h ready serving further]",
		flaw: `"prod/far": address "b,c" is not a domain name`,
	}, {
		name: "a bad address is lost alone", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [abc, 10.0.0.1]
- addresses: [10.0.0.2]
  hostname: UPPER
- addresses: [10.0.0.3]
  hostname: web.1`,
		want: "prod/web-1 of web [10.0.0.1 ready serving] [10.0.0.2 ready serving] [10.0.0.3 ready serving]",
		flaw: `"prod/web-1": address "abc" is not an IP address (and 2 more)`,
	}, {
		name: "ports without a number, and impossible ones", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: any}, {}, {port: 70000}, {port: -1}, {port: 8080, protocol: TCQ}]`,
		want: "prod/web-1 of web any:tcp/0 :tcp/0",
		flaw: `"prod/web-1": port "": the number 70000 is not one (and 2 more)`,
	}, {
		name: "not for proxies", needs: routes, object: `
metadata: {namespace: prod, name: db-1, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}`,
		want: "prod/db-1 of db headless-label",
	}, {
		name: "not for proxies, which DNS does not mind", object: `
metadata: {namespace: prod, name: db-1, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}`,
		want: "prod/db-1 of db",
	}, {
		name: "no Service", object: `{metadata: {namespace: prod, name: lone.slice}}`,
		want: "prod/lone.slice of ",
	}, {
		name: "a Service's name as only a label can be", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: We.b_1}}`,
		want: "prod/web-1 of We.b_1",
	}, {
		name: "of an import, not asked for", object: `
metadata: {namespace: prod, name: imp-1, labels: {multicluster.kubernetes.io/service-name: imp, multicluster.kubernetes.io/source-cluster: east}}`,
		want: "prod/imp-1 of ",
	}, {
		name: "of an import", needs: cluster.Needs{Imports: true}, object: `
metadata: {namespace: prod, name: imp-1, labels: {multicluster.kubernetes.io/service-name: imp, multicluster.kubernetes.io/source-cluster: east}}`,
		want: "prod/imp-1 of  import imp at east",
	}, {
		name: "a change at no time", object: `
metadata: {namespace: prod, name: web-1, annotations: {endpoints.kubernetes.io/last-change-trigger-time: yesterday}}`,
		want: "prod/web-1 of ",
	}, {
		name: "a Pod's name too long for a label", needs: cluster.Needs{PodNames: true}, object: `
metadata: {namespace: prod, name: web-1}
endpoints:
- {addresses: [10.0.0.1], targetRef: {name: ` + strings.Repeat("p", 63) + `}}
- {addresses: [10.0.0.2], targetRef: {name: ` + strings.Repeat("p", 64) + `}}`,
		want: "prod/web-1 of  [10.0.0.1 pod=" + strings.Repeat("p", 63) + " ready serving] [10.0.0.2 ready serving]",
	}, {
		name: "no namespace", object: `metadata: {name: web-1}`,
		flaw: `"web-1": the namespace "" is not a DNS label`,
	}})
}

func TestPod(t *testing.T) {
	run(t, (*Converter).Pod, []conversion{{
		name: "running", object: `
metadata: {namespace: prod, name: web-0}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}`,
		want: "prod/web-0 10.0.0.1 fd00::1",
	}, {
		name: "pending", object: `{metadata: {namespace: prod, name: web-0}, status: {phase: Pending}}`,
		want: "prod/web-0",
	}, {
		name: "terminating", object: `
metadata: {namespace: prod, name: web-0, deletionTimestamp: "2026-11-21T07:16:00Z"}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}`,
		flaw: ErrTerminating.Error(),
	}, {
		name: "finished", object: `
metadata: {namespace: prod, name: web-0, deletionTimestamp: "2026-11-21T07:16:00Z"}
status: {phase: Succeeded}`,
		flaw: ErrFinished.Error(),
	}, {
		name: "bad address", object: `
metadata: {namespace: prod, name: web-0}
status: {podIPs: [{ip: abc}, {ip: 10.0.0.2}]}`,
		want: "prod/web-0 10.0.0.2",
		flaw: `"prod/web-0": status.podIPs: "abc" is not an IP address`,
	}})
}

func TestNamespace(t *testing.T) {
	run(t, (*Converter).Namespace, []conversion{
		{name: "plain", object: `{metadata: {name: prod}, status: {phase: Terminating}}`, want: "prod"},
		{name: "no label", object: `{metadata: {name: pro.d}}`, flaw: `namespace "pro.d": the name is not a DNS label`},
	})
}

func TestNode(t *testing.T) {
	run(t, (*Converter).Node, []conversion{{
		name: "plain", object: `
metadata: {name: node-1.example.com, labels: {topology.kubernetes.io/zone: zone-a}}
spec: {podCIDRs: [10.1.0.0/24, "fd00:1::/64"], taints: [{key: other, effect: NoSchedule}]}
status: {addresses: [{type: Hostname, address: node-1}, {type: ExternalIP, address: 192.0.2.1}, {type: InternalIP, address: 10.0.0.1}]}`,
		want: "node-1.example.com 10.0.0.1 192.0.2.1 10.1.0.0/24 fd00:1::/64 in zone-a",
	}, {
		name: "leaving", object: `
metadata: {name: node-1, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ""}}
spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}`,
		want: "node-1 leaving excluded",
	}, {
		name: "being deleted", object: `{metadata: {name: node-1, deletionTimestamp: "2026-11-21T07:16:00Z"}}`,
		want: "node-1 leaving",
	}, {
		name: "bad range", object: `{metadata: {name: node-1}, spec: {podCIDRs: [10.1.0.0/33]}}`,
		want: "node-1",
		flaw: `"node-1": spec.podCIDRs: "10.1.0.0/33" is not a range of addresses`,
	}, {
		name: "no name", object: `{}`, flaw: "a Node without a name",
	}})
}

func TestRange(t *testing.T) {
	run(t, (*Converter).Range, []conversion{{
		name: "dual stack", object: `{metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/12, "fd00:10:96::/112"]}}`,
		want: "kubernetes 10.96.0.0/12 fd00:10:96::/112",
	}, {
		name: "bad", object: `{metadata: {name: kubernetes}, spec: {cidrs: [all, 10.96.0.1/12]}}`,
		want: "kubernetes 10.96.0.0/12",
		flaw: `"kubernetes": spec.cidrs: "all" is not a range of addresses`,
	}, {
		name: "no name", object: `{}`, flaw: "a ServiceCIDR without a name",
	}})
}

func TestImport(t *testing.T) {
	run(t, (*Converter).Import, []conversion{{
		name: "plain", object: `
metadata: {namespace: prod, name: imp}
spec: {type: ClusterSetIP, ips: [10.96.9.1], ports: [{name: Http, port: 80, protocol: TCP}]}`,
		want: "prod/imp 10.96.9.1 Http:tcp/80",
	}, {
		name: "headless", object: `{metadata: {namespace: prod, name: imp}, spec: {type: Headless}}`,
		want: "prod/imp headless",
	}, {
		name: "bad parts", object: `
metadata: {namespace: prod, name: imp}
spec: {ips: [x], ports: [{port: -1}]}`,
		want: "prod/imp",
		flaw: `"prod/imp": spec.ips: "x" is not an IP address (and 1 more)`,
	}, {
		name: "a name that no question can ask for", object: `{metadata: {namespace: prod, name: imp.two}}`,
		flaw: `"prod/imp.two": the name is not a DNS label`,
	}})
}

// What many endpoints have in common is there once; and what is not the same is not taken for it.
func TestPlacesAreShared(t *testing.T) {
	c := New(routes)
	hint := &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "b"}}}
	nodeHint := &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: "b"}}}
	places := []*cluster.Place{
		c.shared.place("a", "n", nil), c.shared.place("a", "", nil), c.shared.place("", "a", nil), c.shared.place("a", "n", hint),
		c.shared.place("a", "n", nodeHint), c.shared.place("", "", hint),
	}
	if c.shared.place("a", "n", nil) != places[0] || c.shared.place("a", "n", hint) != places[3] {
		t.Error("the same place is there twice")
	}
	if c.shared.place("", "", nil) != nil {
		t.Error("nowhere is a place")
	}
	for i, p := range places {
		for j, q := range places {
			if (p == q) != (i == j) {
				t.Errorf("places %d and %d: %v and %v", i, j, *p, *q)
			}
		}
	}
}

func TestSharedIsBounded(t *testing.T) {
	var s shared
	for i := range 3 * sharedLimit {
		s.string(fmt.Sprint(i))
		s.place(fmt.Sprint(i), "", nil)
		if len(s.strings) > sharedLimit || len(s.places) > sharedLimit {
			t.Fatalf("after %d: %d strings, %d places", i, len(s.strings), len(s.places))
		}
	}
}

// Whatever an object says, it becomes a value that DNS can carry, or none.
func FuzzService(f *testing.F) {
	f.Add("web", "prod", "10.96.1.1", "http", int32(80), "www.example.com")
	f.Add("", "..", "None", "a.b", int32(-1), "..")
	f.Fuzz(func(t *testing.T, name, namespace, ip, port string, number int32, external string) {
		s := &corev1.Service{}
		s.Name, s.Namespace = name, namespace
		s.Spec.ClusterIPs, s.Spec.ExternalName = []string{ip}, external
		s.Spec.Ports = []corev1.ServicePort{{Name: port, Port: number}}
		s.Spec.LoadBalancerSourceRanges = []string{ip}
		for _, kind := range []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName} {
			s.Spec.Type = kind
			value, err := New(routes).Service(s)
			if value == nil && err == nil {
				t.Error("left out without a word")
			}
			if value != nil && (!isLabel(value.Name) || !isLabel(value.Namespace) || kind == corev1.ServiceTypeExternalName && value.ExternalName == "") {
				t.Errorf("%+v", value)
			}
		}
	})
}
