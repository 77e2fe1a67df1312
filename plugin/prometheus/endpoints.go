package prometheus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/env"
)

// Endpoints are the addresses of all prometheus directives of a Corefile. As in CoreDNS each shows the metrics of the whole
// process.
type Endpoints struct {
	metrics   *Metrics
	log       *slog.Logger
	addresses []string
	open      []*endpoint.Endpoint
}

// NewEndpoints makes an empty list.
func NewEndpoints(m *Metrics, e env.Env) *Endpoints { return &Endpoints{metrics: m, log: e.Log} }

// Add takes up one prometheus directive. Each address is served once.
func (p *Endpoints) Add(o Options) {
	if !slices.Contains(p.addresses, o.Address) {
		p.addresses = append(p.addresses, o.Address)
	}
	if o.RuntimeMetrics {
		p.metrics.ShowRuntime()
	}
}

// Start opens the endpoints. As in CoreDNS one that cannot be opened keeps nobody from being served; it is logged.
func (p *Endpoints) Start(context.Context) error {
	handler := promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{})
	for _, address := range p.addresses {
		e, err := endpoint.Open(address, "/metrics", handler)
		if err != nil {
			p.log.Error(fmt.Sprintf("Failed to start metrics handler: %v", err))
			continue
		}
		p.open = append(p.open, e)
	}
	return nil
}

// Stop closes the endpoints.
func (p *Endpoints) Stop() {
	for _, e := range p.open {
		e.Close()
	}
}

// Addrs are where the endpoints listen.
func (p *Endpoints) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, e := range p.open {
		addrs = append(addrs, e.Addr())
	}
	return addrs
}
