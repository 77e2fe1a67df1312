package nodes

import (
	"strings"
	"testing"
	"time"
)

// Rates of questions, of each node's dnsperf. CoreDNS has to serve all alone for seconds, while its rollout starts what needs
// the same processors, and what its socket's small buffer does not hold is lost.
const (
	gentleRate    = 100
	floodRate     = 300
	longFloodRate = 2500
)

// swap puts Waypost in CoreDNS's place, restarts it some times, and goes back, under traffic that must not lose anything.
func (c *town) swap(t *testing.T) {
	restarts, queries, rate := 3, 0, floodRate
	if *long {
		restarts, queries, rate = 20, 1_000_000, longFloodRate
	}
	endpoints := c.follow(t, "kube-system", "kube-dns")
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	begun := time.Now()
	c.setImage(t, waypostImage)
	flood := c.flood(t, rate)
	flooded := time.Now()
	for done := 0; done < restarts || int(time.Since(flooded).Seconds())*rate*len(c.Nodes) < queries; done++ {
		c.restartDNS(t)
		restarts = max(restarts, done+1)
	}
	l := flood.stop(t)
	c.setImage(t, corednsImage)
	l = traffic.stop(t).plus(l)
	t.Logf("swap to Waypost, %d rolling restarts and swap back in %v: %d of %d queries and %d of %d HTTP requests lost", restarts,
		time.Since(begun).Round(time.Second), l.queriesLost, l.queries, l.requestsLost, l.requests)
	if l.queries == 0 || l.requests == 0 || l.queriesLost > 0 || l.requestsLost > 0 {
		t.Errorf("lost were:\n%s\nthe endpoints of the DNS were:\n%s", strings.Join(l.what, "\n"), endpoints)
	}
}

// setImage does what an operator does, and returns once nothing of the image before runs any more.
func (c *town) setImage(t *testing.T, image string) {
	t.Helper()
	c.kubectl(t, "-n", "kube-system", "set", "image", "deployment/coredns", "coredns="+image)
	c.awaitDNS(t)
}

// restartDNS does a rolling restart of the DNS.
func (c *town) restartDNS(t *testing.T) {
	t.Helper()
	c.kubectl(t, "-n", "kube-system", "rollout", "restart", "deployment/coredns")
	c.awaitDNS(t)
}

// awaitDNS returns once the DNS Deployment has been rolled out and its former Pods are gone.
func (c *town) awaitDNS(t *testing.T) {
	t.Helper()
	c.rolledOut(t, "kube-system", "coredns")
	eventually(t, "the former Pods to go", func() error { return c.countPods(t, "kube-system", "k8s-app=kube-dns", 2) })
}
