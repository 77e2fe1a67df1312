package manifest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/cluster"
)

const web = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod, labels: {app: web}}
spec:
  clusterIP: 10.96.1.1
  ports: [{name: http, port: 80}]
`

const webSlice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: prod, labels: {app: web, kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.1.1], nodeName: n1, zone: z1, targetRef: {kind: Pod, name: web-abc}}
- {addresses: [10.244.1.2], conditions: {ready: false}}
`

// TestForms reads the same two objects in all the forms that manifests come in.
func TestForms(t *testing.T) {
	want := []string{
		"+ namespace prod",
		"+ service prod/web ClusterIP 10.96.1.1 http/80/tcp",
		"+ endpointslice prod/web-1 of web http/8080/tcp 10.244.1.1()rs 10.244.1.2()s",
		"synced namespaces", "synced services", "synced endpointslices",
	}
	indent := func(text string) string {
		return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
	}
	item := func(text string) string { return "- " + strings.TrimPrefix(indent(text), "  ") }
	withoutType := func(text string) string { return text[strings.Index(text, "metadata:"):] }
	const (
		webJSON   = `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "prod"}, "spec": {"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80}]}}`
		sliceJSON = `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "web-1", "namespace": "prod", "labels": {"kubernetes.io/service-name": "web"}},
			"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": ["10.244.1.1"]}, {"addresses": ["10.244.1.2"], "conditions": {"ready": false}}]}`
	)
	for name, texts := range map[string]map[string]string{
		"two files":       {"a.yaml": web, "b.yml": webSlice},
		"two documents":   {"a.yaml": web + "---\n" + webSlice},
		"dashes and more": {"a.yaml": "# first\n--- # the Service\n" + web + "---\n# nothing\n---\n--- \n" + webSlice + "---\n"},
		"a List":          {"a.yaml": "apiVersion: v1\nkind: List\nitems:\n" + item(web) + item(webSlice)},
		"typed lists": {"a.yaml": "apiVersion: v1\nkind: ServiceList\nitems:\n" + item(withoutType(web)) +
			"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems:\n" + item(withoutType(webSlice))},
		"JSON":           {"a.json": webJSON + "\n" + sliceJSON},
		"a JSON List":    {"a.json": `{"apiVersion": "v1", "kind": "List", "items": [` + webJSON + "," + sliceJSON + "]}"},
		"JSON in YAML":   {"a.yaml": webJSON + "\n---\n" + sliceJSON},
		"flow style":     {"a.yaml": "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: prod}, spec: {clusterIP: 10.96.1.1, ports: [{name: http, port: 80}]}}", "b.yaml": webSlice},
		"Windows":        {"a.yaml": "\uFEFF" + strings.ReplaceAll(web+"---\n"+webSlice, "\n", "\r\n")},
		"other kinds":    {"a.yaml": web + "---\napiVersion: apps/v1\nkind: Deployment\nspec: 7\n", "b.yaml": webSlice},
		"no List at all": {"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: example.org/v1, kind: AllowList}\n" + item(web), "b.yaml": webSlice},
		"others aside":   {"a.yaml": web, "b.yaml": webSlice, "README.md": "{", ".a.yaml.swp": "{", ".hidden.yaml": "{", "web.yaml~": "{", "sub/c.yaml": "{"},
		"empty, in full": {"a.yaml": web + "---\n" + webSlice, "b.yaml": "---\n", "c.yaml": "# nothing\n"},
	} {
		t.Run(name, func(t *testing.T) {
			told, logged := once(t, cluster.Needs{}, texts)
			if diff := cmp.Diff(want, told); diff != "" || len(logged) > 0 {
				t.Errorf("%s\n%q", diff, logged)
			}
		})
	}
}

