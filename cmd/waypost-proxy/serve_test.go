package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/config"
	"github.com/waypost/waypost/proxy/conntrack"
	"github.com/waypost/waypost/proxy/nfnetlink"
	"github.com/waypost/waypost/proxy/nftables"
)

// memory is a kernel that only remembers.
type memory struct {
	mu      sync.Mutex
	routes  map[proxy.Frontend]*proxy.Route
	changed chan struct{}           // has a token after each call
	touched chan nftables.Intrusion // what others do
	before  []*proxy.Route          // what it had at the start
	fail    error                   // of Read
}

func newMemory() *memory {
	return &memory{changed: make(chan struct{}, 100), touched: make(chan nftables.Intrusion)}
}

func (m *memory) Sync(w *proxy.Wanted) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = map[proxy.Frontend]*proxy.Route{}
	for _, r := range w.Routes {
		m.routes[r.Frontend] = r
	}
	m.changed <- struct{}{}
	return nil
}

func (m *memory) Apply(c *proxy.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, change := range c.Routes {
		if change.New == nil {
			delete(m.routes, change.Old.Frontend)
		} else {
			m.routes[change.New.Frontend] = change.New
		}
	}
	m.changed <- struct{}{}
	return nil
}

func (m *memory) Read() ([]*proxy.Route, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	routes := append([]*proxy.Route(nil), m.before...)
	for _, r := range m.routes {
		routes = append(routes, r)
	}
	return routes, nil
}

func (m *memory) Listen() (watcher, error) { return m, nil }

func (m *memory) Run(ctx context.Context, changed func(nftables.Intrusion)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case i := <-m.touched:
			changed(i)
		}
	}
}

func (m *memory) String() string { return "a test's memory" }

// flowMemory notes how often it was called, and has always removed two flows.
type flowMemory struct{ calls chan string }

func (f flowMemory) Sync(installed []*proxy.Route, w *proxy.Wanted) {
	f.calls <- fmt.Sprintf("%d after %d", len(w.Routes), len(installed))
}

func (f flowMemory) Expect(*proxy.Changes) {}

func (f flowMemory) Apply(c *proxy.Changes) { f.calls <- fmt.Sprintf("%d more", len(c.Routes)) }

func (f flowMemory) Run(ctx context.Context, report func(conntrack.Pass)) {
	report(conntrack.Pass{Family: "IPv4", Removed: 2, Took: time.Millisecond})
	<-ctx.Done()
}

// nodeWith is a node with a kernel and flows that only remember, and files of its own.
func nodeWith(t *testing.T, k *memory) node {
	return node{
		kernel: k, flows: flowMemory{make(chan string, 100)}, root: t.TempDir(),
		removeKubeProxy: func() ([]string, error) { return nil, nil },
	}
}

// freeAddresses returns two addresses of the loopback interface that nothing listens on. They are not the same.
func freeAddresses(t *testing.T) (one, two string) {
	t.Helper()
	var all [2]string
	for i := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once both are chosen
		all[i] = l.Addr().String()
	}
	return all[0], all[1]
}

// away is for an API server that is not there. Nothing is given this port by chance.
const away = "--master=http://127.0.0.1:1"

// running is a proxy that serves.
type running struct {
	t                *testing.T
	kernel           *memory
	node             node
	healthz, metrics string
	log              *bytes.Buffer // to be read after end
	stop             context.CancelFunc
	done             chan error
}

func start(t *testing.T, k *memory, args ...string) *running {
	t.Helper()
	return startOn(t, nodeWith(t, k), args...)
}

