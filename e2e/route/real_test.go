package route

import (
	"testing"
)

// The same stories are told of kube-proxy and of waypost-proxy, out of the same configuration file and the same API server:
// what the other tests expect is what kube-proxy does.
func TestWithAnAPIServer(t *testing.T) {
	c := newCluster(t)
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
		})
		// Who ends leaves its routes to the next one, or to whoever takes them away.
		if tables := c.Node1.nft(t, "list", "tables"); tables == "" {
			t.Errorf("%s has left nothing behind", program)
		}
		c.cleanup(t)
	}
	t.Run("the API server is away", c.apiAway)
	t.Run("what DNS leads to", func(t *testing.T) {
		c.proxy(t, "waypost-proxy", "-v=2")
		t.Run("a name, and what it leads to", c.nameToAnswer)
		t.Run("a node with a DNS server dies", c.nodeDies)
	})
	c.cleanup(t)
}

// cleanup takes away what either proxy has left on node-1.
func (c *realCluster) cleanup(t *testing.T) {
	t.Helper()
	p := c.start(t, c.Node1, "waypost-proxy", "--cleanup")
	<-p.Done()
	if tables := c.Node1.nft(t, "list", "tables"); tables != "" {
		t.Errorf("what is left after --cleanup, which says %q:\n%s", p.Log(), tables)
	}
}