// TestErrors wants a manifest that does not parse to name file, document and field, and to apply nothing at all.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"broken YAML", web + "---\nkind: [\n", "b.yaml: document 2 (line 8): yaml: line 8: did not find expected node content"},
		{"broken JSON", `{"kind": }`, "b.yaml: document 1 (line 1): apiVersion or kind is missing, this is no Kubernetes object"},
		{"an empty file", "", "b.yaml: the file is empty"},
		{"a text", "hello", "b.yaml: document 1 (line 1): the object: a string stands where a value of type struct belongs"},
		{"a field twice", web + "---\n\n# a comment\nkind: Service\napiVersion: v1\nkind: Pod\n",
			`b.yaml: document 2 (line 10): yaml: unmarshal errors: line 12: key "kind" already set in map`},
		{"no kind", "apiVersion: v1\n", "b.yaml: document 1 (line 1): apiVersion or kind is missing, this is no Kubernetes object"},
		{"no name", "apiVersion: v1\nkind: Service\n", "b.yaml: document 1 (line 1): Service: metadata.name is missing"},
		{"wrong type", web + "---\n" + strings.ReplaceAll(strings.ReplaceAll(web, "name: web", "name: two"), "80", "http"),
			`b.yaml: document 2 (line 8): Service "two": spec.ports.port: a string stands where a value of type int32 belongs`},
		{"wrong type in a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: 7}\n",
			`b.yaml: document 1 (line 1), item 2: Service "web": spec: a number stands where a value of type struct belongs`},
		{"a list in a list", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]\n", "b.yaml: document 1 (line 1), item 1: a List inside a list"},
		{"an object twice", web + "---\n" + web, `b.yaml: document 2 (line 8): Service "prod/web" is there twice, first in b.yaml: document 1 (line 1)`},
		{"a field twice in JSON", `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "name": "b"}}`, `b.yaml: document 1 (line 1): Node "b": duplicate field "metadata.name"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told, logged := once(t, cluster.Needs{}, map[string]string{"a.yaml": webSlice, "b.yaml": tt.text})
			want := []string{"ERROR embedded manifests: " + tt.want + "; what was read last stays in force"}
			if diff := cmp.Diff(want, logged); diff != "" || told != nil {
				t.Errorf("%s\n%q", diff, told)
			}
		})
	}
	t.Run("no files", func(t *testing.T) {
		told, logged := once(t, cluster.Needs{}, map[string]string{"README.md": ""})
		want := []string{"ERROR embedded manifests: no *.yaml, *.yml or *.json file is in the folder; what was read last stays in force"}
		if diff := cmp.Diff(want, logged); diff != "" || told != nil {
			t.Errorf("%s\n%q", diff, told)
		}
	})
}

// TestWarnings wants what is odd in an object to be said, and the rest to stand.
func TestWarnings(t *testing.T) {
	told, logged := once(t, cluster.Needs{}, map[string]string{"a.yaml": `
apiVersion: v1
kind: Service
metadata: {name: typo}
spec: {clusterIP: 10.96.0.7, ports: [{nmae: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {clusterIP: 10.96.0.256, ports: [{port: 0}, {port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1beta1
kind: EndpointSlice
metadata: {name: old}
---
apiVersion: v1
kind: Service
metadata: {name: Not_A_Name}
spec: {clusterIP: 10.96.0.8}
`})
	want := []string{
		"+ namespace default",
		"+ service default/bad ClusterIP /53/udp",
		"+ service default/typo ClusterIP 10.96.0.7 /80/tcp",
		"synced namespaces", "synced services", "synced endpointslices",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	want = []string{
		`WARN a.yaml: document 1 (line 2): Service "typo": unknown field "spec.ports[0].nmae"`,
		`WARN a.yaml: document 3 (line 12): EndpointSlice of version discovery.k8s.io/v1beta1 is passed over: it is read in discovery.k8s.io/v1 and multicluster.x-k8s.io/v1alpha1`,
		`WARN a.yaml: document 4 (line 16): "default/Not_A_Name": the name is not a DNS label`,
		`WARN a.yaml: document 2 (line 7): "default/bad": port "": the number 0 is not one (and 1 more)`,
	}
	if diff := cmp.Diff(want, logged); diff != "" {
		t.Error(diff)
	}
}

// TestSkipped wants each object that is left out, or a part of it, to be counted once a reading, and no other.
func TestSkipped(t *testing.T) {
	files := fstest.MapFS{"a.yaml": &fstest.MapFile{Data: []byte(web + "---\n" + webSlice + `---
{apiVersion: v1, kind: Service, metadata: {name: two-ports}, spec: {clusterIP: 10.96.0.7, ports: [{port: 0}, {port: 70000}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: no-address}, spec: {clusterIP: abc, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-2}, addressType: IPv4, endpoints: [{addresses: [abc]}]}
---
{apiVersion: v1, kind: Namespace, metadata: {name: Not_A_Name}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, status: {phase: Failed, podIP: abc}}
`)}}
	counted := map[string]int{}
	s, err := FromFS(files, cluster.Needs{Pods: true}, newLog(), func(kind cluster.Kind) { counted[kind.String()]++ })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.take(newSink(t))
	}
	if diff := cmp.Diff(map[string]int{"namespaces": 2, "services": 4, "endpointslices": 2}, counted); diff != "" {
		t.Error(diff)
	}
}

// TestNeeds wants what was asked for, and no more, of a cluster that has everything.
func TestNeeds(t *testing.T) {
	texts := map[string]string{"a.yaml": web + "---\n" + webSlice + `---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: prod}
spec: {clusterIP: None}
---
apiVersion: v1
kind: Namespace
metadata: {name: test, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: test, labels: {app: web}}
status: {podIP: 10.244.1.3}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: test}
status: {phase: Succeeded, podIP: 10.244.1.4}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: test}
status: {phase: Pending, podIPs: [{ip: 10.244.1.5}, {ip: "fd00::5"}]}
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: imp, namespace: test, labels: {team: a}}
spec: {type: ClusterSetIP, ips: [10.97.0.1], ports: [{name: http, port: 80, protocol: TCP}]}
status: {clusters: [{cluster: c1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12]}
`}
	const (
		prod    = "+ namespace prod"
		test    = "+ namespace test"
		other   = "+ service prod/other Headless"
		service = "+ service prod/web ClusterIP 10.96.1.1 http/80/tcp"
		slice   = "+ endpointslice prod/web-1 of web http/8080/tcp "
		plain   = slice + "10.244.1.1()rs 10.244.1.2()s"
		bare    = "+ pod test/bare 10.244.1.5 fd00::5"
		pod     = "+ pod test/p 10.244.1.3"
		ranges  = "+ servicecidr kubernetes 10.96.0.0/12"
		imp     = "+ serviceimport test/imp 10.97.0.1 http/80/tcp"
	)
	for _, tt := range []struct {
		name  string
		needs cluster.Needs
		want  []string
	}{
		{"plain", cluster.Needs{}, []string{prod, test, other, service, plain}},
		{"no slices", cluster.Needs{NoSlices: true}, []string{prod, test, other, service}},
		{"Pods", cluster.Needs{Pods: true}, []string{prod, test, other, service, plain, bare, pod}},
		{"Pod names", cluster.Needs{PodNames: true}, []string{prod, test, other, service, slice + "10.244.1.1(pod=web-abc)rs 10.244.1.2()s"}},
		{"zones", cluster.Needs{Zones: true}, []string{prod, test, other, service, slice + "10.244.1.1(node=,zone=z1)rs 10.244.1.2()s"}},
		{"imports", cluster.Needs{Imports: true}, []string{prod, test, other, service, plain, imp}},
		{"labels", cluster.Needs{Labels: "app in (web)", Pods: true}, []string{prod, test, service, plain, pod}},
		{"namespace labels", cluster.Needs{NamespaceLabels: "team=a", Imports: true}, []string{test, other, service, plain, imp}},
		{"a namespace by the label the API server gives", cluster.Needs{NamespaceLabels: "kubernetes.io/metadata.name=prod", Imports: true}, []string{prod, other, service, plain}},
		{"routes", cluster.Needs{Routes: true}, []string{prod, test, other, service, slice + "10.244.1.1(node=n1,zone=z1)rs 10.244.1.2()s", "+ node n1", "+ node n2", ranges}},
		{"routes of one node", cluster.Needs{Routes: true, NodeName: "n2"}, []string{prod, test, other, service, slice + "10.244.1.1(node=n1,zone=z1)rs 10.244.1.2()s", "+ node n2", ranges}},
		{"routes of one node, and the addresses of all", cluster.Needs{Routes: true, NodeName: "n2", NodeAddresses: true}, []string{prod, test, other, service, slice + "10.244.1.1(node=n1,zone=z1)rs 10.244.1.2()s", "+ node n1", "+ node n2", ranges}},
		{"no namespaces", cluster.Needs{NoNamespaces: true}, []string{other, service, plain}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range tt.needs.Kinds() {
				tt.want = append(tt.want, "synced "+kind.String())
			}
			told, logged := once(t, tt.needs, texts)
			if diff := cmp.Diff(tt.want, told); diff != "" || len(logged) > 0 {
				t.Errorf("%s\n%q", diff, logged)
			}
		})
	}
}

func TestBadSelectors(t *testing.T) {
	for needs, want := range map[cluster.Needs]string{
		{Labels: "a in"}:           `label selector "a in": `,
		{NamespaceLabels: "=a,,!"}: `namespace label selector "=a,,!": `,
	} {
		if _, err := FromPath("x", needs, newLog(), nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v", needs, err)
		}
		if _, err := FromFS(fstest.MapFS{}, needs, newLog(), nil); err == nil {
			t.Errorf("%v is taken", needs)
		}
	}
}

// TestAllocate wants Services without an address to get one that only their name decides, and to hear of it.
func TestAllocate(t *testing.T) {
	const text = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: dual}
spec: {type: NodePort, ipFamilyPolicy: PreferDualStack}
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec: {ipFamilies: [IPv6]}
---
apiVersion: v1
kind: Service
metadata: {name: ext}
spec: {type: ExternalName, externalName: example.org}
`
	services := func(text string) (told, logged []string) {
		told, logged = once(t, cluster.Needs{NoSlices: true}, map[string]string{"a.yaml": text})
		return told[1 : len(told)-2], logged
	}
	told, logged := services(text)
	want := []string{
		"+ service default/dual ClusterIP 10.96.52.240 fd00:10:96::d40e",
		"+ service default/ext ExternalName example.org",
		"+ service default/six ClusterIP fd00:10:96::e0ea",
		"+ service default/web ClusterIP 10.106.171.216 /80/tcp",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	const warning = `WARN a.yaml: document 2 (line 7): Service "default/dual" has no spec.clusterIP, which Kubernetes would have allocated: it gets 10.96.52.240 here`
	if len(logged) != 3 || logged[0] != warning {
		t.Errorf("logged %q", logged)
	}
	taken := "---\napiVersion: v1\nkind: Service\nmetadata: {name: taken}\nspec: {clusterIP: 10.106.171.216}\n"
	told, _ = services(text + taken)
	want[3] = "+ service default/taken ClusterIP 10.106.171.216"
	want = append(want, "+ service default/web ClusterIP 10.106.171.217 /80/tcp")
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecode wants manifests never to panic, and what parses to be told without a contradiction, twice the same.
func FuzzDecode(f *testing.F) {
	f.Add(web + "---\n" + webSlice)
	f.Add(`{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}, "status": {"podIP": "10.0.0.1"}}]}`)
	f.Add("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {a: b}, ports: [{port: 1, targetPort: x}]}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec: {containers: [{ports: [{name: x, containerPort: 2}]}]}\nstatus: {podIPs: [{ip: 1.2.3.4}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		needs := cluster.Needs{Pods: true, PodNames: true, Zones: true, Imports: true, Routes: true}
		first, _ := once(t, needs, map[string]string{"a.yaml": text})
		second, _ := once(t, needs, map[string]string{"a.yaml": text})
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}
	})
}
