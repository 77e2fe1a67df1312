package route

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
)

// The same stories are told of kube-proxy and of waypost-proxy, out of the same configuration file and the same API server:
// what the other tests expect is what kube-proxy does.
func TestWithAnAPIServer(t *testing.T) {
	c := newCluster(t)
	metrics := map[string][]string{}
	for _, program := range []string{"kube-proxy", "waypost-proxy"} {
		t.Run(program, func(t *testing.T) {
			c.proxy(t, program)
			for _, stories := range [][]story{
				clusterIPStories(), internalLocalStories(), externalStories(), sourceRangeStories(), nearStories(), joinedStories(), hairpinStories(),
			} {
				c.tell(t, stories)
			}
			t.Run("another proxy's label", c.labels)
			t.Run("a load balancer that is a proxy", c.ipMode)
			t.Run("session affinity", c.affinity)
			t.Run("UDP flows", c.udpFlows)
			t.Run("health checks", c.healthChecks)
			t.Run("a Node that leaves", c.nodeLeaves)
			metrics[program] = c.proxyMetrics(t)
		})
		// Who ends leaves its routes to the next one, or to whoever takes them away.
		if tables := c.Node1.nft(t, "list", "tables"); tables == "" {
			t.Errorf("%s has left nothing behind", program)
		}
		c.cleanup(t)
	}
	theirs, ours := metrics["kube-proxy"], metrics["waypost-proxy"]
	missing := slices.DeleteFunc(slices.Clone(theirs), func(name string) bool { return slices.Contains(ours, name) })
	if len(missing) > 0 || len(theirs) < 20 {
		t.Errorf("of kube-proxy's %d metrics, with their labels, waypost-proxy lacks\n%s\nand has\n%s", len(theirs),
			strings.Join(missing, "\n"), strings.Join(ours, "\n"))
	}
	t.Run("what routes prints", c.printed)
	c.cleanup(t)
	for _, flavour := range []string{"nft", "legacy"} {
		for _, how := range []string{"--cleanup", "routing in its place"} {
			t.Run("what kube-proxy's iptables mode leaves in iptables-"+flavour+", and "+how, func(t *testing.T) { c.iptablesMode(t, flavour, how) })
		}
	}
	t.Run("the API server is away", c.apiAway)
	t.Run("what DNS leads to", func(t *testing.T) {
		c.proxy(t, "waypost-proxy", "-v=2")
		t.Run("a name, and what it leads to", c.nameToAnswer)
		t.Run("a new DNS server", c.newServer)
		t.Run("a node with a DNS server dies", c.nodeDies)
	})
	c.cleanup(t)
}

// iptablesMode has kube-proxy route in its iptables mode, with a flavour of iptables, and waypost-proxy take away what it leaves.
func (c *realCluster) iptablesMode(t *testing.T, flavour, how string) {
	programs := t.TempDir()
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		target, err := exec.LookPath(strings.Replace(name, "tables", "tables-"+flavour, 1))
		if err == nil {
			err = os.Symlink(target, filepath.Join(programs, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	config := filepath.Join(lab.Folder(), "iptables.yaml")
	text := strings.NewReplacer("mode: nftables", "mode: iptables", "\nnftables:", "\niptables:").Replace(fmt.Sprintf(proxyConfig, c.access))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := c.start(t, c.Node1, "kube-proxy", "--config="+config)
	c.set(t, with(service("web", externalLocal), "b", "c")...)
	c.check(t, "a tcp web:80 -> b sees a | c sees a")
	p.Stop()
	saved := func(family string) string { return c.Node1.saved(t, family+"tables-"+flavour) }
	for _, family := range []string{"ip", "ip6"} {
		if rules := saved(family); strings.Count(rules, "-j KUBE-SEP-") == 0 {
			t.Errorf("kube-proxy has left no endpoint in %stables-%s:\n%s", family, flavour, rules)
		}
	}
	c.takesAway(t, how, func() (left string) { return withoutKubelets(saved("ip") + saved("ip6")) })
	c.Node1.nft(t, "flush", "ruleset") // iptables' own tables
}

// takesAway has waypost-proxy take away what kube-proxy has left in iptables.
func (c *realCluster) takesAway(t *testing.T, how string, left func() string) {
	t.Helper()
	gone := func() bool { return !strings.Contains(left(), "KUBE-") && !strings.Contains(left(), "-A ") }
	if how == "--cleanup" {
		p := c.start(t, c.Node1, "waypost-proxy", how)
		<-p.Done()
		if !gone() || !tookAway.MatchString(p.Log()) {
			t.Errorf("what is left after %s, which says %q:\n%s", how, p.Log(), left())
		}
		return
	}
	p := c.proxy(t, "waypost-proxy")
	c.eventually(t, Patience, "nothing is left", gone)
	c.check(t, "a tcp web:80 -> b sees a | c sees a")
	p.Stop()
	if !strings.Contains(p.Log(), "what kube-proxy has left behind is taken away: chains of table ") {
		t.Errorf("the log is\n%s", p.Log())
	}
}

// tookAway is what --cleanup says.
var tookAway = regexp.MustCompile(`^(taken away: chains of table .+\n)+$`)

// withoutKubelets is rules without the chain that kube-proxy makes too, as kubelet does, and does not take away either.
func withoutKubelets(rules string) string {
	lines := slices.Collect(strings.Lines(rules))
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "KUBE-FIREWALL") }), "")
}

// cleanup takes away what either proxy has left on node-1.
func (c *realCluster) cleanup(t *testing.T) {
	t.Helper()
	c.cleanupAt(t, c.Node1)
}

func (c *realCluster) cleanupAt(t *testing.T, node *Space) {
	t.Helper()
	p := c.start(t, node, "waypost-proxy", "--cleanup")
	<-p.Done()
	if tables := node.nft(t, "list", "tables"); tables != "" {
		t.Errorf("what is left after --cleanup, which says %q:\n%s", p.Log(), tables)
	}
}
