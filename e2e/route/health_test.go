package route

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// page is what a client is told over HTTP.
type page struct {
	code   int // 0 where nobody answers
	header http.Header
	body   string
}

// get asks for a page from the namespace.
func (s *Space) get(at netip.AddrPort, path string) (p page) {
	err := s.Do(func() error {
		conn, err := dial(cluster.TCP, at, Patience)
		if err != nil {
			return err
		}
		p, err = getOver(conn, path)
		return err
	})
	if err != nil {
		p.body = outcome("", err)
	}
	return p
}

func getOver(conn net.Conn, path string) (p page, err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return p, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return p, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return p, err
	}
	body, err := io.ReadAll(response.Body)
	return page{response.StatusCode, response.Header, string(body)}, err
}

// becomes waits until a page has a status and says something.
func (c *realCluster) becomes(t *testing.T, from *Space, at netip.AddrPort, path string, code int, says string) {
	t.Helper()
	var last page
	ok := func() bool {
		last = from.get(at, path)
		return last.code == code && strings.Contains(last.body, says)
	}
	for end := time.Now().Add(Patience); !ok(); {
		if time.Now().After(end) {
			t.Errorf("%s%s is %d: %s; want %d with %q", at, path, last.code, last.body, code, says)
			return
		}
	}
}

// A load balancer learns on the healthCheckNodePort which nodes have endpoints.
func (c *realCluster) healthChecks(t *testing.T) {
	balanced := func(s *cluster.Service) { balancer(s); s.Routing.ExternalLocal = true }
	c.set(t, with(service("web", balanced), "b", "c")...)
	s, err := c.control.Client.CoreV1().Services("prod").Get(t.Context(), "web", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(s.Spec.HealthCheckNodePort)
	if port == 0 {
		t.Fatal("the Service has no healthCheckNodePort")
	}
	for family := range 2 {
		at := netip.AddrPortFrom(address("node-1", family), port)
		c.becomes(t, c.Outside, at, "/", 200, `"localEndpoints": 1`)
	}
	at := netip.AddrPortFrom(address("node-1", 0), port)
	p := c.Outside.get(at, "/")
	var told struct {
		Service struct{ Namespace, Name string }
		Healthy bool `json:"serviceProxyHealthy"`
	}
	if err := json.Unmarshal([]byte(p.body), &told); err != nil || told.Service.Namespace != "prod" || told.Service.Name != "web" || !told.Healthy {
		t.Errorf("the check says %s (%v)", p.body, err)
	}
	if weight := p.header.Get("X-Load-Balancing-Endpoint-Weight"); weight != "1" {
		t.Errorf("the weight is %q", weight)
	}
	// Endpoints that are being deleted get what comes, and a load balancer is to send no more.
	c.add(t, endpointsOf("web", "b/terminating")...)
	c.becomes(t, c.Outside, at, "/", 503, `"localEndpoints": 0`)
	c.check(t, "outside tcp balancer:80 -> b sees outside")
	c.add(t, endpointsOf("web", "c")...)
	c.becomes(t, c.Outside, at, "/", 503, `"localEndpoints": 0`)
	c.add(t, service("web", balancer))
	c.becomes(t, c.Outside, at, "/", 0, "refused")
}

// A Node that is about to go gets no new connections from load balancers; the process on it lives.
func (c *realCluster) nodeLeaves(t *testing.T) {
	at := netip.AddrPortFrom(address("node-1", 0), 10256)
	nodes := c.control.Client.CoreV1().Nodes()
	expect := func(code int) {
		t.Helper()
		c.becomes(t, c.Outside, at, "/healthz", code, fmt.Sprintf(`"nodeEligible":%t`, code == 200))
		c.becomes(t, c.Outside, at, "/livez", 200, "")
	}
	change := func(how func(*core.Node)) {
		t.Helper()
		n, err := nodes.Get(t.Context(), "node-1", meta.GetOptions{})
		if err == nil {
			how(n)
			_, err = nodes.Update(t.Context(), n, meta.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(200)
	change(func(n *core.Node) {
		n.Spec.Taints = []core.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: core.TaintEffectNoSchedule}}
	})
	expect(503)
	change(func(n *core.Node) { n.Spec.Taints = nil })
	expect(200)
	change(func(n *core.Node) { n.Finalizers = []string{"waypost.example/not-yet"} })
	if err := nodes.Delete(t.Context(), "node-1", meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(503)
	change(func(n *core.Node) { n.Finalizers = nil })
	expect(503) // there is none any more
	if err := c.createNode(t.Context(), "node-1"); err != nil {
		t.Fatal(err)
	}
	expect(200)
}
