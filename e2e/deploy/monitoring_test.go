package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
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
	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/e2e/lab"
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
	fill := strings.NewReplacer("$__rate_interval", "5m", "$dns", ".*", "$proxy", ".*")
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

// metrics: each metric that the dashboard or an alert names is there when the two programs are scraped.
func (c *town) metrics(t *testing.T) {
	c.occupy(t)
	present := map[string]bool{}
	pod := c.pods(t, "k8s-app=kube-dns")[0]
	missing := func(ctx context.Context) error {
		for _, at := range []string{net.JoinHostPort(pod.Status.PodIP, "9153"), net.JoinHostPort(c.Nodes[0].Address, "10249")} {
			if err := scrape(ctx, at, present); err != nil {
				return err
			}
		}
		var absent []string
		for where, query := range queries(t, c.folder("monitoring")) {
			for _, name := range metricName.FindAllString(query, -1) {
				if !present[name] {
					absent = append(absent, where+": "+name)
				}
			}
		}
		if slices.Sort(absent); len(absent) > 0 {
			return fmt.Errorf("not there:\n%s\nthere are:\n%s", strings.Join(absent, "\n"), strings.Join(slices.Sorted(maps.Keys(present)), " "))
		}
		return nil
	}
	eventually(t, "all metrics", func(ctx context.Context) error {
		// What is asked for twice is a cache hit; which of the Pods gets it is chance.
		for range 4 {
			if _, err := c.dig(ctx, "example.org"); err != nil {
				return err
			}
		}
		return missing(ctx)
	})
}

var metricName = regexp.MustCompile(`\b(coredns|waypost|kubeproxy|process)_[a-z0-9_]+`)

// scrape adds the names of the metrics of a program.
func scrape(ctx context.Context, address string, into map[string]bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("scrape %s: %s, %v", address, response.Status, err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			into[line[:strings.IndexAny(line, "{ ")]] = true
		}
	}
	return nil
}

// occupy gives the programs something to do: an upstream that answers, a headless Service whose endpoints come, a Corefile that
// is read again.
func (c *town) occupy(t *testing.T) {
	startUpstream(t)
	c.objects.mustApply(t, waypost, parse(t, []byte(`
apiVersion: v1
kind: Service
metadata: {name: servers, namespace: kube-system}
spec: {clusterIP: None, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
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

// startUpstream is the node's own resolver, which `forward . /etc/resolv.conf` leads to: it knows every name.
func startUpstream(t *testing.T) {
	t.Helper()
	socket, err := net.ListenPacket("udp", net.JoinHostPort(lab.NodeAddress, "53"))
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
			r.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)}}
		}
		_ = w.WriteMsg(r) // who asked will ask again
	})}
	go func() { _ = server.ActivateAndServe() }() // until the socket is closed
	t.Cleanup(func() { _ = server.Shutdown() })
}
