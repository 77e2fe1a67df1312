// Package prometheus is the prometheus directive: what the process has done, in numbers, under CoreDNS's names.
package prometheus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/env"
)

// Metrics are those of the process. Every address shows all of them, as in CoreDNS.
type Metrics struct {
	registry *client.Registry
	runtime  client.Collector
	panics   client.Counter
	enabled  *client.GaugeVec
	shards   int

	mu     sync.Mutex
	series map[labels]*series

	log       *slog.Logger
	addresses []string
	endpoints []*endpoint.Endpoint
}

// New makes the metrics of the process. e.Metrics is not looked at: the registry is made here, see Registry.
func New(e env.Env) *Metrics {
	m := &Metrics{
		registry: client.NewRegistry(),
		runtime:  collectors.NewGoCollector(),
		panics: client.NewCounter(client.CounterOpts{
			Name: "coredns_panics_total", Help: "Panics that were survived while a query was answered.",
		}),
		enabled: client.NewGaugeVec(client.GaugeOpts{
			Name: "coredns_plugin_enabled", Help: "1 for each directive of a server block that sees its queries.",
		}, []string{"server", "zone", "view", "name"}),
		shards: e.Shards,
		series: map[labels]*series{},
		log:    e.Log,
	}
	build := client.NewGauge(client.GaugeOpts{
		Name: "coredns_build_info", Help: "1, with what the program was built from.",
		ConstLabels: client.Labels{"version": e.Version, "revision": e.Commit, "goversion": runtime.Version()},
	})
	build.Set(1)
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	m.registry.MustRegister(m, m.runtime, process, m.panics, m.enabled, build)
	return m
}

// Registry is what /metrics shows.
func (m *Metrics) Registry() client.Registerer { return m.registry }

// Add takes up one prometheus directive. Each address is served once.
func (m *Metrics) Add(o Options) {
	if !slices.Contains(m.addresses, o.Address) {
		m.addresses = append(m.addresses, o.Address)
	}
	if o.RuntimeMetrics && m.registry.Unregister(m.runtime) {
		m.runtime = collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll))
		m.registry.MustRegister(m.runtime)
	}
}

// Observer makes what counts the queries of one block at one listener. server is the listener as "dns://:53", plugin the
// directive of the block that stands behind prometheus, zones the block's, in presentation format. What was counted
// under the same labels before goes on.
func (m *Metrics) Observer(server, view, plugin string, zones []string) (*Observer, error) {
	o := &Observer{zones: map[message.Name]*series{}, root: m.counters(labels{server, ".", view, plugin})}
	for _, zone := range zones {
		name, err := message.ParseName(zone)
		if err != nil {
			return nil, fmt.Errorf("zone of %s: %w", server, err)
		}
		o.zones[name] = m.counters(labels{server, zone, view, plugin})
		o.only = o.zones[name]
	}
	if len(zones) > 1 {
		o.only = nil
	}
	return o, nil
}

// Dropped makes what counts the queries that no block of a listener had.
func (m *Metrics) Dropped(server string) *Dropped {
	return &Dropped{m.counters(labels{server: server, zone: "dropped"})}
}

// counters are those of the labels, new or already counting.
func (m *Metrics) counters(l labels) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.series[l]
	if !ok {
		s = &series{shards: make([]atomic.Pointer[counters], m.shards)}
		m.series[l] = s
	}
	return s
}

// Enabled says which directives see the queries of a block.
func (m *Metrics) Enabled(server, zone, view string, names []string) {
	for _, name := range names {
		m.enabled.WithLabelValues(server, zone, view, name).Set(1)
	}
}

// Panic counts a panic.
func (m *Metrics) Panic() { m.panics.Inc() }

// Start opens the endpoints. As in CoreDNS one that cannot be opened keeps nobody from being served; it is logged.
func (m *Metrics) Start(context.Context) error {
	handler := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	for _, address := range m.addresses {
		e, err := endpoint.Open(address, "/metrics", handler)
		if err != nil {
			m.log.Error(fmt.Sprintf("Failed to start metrics handler: %v", err))
			continue
		}
		m.endpoints = append(m.endpoints, e)
	}
	return nil
}

// Stop closes the endpoints.
func (m *Metrics) Stop() {
	for _, e := range m.endpoints {
		e.Close()
	}
}

// Addrs are where the endpoints listen.
func (m *Metrics) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, e := range m.endpoints {
		addrs = append(addrs, e.Addr())
	}
	return addrs
}
