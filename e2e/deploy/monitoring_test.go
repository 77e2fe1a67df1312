package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/e2e/lab"
)

// The jobs by which Prometheus scrapes the two programs.
const (
	dnsJob   = "kube-dns"
	proxyJob = "waypost-proxy"
)

// queries are those of the dashboard and of the alerts, by where they stand, Grafana's variables filled in.
func queries(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	for file, into := range map[string]any{"dashboard.json": &dashboard, "alerts.yaml": &rules} {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$dns", dnsJob, "$proxy", proxyJob)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+", "+target.RefID] = fill.Replace(target.Expr)
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	return all
}

// TestPromtool: Prometheus reads every query, and the alerts do what their tests say.
func TestPromtool(t *testing.T) {
	const folder = "../../deploy/monitoring"
	promtool := func(args ...string) {
		t.Helper()
		cmd := exec.Command("promtool", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	promtool("check", "rules", folder+"/alerts.yaml")
	promtool("test", "rules", folder+"/alerts_test.yaml")

	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var panels []rule
	for where, query := range queries(t, folder) {
		if strings.HasPrefix(where, "panel ") {
			panels = append(panels, rule{fmt.Sprintf("panel:%d", len(panels)), query})
		}
	}
	if len(panels) < 30 {
		t.Errorf("only %d queries in the dashboard", len(panels))
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": panels}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	promtool("check", "rules", file)
}

// TestPodMonitor: it finds the companion's Pods, and the port that is the metrics'.
func TestPodMonitor(t *testing.T) {
	text, err := os.ReadFile("../../deploy/monitoring/podmonitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var monitor struct {
		Metadata struct{ Namespace string }
		Spec     struct {
			Selector            struct{ MatchLabels map[string]string }
			PodMetricsEndpoints []struct{ Port string }
		}
	}
	if err := yaml.Unmarshal(text, &monitor); err != nil {
		t.Fatal(err)
	}
	daemonSet := &apps.DaemonSet{}
	built := one(t, kustomize(t, "../../deploy/overlays/companion"), "DaemonSet", "waypost-proxy")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(built.Object, daemonSet); err != nil {
		t.Fatal(err)
	}
	template := daemonSet.Spec.Template
	if monitor.Metadata.Namespace != daemonSet.Namespace || !maps.Equal(monitor.Spec.Selector.MatchLabels, template.Labels) {
		t.Errorf("it looks in %s for %v, the Pods are in %s with %v", monitor.Metadata.Namespace, monitor.Spec.Selector.MatchLabels, daemonSet.Namespace, template.Labels)
	}
	if endpoints := monitor.Spec.PodMetricsEndpoints; len(endpoints) != 1 || !slices.ContainsFunc(template.Spec.Containers[0].Ports, func(p core.ContainerPort) bool {
		return p.Name == endpoints[0].Port && p.ContainerPort == 10249
	}) {
		t.Errorf("it scrapes %v, the Pods have %v", endpoints, template.Spec.Containers[0].Ports)
	}
}

// metrics: a Prometheus that scrapes the two programs has series for every query of the dashboard. It accepts every alert, and
// has series for all that it selects.
func (c *town) metrics(t *testing.T) {
	c.occupy(t)
	jobs := map[string][]string{dnsJob: c.metricsOf(t, "k8s-app=kube-dns", "9153"), proxyJob: c.metricsOf(t, "k8s-app=waypost-proxy", "10249")}
	wanted := map[string]string{}
	for _, target := range slices.Concat(jobs[dnsJob], jobs[proxyJob]) {
		wanted["target "+target] = fmt.Sprintf(`up{instance="%s"} == 1`, target)
	}
	alerts := map[string]string{}
	for where, query := range queries(t, c.folder("monitoring")) {
		if strings.HasPrefix(where, "panel ") {
			wanted[where] = query
			continue
		}
		alerts[where] = query
		for _, selector := range selectors(t, where, query) {
			wanted[where+", "+selector] = selector
		}
	}
	for where, only := range inTrouble {
		if !strings.Contains(alerts[where], only) {
			t.Errorf("%s does not select %s, which is known to have no series", where, only)
		}
	}
	startPrometheus(t, jobs)
	c.find(t, wanted)
	for where, query := range alerts {
		if _, err := series(t.Context(), query); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	t.Logf("Prometheus has series for %d queries and selectors, and accepts %d alerts", len(wanted), len(alerts))
}

// find returns once each expression wanted has had series, while the programs have something to do.
func (c *town) find(t *testing.T, wanted map[string]string) {
	t.Helper()
	missing := maps.Clone(wanted)
	eventually(t, "series of all that is asked for", func(ctx context.Context) error {
		// What is asked for twice is a cache hit; which of the Pods gets it is chance.
		for _, name := range []string{"example.org", "example.org", "example.org", "example.org", failing} {
			if _, err := c.dig(ctx, name); err != nil {
				return err
			}
		}
		for where, expression := range missing {
			n, err := series(ctx, expression)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", where, expression, err)
			}
			if n > 0 {
				delete(missing, where)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("there are none of\n%s", strings.Join(slices.Sorted(maps.Keys(missing)), "\n"))
		}
		return nil
	})
}

// metricsOf are the addresses at which the Pods with a label show their metrics.
func (c *town) metricsOf(t *testing.T, selector, port string) (addresses []string) {
	t.Helper()
	for _, pod := range c.pods(t, selector) {
		addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, port))
	}
	return addresses
}

var vector = regexp.MustCompile(`\b(coredns|waypost|kubeproxy|process)_[a-z0-9_]+(\{[^}]*\})?`)

// selectors are the series that an alert reads, but for those that only trouble brings.
func selectors(t *testing.T, where, query string) (all []string) {
	t.Helper()
	found := vector.FindAllString(query, -1)
	if len(found) == 0 {
		t.Errorf("%s selects nothing: %s", where, query)
	}
	for _, s := range found {
		if inTrouble[where] != s {
			all = append(all, s)
		}
	}
	return all
}

// inTrouble are selectors of alerts that have no series in a cluster in which all is well, and why.
var inTrouble = map[string]string{
	"alert WaypostAPIErrors":           `coredns_kubernetes_rest_client_requests_total{code!~"2.."}`, // the API server has refused nothing
	"alert WaypostLoop":                `coredns_loop_disabled_upstreams`,                            // no upstream has led back
	"alert WaypostSkippedObjects":      `coredns_kubernetes_skipped_objects_total`,                   // the API server sends nothing of the kind
	"alert WaypostProxySkippedObjects": `waypost_proxy_skipped_objects_total`,                        // as above
}

// occupy gives the programs something to do: an upstream that answers, a Service with an address and a headless one, whose
// endpoints come, a Corefile that is read again.
func (c *town) occupy(t *testing.T) {
	startUpstream(t)
	c.objects.mustApply(t, waypost, parse(t, []byte(`
apiVersion: v1
kind: Service
metadata: {name: servers, namespace: kube-system}
spec: {clusterIP: None, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: routed, namespace: kube-system}
spec: {selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
`)))
	for _, pod := range c.pods(t, "k8s-app=kube-dns") {
		pid, err := strconv.Atoi(c.process(t, pod, "waypost"))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGUSR1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// failing is a name that the node's own resolver fails at.
const failing = "fail.example.org"

// startUpstream is the node's own resolver, which `forward . /etc/resolv.conf` leads to: it knows every other name.
func startUpstream(t *testing.T) {
	t.Helper()
	socket, err := net.ListenPacket("udp", net.JoinHostPort(lab.NodeAddress, "53"))
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		switch {
		case strings.EqualFold(q.Question[0].Name, dns.Fqdn(failing)):
			r.Rcode = dns.RcodeServerFailure
		case q.Question[0].Qtype == dns.TypeA:
			header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
			r.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)}}
		}
		_ = w.WriteMsg(r) // who asked will ask again
	})}
	go func() { _ = server.ActivateAndServe() }() // until the socket is closed
	t.Cleanup(func() { _ = server.Shutdown() })
}
