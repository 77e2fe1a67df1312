package route

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// labels has a Service be left to another proxy, by a label that comes and goes.
func (c *realCluster) labels(t *testing.T) {
	c.set(t, with(service("web", nil), "b")...)
	c.check(t, "a * web:80 -> b sees a")
	c.add(t, service("web", func(s *cluster.Service) { s.Routing.OtherProxy = true }))
	c.forgetFlows(t) // this is about new clients, which may come by the ports of old ones
	c.check(t, "a * web:80 -> silent")
	c.add(t, service("web", nil))
	c.forgetFlows(t)
	c.check(t, "a * web:80 -> b sees a")
}

// ipMode has a load balancer end connections itself: its address is none of the node's business then.
func (c *realCluster) ipMode(t *testing.T) {
	c.set(t, with(service("web", balancer), "b")...)
	c.check(t, "outside * balancer:80 -> b sees gateway")
	services := c.control.Client.CoreV1().Services("prod")
	s, err := services.Get(t.Context(), "web", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mode := core.LoadBalancerIPModeProxy
	for i := range s.Status.LoadBalancer.Ingress {
		s.Status.LoadBalancer.Ingress[i].IPMode = &mode
	}
	if _, err := services.UpdateStatus(t.Context(), s, meta.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.settled(t)
	c.forgetFlows(t) // a new client may come by the port of an old one
	c.check(t, "outside * balancer:80 -> silent")
}

// affinity has a client stay with its endpoint, whichever of the Service's addresses it uses, until the endpoint leaves.
func (c *realCluster) affinity(t *testing.T) {
	web := service("web", func(s *cluster.Service) { everywhere(s); s.Routing.AffinitySeconds = 300 })
	c.set(t, with(web, "b", "c", "node-2")...)
	for family := range 2 {
		who := func(to string) string {
			name, port, _ := strings.Cut(to, ":")
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			at := netip.AddrPortFrom(address(name, family), uint16(number))
			answer, _, _ := strings.Cut(c.A.Ask(cluster.TCP, at, Patience), " sees ")
			return answer
		}
		first := who("web:80")
		for _, to := range strings.Fields(strings.Repeat("web:80 external:80 balancer:80 node-1:30080 ", 5)) {
			if got := who(to); got != first {
				t.Errorf("a is sent to %q at %s, and was sent to %q", got, to, first)
			}
		}
	}
}

// udpFlows has clients that go on sending from one port follow the endpoints.
func (c *realCluster) udpFlows(t *testing.T) {
	c.set(t, with(service("web", everywhere), "b")...)
	inside := c.talker(t, c.A, netip.AddrPortFrom(address("web", 0), 80))
	outside := c.talker(t, c.Outside, netip.AddrPortFrom(address("node-1", 0), 30080))
	for _, k := range []*talker{inside, outside} {
		k.expect("b")
	}
	c.add(t, endpointsOf("web", "c")...)
	for _, k := range []*talker{inside, outside} {
		c.eventually(t, Patience, "the client is answered by c", func() bool { return k.says(Silence) == "c" })
	}
}
