package nodes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
)

// policies are Pods with each dnsPolicy: what kubelet writes for them, and what they find.
var policies = []struct {
	name, spec, resolv string
	finds, misses      []string
}{
	{
		name: "clusterfirst", spec: "dnsPolicy: ClusterFirst",
		resolv: "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " + lab.DNSAddress + "\noptions ndots:5\n",
		finds: []string{
			"web", "web.default", "web.default.svc", "web.default.svc.cluster.local", "web.default.svc.cluster.local.", "db-0.db",
			"kubernetes", "www.example.org", "www.example.org.", "alpha.greek", "alpha.greek.default.svc.cluster.local",
		},
		misses: []string{"nowhere", "web.nowhere", "web.default.svc.", "nowhere.example.org"},
	}, {
		name: "hostnet", spec: "dnsPolicy: ClusterFirstWithHostNet\n  hostNetwork: true",
		resolv: "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " + lab.DNSAddress + "\noptions ndots:5\n",
		finds:  []string{"web", "www.example.org"}, misses: []string{"nowhere"},
	}, {
		name: "default", spec: "dnsPolicy: Default",
		resolv: "nameserver " + lab.NodeAddress + "\n",
		finds:  []string{"www.example.org"}, misses: []string{"web", "web.default.svc.cluster.local"},
	}, {
		name: "none", spec: `dnsPolicy: None
  dnsConfig: {nameservers: ["` + lab.DNSAddress + `"], searches: [svc.cluster.local], options: [{name: ndots, value: "2"}]}`,
		resolv: "search svc.cluster.local\nnameserver " + lab.DNSAddress + "\noptions ndots:2\n",
		finds:  []string{"web.default", "www.example.org"}, misses: []string{"web"},
	}, {
		// hostname and subdomain make the Pod's own name, which its /etc/hosts has and the DNS too.
		name: "named", spec: "hostname: alpha\n  subdomain: greek",
		resolv: "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " + lab.DNSAddress + "\noptions ndots:5\n",
		finds:  []string{"alpha.greek.default.svc.cluster.local"},
	},
}

// resolvers asks from Pods as programs do: through glibc, musl and Go.
func (c *town) resolvers(t *testing.T) {
	manifests := "apiVersion: v1\nkind: Service\nmetadata: {name: greek}\nspec: {clusterIP: None, selector: {policy: named}}\n"
	for _, p := range policies {
		manifests += fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {policy: %[1]s}}
spec:
  terminationGracePeriodSeconds: 0
  %s
  containers: [{name: tools, image: "%s", imagePullPolicy: Never}]
`, p.name, p.spec, toolsImage)
	}
	c.apply(t, manifests)
	alpha := c.awaitPod(t, "default", "named").Status.PodIP
	eventually(t, "the Pod's name", func() error { return equal(c.dig(t, "alpha.greek.default.svc.cluster.local"), []string{alpha}) })
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			c.awaitPod(t, "default", p.name)
			if got := c.exec(t, p.name, "cat", "/etc/resolv.conf"); got != p.resolv {
				t.Errorf("resolv.conf is\n%swant\n%s", got, p.resolv)
			}
			c.lookups(t, p.name, p.finds, p.misses)
		})
	}
	dashed := strings.ReplaceAll(alpha, ".", "-") + ".default.pod.cluster.local"
	if got := c.dig(t, dashed); len(got) != 1 || got[0] != alpha {
		t.Errorf("%s is %v", dashed, got)
	}
	c.kubectl(t, "delete", "pods", "-l", "policy", "--wait=true")
}

// lookups has each resolver in a Pod look each name up, in one go.
func (c *town) lookups(t *testing.T, pod string, finds, misses []string) {
	t.Helper()
	var script strings.Builder
	for _, resolver := range []string{"lookup-glibc", "lookup-musl", "visitor lookup"} {
		for _, name := range append(append([]string(nil), finds...), misses...) {
			fmt.Fprintf(&script, "%s %s >/dev/null 2>/tmp/why && echo '%[1]s %[2]s: found' || echo \"%[1]s %[2]s: $(cat /tmp/why)\"\n", resolver, name)
		}
	}
	missing := map[string]bool{}
	for _, name := range misses {
		missing[name] = true
	}
	for line := range strings.Lines(c.exec(t, pod, "sh", "-c", script.String())) {
		asked, said, _ := strings.Cut(strings.TrimSpace(line), ": ")
		name := asked[strings.LastIndexByte(asked, ' ')+1:]
		if (said == "found") == missing[name] {
			t.Errorf("%s: %s", asked, said)
		}
	}
}

// environment compares what kubelet tells a Pod of the Services there are with what the DNS says.
func (c *town) environment(t *testing.T) {
	c.apply(t, `
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: tools, image: "`+toolsImage+`", imagePullPolicy: Never}]
`)
	c.awaitPod(t, "default", "late")
	environment := map[string]string{}
	for line := range strings.Lines(c.exec(t, "late", "env")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		environment[name] = value
	}
	for _, s := range []struct{ variable, service, port string }{{"WEB", "web", "http"}, {"KUBERNETES", "kubernetes", "https"}} {
		name := s.service + ".default.svc.cluster.local"
		if got := c.dig(t, name); len(got) != 1 || got[0] != environment[s.variable+"_SERVICE_HOST"] {
			t.Errorf("%s is %v, and %s_SERVICE_HOST is %s", name, got, s.variable, environment[s.variable+"_SERVICE_HOST"])
		}
		want := "0 100 " + environment[s.variable+"_SERVICE_PORT"] + " " + name + "."
		if got := c.dig(t, "SRV", "_"+s.port+"._tcp."+name); len(got) != 1 || got[0] != want {
			t.Errorf("_%s._tcp.%s is %q, want %q", s.port, name, got, want)
		}
	}
	c.kubectl(t, "delete", "pod", "late", "--wait=false")
}
