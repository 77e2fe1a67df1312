package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/proxy/account"
)

// printed is what `waypost-proxy routes -o json` prints.
type printed struct {
	Services     []account.Service
	OnlyInKernel []account.Route
}

// differing are the routes that differ, as "10.96.0.1:80/tcp nothing".
func (p *printed) differing() (lines []string) {
	for _, s := range p.Services {
		for _, port := range s.Ports {
			for _, r := range port.Routes {
				if r.Kernel != "" {
					lines = append(lines, fmt.Sprintf("%s %s", r.Frontend(), r.Kernel))
				}
			}
		}
	}
	return lines
}

// routes runs `waypost-proxy routes -o json` on node-1, and returns what it prints and how it ends.
func (c *realCluster) routes(t *testing.T, arguments ...string) (p printed, code int, messages string) {
	t.Helper()
	var out, failed bytes.Buffer
	err := c.Node1.Do(func() error {
		command := exec.Command(c.peers.Path("waypost-proxy"), append([]string{"routes", "-o", "json"}, arguments...)...)
		command.Stdout, command.Stderr = &out, &failed
		return command.Run()
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &p); err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
	}
	return p, code, failed.String()
}

// printed: `waypost-proxy routes` says that the kernel has what is wanted, and what differs once somebody has changed it
// that nobody repairs.
func (c *realCluster) printed(t *testing.T) {
	p := c.proxy(t, "waypost-proxy")
	c.set(t, with(service("web", everywhere), "b", "c")...)
	got, code, messages := c.routes(t)
	if d := got.differing(); code != 0 || messages != "" || len(d) > 0 || len(got.OnlyInKernel) > 0 || len(got.Services) == 0 {
		t.Errorf("ended with %d, %q; %d Services, differing %q, only in the kernel %v", code, messages, len(got.Services), d, got.OnlyInKernel)
	}
	p.Stop()
	if _, code, messages := c.routes(t); code != 1 || !strings.Contains(messages, "127.0.0.1:10249") {
		t.Errorf("with nobody to ask, ended with %d, %q", code, messages)
	}

	web := address("web", 0)
	c.Node1.nft(t, "delete", "element", "ip", "waypost", "frontends", fmt.Sprintf("{ %s . tcp . 80 }", web))
	there := func(r account.Route) bool {
		return r.Frontend().String() == web.String()+":80/tcp" && r.Verdict == "forward"
	}
	if got, code, messages = c.routes(t, "--kernel-only"); code != 0 || messages != "" || len(got.OnlyInKernel) == 0 || slices.ContainsFunc(got.OnlyInKernel, there) {
		t.Errorf("of the kernel alone, ended with %d, %q: %v", code, messages, got.OnlyInKernel)
	}
	// What another node wants is not told here.
	other := c.start(t, c.Node2, "waypost-proxy", "--config="+filepath.Join(lab.Folder(), "proxy.yaml"))
	defer func() {
		other.Stop()
		c.cleanupAt(t, c.Node2)
	}()
	elsewhere := address("node-2", 0)
	c.becomes(t, c.Node1, netip.AddrPortFrom(elsewhere, 10256), "/healthz", 200, "")
	got, code, messages = c.routes(t, fmt.Sprintf("--metrics-bind-address=%s:10249", elsewhere), "prod/web")
	if code != 1 || !strings.Contains(messages, "it tells only who asks on its own node") || len(got.Services) > 0 {
		t.Errorf("ended with %d, %q; %d Services", code, messages, len(got.Services))
	}
}

var (
	metricLine  = regexp.MustCompile(`(?m)^(kubeproxy_[a-z_]+)(?:\{(.*)\})? `)
	metricLabel = regexp.MustCompile(`([a-z_]+)="`)
)

// proxyMetrics are the names and labels of kube-proxy's metrics that the program on node-1 has.
func (c *realCluster) proxyMetrics(t *testing.T) (all []string) {
	t.Helper()
	p := c.Node1.get(netip.MustParseAddrPort("127.0.0.1:10249"), "/metrics")
	if p.code != 200 {
		t.Fatalf("/metrics is %d: %s", p.code, p.body)
	}
	for _, line := range metricLine.FindAllStringSubmatch(p.body, -1) {
		name := line[1]
		for _, label := range metricLabel.FindAllStringSubmatch(line[2], -1) {
			name += " " + label[1]
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