func startOn(t *testing.T, n node, args ...string) *running {
	t.Helper()
	k := n.kernel.(*memory)
	r := &running{t: t, kernel: k, log: &bytes.Buffer{}, done: make(chan error, 1)}
	r.healthz, r.metrics = freeAddresses(t)
	args = append([]string{"--node-name=n1", "--healthz-bind-address=" + r.healthz, "--metrics-bind-address=" + r.metrics}, args...)
	c, err := config.ParseCommand(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.node = n
	go func() { r.done <- serve(ctx, c, r.node, r.log) }()
	return r
}

// end has it end, and returns its log.
func (r *running) end() string {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
	return r.log.String()
}

func (r *running) get(url string) (int, string) {
	r.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (r *running) routes(args ...string) (code int, out, messages string) {
	var o, m bytes.Buffer
	code = runRoutes(append([]string{"--metrics-bind-address=" + r.metrics}, args...), r.kernel.Read, &o, &m)
	return code, o.String(), m.String()
}

const wantRoutes = `prod/idle
  10.96.0.2:5432/tcp  rejected: no endpoint serves
  tcp, IPv4: 0 of 0 endpoints
  refused: external IP 10.96.0.1: it is a ClusterIP
prod/web
  10.96.0.1:80/tcp    to 2 endpoints; masqueraded unless from a Pod
  203.0.113.1:80/tcp  Pods and the node to 2 endpoints, others to 1 endpoint on this node
  *4:30080/tcp        Pods and the node to 2 endpoints, others to 1 endpoint on this node
  http/tcp, IPv4: 2 of 3 endpoints
    10.244.0.1:8080  on n1  ready
    10.244.1.1:8080  on n2  ready
    10.244.1.2:8080  on n2  unready  not used: it is not ready
`

// TestServe runs all of the program but the kernel: manifests become routes, and every page tells of them.
func TestServe(t *testing.T) {
	r := start(t, newMemory(), "--manifests=testdata/cluster.yaml", "--cluster-cidr=10.244.0.0/16")
	<-r.kernel.changed
	for code := 0; code != 200; { // the kernel has the routes, and the page will know at once
		code, _ = r.get("http://" + r.healthz + "/healthz")
	}
	if code, body := r.get("http://" + r.healthz + "/livez"); code != 200 || !strings.Contains(body, `"healthy":true`) {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := r.get("http://" + r.metrics + "/proxyMode"); code != 200 || body != "nftables" {
		t.Errorf("/proxyMode: %d %s", code, body)
	}
	if _, body := r.get("http://" + r.metrics + "/configz"); !strings.Contains(body, `{"kubeproxy.config.k8s.io":{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1"`) {
		t.Errorf("/configz: %s", body)
	}
	if _, body := r.get("http://" + r.metrics + "/metrics"); !strings.Contains(body, `waypost_proxy_routes{verdict="split"} 2`) {
		t.Errorf("/metrics: %s", body)
	}
	if code, out, messages := r.routes(); code != exitOK || out != wantRoutes || messages != "" {
		t.Errorf("routes: %d\n%s%s\nwant:\n%s", code, out, messages, wantRoutes)
	}
	if said := <-r.node.flows.(flowMemory).calls; said != "4 after 0" {
		t.Errorf("flows were told %s", said)
	}
	if _, body := r.get("http://" + r.metrics + "/metrics"); !strings.Contains(body, `kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 2`) {
		t.Errorf("/metrics: %s", body)
	}
	log := r.end()
	for _, want := range []string{
		"[WARNING] not all of conntrack's settings have an effect: ",
		"[INFO] Waypost-proxy-" + version + " on node n1, for a test's memory\n",
		"[WARNING] Service prod/idle: external IP 10.96.0.1 is refused: it is a ClusterIP\n",
		"[INFO] routes are in the kernel: 4, after ",
		"[INFO] ending; the routes stay in the kernel\n",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

func TestServeFollowsManifestsAndRepairs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	text, err := os.ReadFile("testdata/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, text)
	r := start(t, newMemory(), "--manifests="+path)
	<-r.kernel.changed
	replace(t, path, bytes.Replace(text, []byte("10.244.1.1"), []byte("10.244.1.9"), 1))
	<-r.kernel.changed
	if _, out, _ := r.routes("prod/web"); !strings.Contains(out, "10.244.1.9:8080  on n2  ready") {
		t.Errorf("routes:\n%s", out)
	}
	r.kernel.touched <- nftables.Intrusion{Process: "nft", PID: 7}
	<-r.kernel.changed
	if log := r.end(); !strings.Contains(log, "[WARNING] a test's memory: changed by nft (pid 7); putting it right\n") {
		t.Errorf("the log is\n%s", log)
	}
}

// replace makes text a file's content at once.
func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRestart: what the kernel has is taken over slot by slot, and nothing is written that is there already.
func TestRestart(t *testing.T) {
	first := start(t, newMemory(), "--manifests=testdata/cluster.yaml")
	<-first.kernel.changed
	first.end()
	second := newMemory()
	for f, r := range first.kernel.routes {
		moved := &proxy.Route{Frontend: f, Verdict: r.Verdict, Masquerade: r.Masquerade, Local: r.Local}
		for i := range r.Endpoints {
			moved.Endpoints = append(moved.Endpoints, r.Endpoints[len(r.Endpoints)-1-i])
		}
		second.before = append(second.before, moved)
	}
	again := start(t, second, "--manifests=testdata/cluster.yaml")
	<-again.kernel.changed
	if said := <-again.node.flows.(flowMemory).calls; said != "4 after 4" {
		t.Errorf("flows were told %s", said)
	}
	again.end()
	for _, had := range second.before {
		if has := second.routes[had.Frontend]; fmt.Sprint(has.Endpoints) != fmt.Sprint(had.Endpoints) {
			t.Errorf("%s has moved its endpoints: %v", had, has)
		}
	}
}

// TestOtherNodesAddresses: who may write Services gets no other node's address either, unless that is allowed.
func TestOtherNodesAddresses(t *testing.T) {
	text, err := os.ReadFile("testdata/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	text = bytes.Replace(text, []byte("externalIPs: [10.96.0.1]"), []byte("externalIPs: [192.0.2.20]"), 1)
	replace(t, path, append(text, `
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}, {type: ExternalIP, address: 192.0.2.20}]}
`...))
	for _, c := range []struct {
		flag    string
		routes  int
		refused bool
	}{
		{"--allow-node-external-ips=false", 4, true},
		{"--allow-node-external-ips", 5, false},
		{"--feature-gates=AllowServiceExternalIPs=false", 4, false},
	} {
		r := start(t, newMemory(), "--manifests="+path, c.flag)
		<-r.kernel.changed
		log := r.end()
		if refused := strings.Contains(log, "external IP 192.0.2.20 is refused: it is the address of a node\n"); refused != c.refused || len(r.kernel.routes) != c.routes {
			t.Errorf("%s: %d routes, want %d; the log is\n%s", c.flag, len(r.kernel.routes), c.routes, log)
		}
	}
}

// TestNodesAreAskedFor: other Nodes are only where their addresses matter.
func TestNodesAreAskedFor(t *testing.T) {
	for args, want := range map[string]bool{
		"": true, "--allow-node-external-ips": false, "--feature-gates=AllowServiceExternalIPs=false": false,
	} {
		c, err := config.ParseCommand(strings.Fields(args), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		p := &process{command: c, settings: c.Settings, node: "n1"}
		if n := p.needs(); n.NodeAddresses != want || n.NodeName != "n1" {
			t.Errorf("%q: %+v", args, n)
		}
	}
}

// TestKubeProxysLeftoversGo: they go once there are routes in their place, and what does not go is told.
func TestKubeProxysLeftoversGo(t *testing.T) {
	for _, c := range []struct {
		name    string
		removed []string
		err     error
		want    []string
	}{
		{"nothing", nil, nil, nil},
		{"all", []string{"table ip kube-proxy", "sets of ipset (12)"}, nil, []string{
			"[INFO] what kube-proxy has left behind is taken away: table ip kube-proxy, sets of ipset (12)",
		}},
		{"some", []string{"table ip kube-proxy"}, errors.Join(unix.EPERM, unix.EBUSY), []string{
			"[INFO] what kube-proxy has left behind is taken away: table ip kube-proxy",
			"[WARNING] what kube-proxy may have left behind is not all taken away: operation not permitted; device or resource busy; run waypost-proxy --cleanup as root",
		}},
	} {
		k := newMemory()
		n := nodeWith(t, k)
		asked := make(chan int, 1)
		n.removeKubeProxy = func() ([]string, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			asked <- len(k.routes)
			return c.removed, c.err
		}
		r := startOn(t, n, "--manifests=testdata/cluster.yaml")
		if routes := <-asked; routes != 4 {
			t.Errorf("%s: leftovers go while there are %d routes, want 4", c.name, routes)
		}
		var got []string
		for line := range strings.Lines(r.end()) {
			if strings.Contains(line, "left behind") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: the log says %q, want %q", c.name, got, c.want)
		}
		for i := range got {
			if !strings.HasSuffix(got[i], c.want[i]) {
				t.Errorf("%s: the log says %q, want %q", c.name, got[i], c.want[i])
			}
		}
	}
}

// TestKubeProxysLeftoversStay as long as there is nothing in their place.
func TestKubeProxysLeftoversStay(t *testing.T) {
	n := nodeWith(t, newMemory())
	n.removeKubeProxy = func() ([]string, error) {
		t.Error("leftovers go without routes in their place")
		return nil, nil
	}
	r := startOn(t, n, away)
	for err := io.EOF; err != nil; { // it is about to listen
		_, err = http.Get("http://" + r.healthz + "/livez")
	}
	r.end()
}

func TestOldKernelsAreTold(t *testing.T) {
	for release, want := range map[string]bool{
		"4.18.0-553.el8_10.x86_64": true, "5.12.19": true, "5.13.0": false, "6.1.0-57-amd64": false, "10.2": false, "": false,
	} {
		n := nodeWith(t, newMemory())
		folder := filepath.Join(n.root, "proc/sys/kernel")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(folder, "osrelease"), []byte(release+"\n"))
		r := startOn(t, n, "--manifests=testdata/cluster.yaml")
		<-r.kernel.changed
		line := "[ERROR] the kernel is " + release + ", and waypost-proxy needs 5.13 or later: "
		if log := r.end(); strings.Contains(log, line) != want || strings.Contains(log, "the kernel is ") != want {
			t.Errorf("%s: the log is\n%s", release, log)
		}
	}
}

// TestAPIAway: without the API server there is a state that waits and says so, and the kernel is left alone.
func TestAPIAway(t *testing.T) {
	r := start(t, newMemory(), away)
	for err := io.EOF; err != nil; { // it is about to listen
		_, err = http.Get("http://" + r.healthz + "/livez")
	}
	var body string
	for !strings.Contains(body, `"api":"no answer since `) {
		var code int
		if code, body = r.get("http://" + r.healthz + "/healthz"); code != 503 {
			t.Fatalf("/healthz: %d %s", code, body)
		}
	}
	if !strings.Contains(body, `"waiting":"for all services, endpointslices, nodes to be known"`) {
		t.Errorf("/healthz: %s", body)
	}
	if code, _ := r.get("http://" + r.healthz + "/livez"); code != 200 {
		t.Errorf("/livez: %d", code)
	}
	if log := r.end(); !strings.Contains(log, "connection refused") {
		t.Errorf("the log is\n%s", log)
	}
	if r.kernel.routes != nil {
		t.Errorf("the kernel was told %v", r.kernel.routes)
	}
}

func TestServeErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		args string
		read error
		want string
	}{
		{"--manifests=testdata", unix.EPERM, "operation not permitted: waypost-proxy needs the capability NET_ADMIN"},
		{"--manifests=testdata", &nfnetlink.Error{Errno: unix.EINVAL}, "invalid argument: waypost-proxy needs a kernel with nf_tables, CONFIG_NF_TABLES"},
		{"--manifests=testdata", io.EOF, "EOF: waypost-proxy needs the capability NET_ADMIN, and a kernel with nf_tables"},
		{"--kubeconfig=/nonexistent/file", nil, "reach the API server: stat /nonexistent/file: no such file or directory"},
		{"--kubeconfig=/nonexistent/file --master=http://127.0.0.1", nil, "reach the API server: stat /nonexistent/file: no such file or directory"},
		{"--manifests=testdata --bind-address-hard-fail --healthz-bind-address=" + taken.Addr().String(), nil, "address already in use"},
	} {
		command, err := config.ParseCommand(append([]string{"--metrics-bind-address=127.0.0.1:0"}, strings.Fields(c.args)...), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		k := newMemory()
		k.fail = c.read
		if err := serve(context.Background(), command, nodeWith(t, k), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %s", c.args, err, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args          string
		code          int
		out, messages string
	}{
		{"--version", exitOK, "Waypost-proxy-" + version, ""},
		{"--help", exitOK, "waypost-proxy routes [FLAG]...", ""},
		{"--nope", exitUsage, "", "command line: flag provided but not defined: -nope; see --help\n"},
		{"--proxy-mode=ipvs", exitUsage, "", "command line: mode: ipvs is not supported; set it to nftables, or leave it empty\n"},
		{"cleanup --help", exitOK, "waypost-proxy cleanup [own | kube-proxy]", ""},
		{"cleanup all", exitUsage, "", "command line: [\"all\"] is neither own nor kube-proxy\n"},
		{"check --help", exitOK, "waypost-proxy check [FLAG]...", ""},
		{"check --nope", exitUsage, "", "command line: flag provided but not defined: -nope; see --help\n"},
		{"check --proxy-mode=ipvs", exitUsage, "", "command line: mode: ipvs is not supported; set it to nftables, or leave it empty\n"},
		{"check --cluster-cidr 10.244.0.0/16,fd00::/48 --nodeport-addresses primary --iptables-min-sync-period 5s", exitOK,
			"note: iptables.minSyncPeriod: has no effect: changes are applied at once, and those that come meanwhile together\n" +
				"Pods are recognised by the addresses 10.244.0.0/16, fd00::/48\nNodePorts are open on the Node's own addresses\n" +
				"listens on 0.0.0.0:10256 for health and 127.0.0.1:10249 for metrics\nthe configuration can be used\n", ""},
		{"check --detect-local-mode NodeCIDR --metrics-bind-address 127.0.0.1:0", exitOK, "recognised by the Pod ranges of the Node\n", ""},
		{"check --detect-local-mode BridgeInterface --pod-bridge-interface cni0", exitOK, "recognised by the bridge cni0\n", ""},
		{"check --nodeport-addresses 10.0.0.0/8", exitOK, "by nothing, as there is no clusterCIDR: connections from outside to ClusterIPs are " +
			"not masqueraded\nNodePorts are open on the node's addresses in 10.0.0.0/8\n", ""},
		{"check --config ../../proxy/config/testdata/kubeadm.yaml", exitOK, "the configuration can be used\n", ""},
		{"routes --help", exitOK, "waypost-proxy routes [FLAG]... [NAMESPACE/NAME | NAMESPACE/]", ""},
		{"routes --nope", exitUsage, "", "command line: flag provided but not defined: -nope; see --help\n"},
		{"routes -o xml", exitUsage, "", "command line: -o \"xml\" is neither text nor json\n"},
		{"routes --kernel-only prod/web", exitUsage, "", "command line: the kernel does not know of Services: --kernel-only is for all routes\n"},
		{"routes web", exitUsage, "", "command line: \"web\" is not NAMESPACE/NAME or NAMESPACE/\n"},
	} {
		var out, messages strings.Builder
		code := run(strings.Fields(c.args), &out, &messages)
		if code != c.code || !strings.Contains(out.String(), c.out) || messages.String() != c.messages {
			t.Errorf("%s: %d %q %q; want %d %q %q", c.args, code, out.String(), messages.String(), c.code, c.out, c.messages)
		}
	}
}

func TestRoutesWhereTheKernelDiffers(t *testing.T) {
	r := start(t, newMemory(), "--manifests=testdata/cluster.yaml", "--cluster-cidr=10.244.0.0/16")
	<-r.kernel.changed
	r.kernel.mu.Lock()
	for f := range r.kernel.routes {
		switch f.Port {
		case 5432:
			delete(r.kernel.routes, f)
		case 30080:
			r.kernel.routes[proxy.Frontend{Address: f.Address, Protocol: f.Protocol, Port: 30081}] =
				&proxy.Route{Frontend: proxy.Frontend{Address: f.Address, Protocol: f.Protocol, Port: 30081}}
		}
	}
	r.kernel.mu.Unlock()
	code, out, messages := r.routes()
	want := strings.Replace(wantRoutes, "rejected: no endpoint serves\n", "rejected: no endpoint serves\n                      THE KERNEL DIFFERS: nothing\n", 1) +
		"in the kernel, and wanted by no Service\n  *4:30081/tcp reject\n"
	if code != exitDiffers || out != want || messages != "the kernel differs in 2 routes\n" {
		t.Errorf("routes: %d %s\n%s\nwant:\n%s", code, messages, out, want)
	}
	code, out, _ = r.routes("prod/idle", "-o", "json")
	wantJSON := `{"services":[
{"namespace":"prod","name":"idle","ports":[{"name":"","protocol":"tcp","family":"IPv4","routes":[{"address":"10.96.0.2","port":5432,"protocol":"tcp","verdict":"reject","kernel":"nothing"}],"endpoints":[]}],"refused":[{"what":"external IP 10.96.0.1","why":"it is a ClusterIP","reason":"cluster_ip"}]}
],"onlyInKernel":[]}
`
	if code != exitDiffers || out != wantJSON {
		t.Errorf("routes as JSON: %d\n%s\nwant:\n%s", code, out, wantJSON)
	}
	if code, out, messages = r.routes("--plan-only", "prod/none"); code != exitError || out != "" || messages != "there is no Service prod/none with a ClusterIP\n" {
		t.Errorf("of no Service: %d %s %s", code, out, messages)
	}
	r.end()
	if code, _, messages = r.routes(); code != exitError || !strings.HasPrefix(messages, "ask waypost-proxy on "+r.metrics+" for routes: ") {
		t.Errorf("without a proxy: %d %s", code, messages)
	}
	if code, out, _ = r.routes("--kernel-only"); code != exitOK || !strings.Contains(out, "  10.96.0.1:80/tcp prod/web:http forward 10.244.0.1:8080 10.244.1.1:8080 masquerade foreign\n") {
		t.Errorf("of the kernel alone: %d\n%s", code, out)
	}
}
