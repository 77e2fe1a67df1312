package route

import (
	"net/netip"
	"testing"
)

// apiAway has the API server be away at a start, and later on: the routes that there are stay, and the health page says so.
func (c *realCluster) apiAway(t *testing.T) {
	first := c.proxy(t, "waypost-proxy")
	c.set(t, with(service("web", everywhere), "b", "c")...)
	stop := make(chan struct{})
	held := c.hold(t, c.A, netip.AddrPortFrom(address("web", 0), 80), stop)
	first.Stop()
	c.control.APIServer.Stop()

	c.proxy(t, "waypost-proxy")
	status := netip.AddrPortFrom(address("node-1", 0), 10256)
	asks := `
		a * web:80 -> b sees a | c sees a
		outside * node-1:30080 -> b sees gateway | c sees node-1
	`
	c.becomes(t, c.Outside, status, "/healthz", 503, `"waiting":"for all services, endpointslices, nodes to be known","api":"no answer since`)
	c.becomes(t, c.Outside, status, "/livez", 200, "")
	c.check(t, asks)

	c.restartAPI(t)
	c.becomes(t, c.Outside, status, "/healthz", 200, `"nodeEligible":true`)
	c.check(t, asks)

	c.control.APIServer.Stop()
	c.becomes(t, c.Outside, status, "/healthz", 200, `"api":"no answer since`)
	c.check(t, asks)

	c.restartAPI(t)
	c.add(t, endpointsOf("web", "b")...)
	close(stop)
	if err := <-held; err != nil {
		t.Errorf("a connection was lost meanwhile: %v", err)
	}
	c.forgetFlows(t) // a new client may come by the port of an old one, and one over SCTP by its flow then
	c.check(t, "a * web:80 -> b sees a")
}

func (c *realCluster) restartAPI(t *testing.T) {
	t.Helper()
	if err := c.control.APIServer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}
