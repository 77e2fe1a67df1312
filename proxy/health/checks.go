package health

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// Checks answers load balancers on the healthCheckNodePorts of Services: 200 while the node has a ready endpoint and the
// proxy is healthy, else 503.
type Checks struct {
	state *State
	log   *slog.Logger
	retry time.Duration
	ctx   context.Context
	stop  context.CancelFunc

	mu     sync.Mutex
	open   map[cluster.Key]*check
	ranges atomic.Pointer[[]netip.Prefix]
}

// check is one Service's.
type check struct {
	service cluster.Key
	port    uint16
	local   atomic.Int64
	close   context.CancelFunc
	done    <-chan error // closed when the port is free again
}

// NewChecks returns Checks without a Service, whose health is state's.
func NewChecks(state *State, log *slog.Logger) *Checks {
	c := &Checks{state: state, log: log, open: map[cluster.Key]*check{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.ranges.Store(&[]netip.Prefix{})
	return c
}

// Limit makes the local addresses in ranges those on which checks answer: those of NodePorts. Connections to others are
// closed as they come; so addresses that a node gets later need no new listener.
func (c *Checks) Limit(ranges []netip.Prefix) { c.ranges.Store(&ranges) }

// Set takes the news of some Services.
func (c *Checks) Set(news []proxy.HealthCheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range news { // a port may be another Service's now
		if now := c.open[h.Service]; now != nil && now.port != h.Port {
			now.close()
			now.waitForPort()
			delete(c.open, h.Service)
		}
	}
	for _, h := range news {
		if h.Port == 0 {
			continue
		}
		now := c.open[h.Service]
		if now == nil {
			now = c.begin(h)
			c.open[h.Service] = now
		}
		now.local.Store(int64(h.Local))
	}
}

// Close ends all checks.
func (c *Checks) Close() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.open {
		k.waitForPort()
	}
}

func (c *Checks) begin(h proxy.HealthCheck) *check {
	k := &check{service: h.Service, port: h.Port}
	ctx, cancel := context.WithCancel(c.ctx)
	listener := &Listener{
		Name: fmt.Sprintf("the health check of Service %s", h.Service), Address: ":" + strconv.Itoa(int(h.Port)),
		Handler: &checkHandler{check: k, state: c.state}, Admit: c.admits, Log: c.log, Retry: c.retry,
	}
	k.close = cancel
	_, k.done = listener.Start(ctx)
	return k
}

// waitForPort returns when the port is free again, once the check is closed.
func (k *check) waitForPort() {
	for range k.done { // without HardFail there is no error in it
	}
}

// admits reports whether a connection came to an address on which NodePorts are open.
func (c *Checks) admits(local net.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return false
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(*c.ranges.Load(), func(p netip.Prefix) bool { return p.Contains(a) })
}

type checkHandler struct {
	check *check
	state *State
}

// ServeHTTP implements http.Handler, in kube-proxy's words.
func (h *checkHandler) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	local, healthy := h.check.local.Load(), h.state.Report().Healthy
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.FormatInt(local, 10))
	if local > 0 && healthy {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, checkBody, h.check.service.Namespace, h.check.service.Name, local, healthy)
}

const checkBody = `{
	"service": {
		"namespace": %q,
		"name": %q
	},
	"localEndpoints": %d,
	"serviceProxyHealthy": %t
}`
