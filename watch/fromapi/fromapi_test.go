package fromapi

import (
	"fmt"
	"reflect"
	"testing"

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

const busyNode = `
metadata: {name: node-1, labels: {topology.kubernetes.io/zone: zone-a, node.kubernetes.io/exclude-from-external-load-balancers: ""}}
spec: {podCIDRs: [10.1.0.0/24], taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}`

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
		name: "the own one", needs: cluster.Needs{NodeName: "node-1", NodeAddresses: true}, object: busyNode,
		want: "node-1 10.0.0.1 10.1.0.0/24 in zone-a leaving excluded",
	}, {
		name: "another one", needs: cluster.Needs{NodeName: "node-2", NodeAddresses: true}, object: busyNode,
		want: "node-1 10.0.0.1",
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
