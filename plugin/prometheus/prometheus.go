// Package prometheus is the prometheus directive: what the process has done, in numbers, under CoreDNS's names.
package prometheus

import (
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Metrics are those of the process. They count on whatever becomes of a Corefile.
type Metrics struct {
	registry *client.Registry
	runtime  client.Collector
	all      bool // runtime shows all
	panics   client.Counter
	enabled  enabled
	shards   int

	mu     sync.Mutex
	series map[labels]*series
}

// New makes the metrics of the process. e.Metrics is not looked at: the registry is made here, see Registry.
func New(e env.Env) *Metrics {
	m := &Metrics{
		registry: client.NewRegistry(),
		runtime:  collectors.NewGoCollector(),
		panics: client.NewCounter(client.CounterOpts{
			Name: "coredns_panics_total", Help: "Panics that were survived while a query was answered.",
		}),
		shards: e.Shards,
		series: map[labels]*series{},
	}
	m.Enable(nil)
	build := client.NewGauge(client.GaugeOpts{
		Name: "coredns_build_info", Help: "1, with what the program was built from.",
		ConstLabels: client.Labels{"version": e.Version, "revision": e.Commit, "goversion": runtime.Version()},
	})
	build.Set(1)
	// CoreDNS shows it without the local directive too.
	localhost := client.NewCounter(client.CounterOpts{
		Name: "coredns_local_localhost_requests_total", Help: "Queries for names under localhost that the local directive answered.",
	})
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	m.registry.MustRegister(m, m.runtime, process, m.panics, &m.enabled, build, localhost)
	return m
}

// Registry is what /metrics shows.
func (m *Metrics) Registry() client.Registerer { return m.registry }

// Handler answers with the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Path is where it does.
const Path = "/metrics"

// ShowRuntime shows all that the Go runtime knows of itself, or a selection, from now on.
func (m *Metrics) ShowRuntime(all bool) {
	if all == m.all {
		return
	}
	m.registry.Unregister(m.runtime)
	m.all, m.runtime = all, collectors.NewGoCollector()
	if all {
		m.runtime = collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll))
	}
	m.registry.MustRegister(m.runtime)
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

// Enabled are the directives that see the queries of a block at one listener.
type Enabled struct {
	Server, Zone, View string
	Names              []string
}

// Enable says which directives see queries from now on.
func (m *Metrics) Enable(all []Enabled) {
	g := client.NewGaugeVec(client.GaugeOpts{
		Name: "coredns_plugin_enabled", Help: "1 for each directive of a server block that sees its queries.",
	}, []string{"server", "zone", "view", "name"})
	for _, e := range all {
		for _, name := range e.Names {
			g.WithLabelValues(e.Server, e.Zone, e.View, name).Set(1)
		}
	}
	m.enabled.now.Store(g)
}

// enabled is a collector whose gauges change all at once.
type enabled struct {
	now atomic.Pointer[client.GaugeVec]
}

// Describe implements prometheus.Collector.
func (e *enabled) Describe(ch chan<- *client.Desc) { e.now.Load().Describe(ch) }

// Collect implements prometheus.Collector.
func (e *enabled) Collect(ch chan<- client.Metric) { e.now.Load().Collect(ch) }

// Panic counts a panic.
func (m *Metrics) Panic() { m.panics.Inc() }
