package cache

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// metrics are what all caches of the process count, under CoreDNS's names. It is a prometheus.Collector.
type metrics struct {
	shards int
	mu     sync.Mutex
	series map[labels]*series
}

// labels are what tells series from each other.
type labels struct{ server, zones, view string }

// series is what a cache counts of the queries that come by one listener, in shards.
type series struct {
	labels labels
	cache  atomic.Pointer[Cache] // the one that counts now
	shards []counters
}

// counters are those of one shard, which has its cache lines for itself.
type counters struct {
	requests, misses, prefetches, stale atomic.Uint64
	hits, evictions                     [2]atomic.Uint64 // by class
	_                                   [64]byte
}

func (n *counters) hit(k kind) { n.hits[k.class()].Add(1) }

// newMetrics makes the metrics, or returns those that are there.
func newMetrics(e env.Env) (*metrics, error) {
	return env.Register(e, &metrics{shards: e.Shards, series: make(map[labels]*series)})
}

// counters are those for a query.
func (c *Cache) counters(q *message.Query) *counters {
	for _, s := range *c.series.Load() {
		if s.labels.server == q.Listener {
			return &s.shards[q.Shard%len(s.shards)]
		}
	}
	s := c.metrics.of(labels{q.Listener, strings.Join(c.options.Zones, ","), c.view})
	s.cache.Store(c)
	for {
		old := c.series.Load()
		list := append(append([]*series(nil), *old...), s)
		if c.series.CompareAndSwap(old, &list) {
			return &s.shards[q.Shard%len(s.shards)]
		}
	}
}

// of is the series with these labels, new or already counting.
func (m *metrics) of(l labels) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.series[l]
	if !ok {
		s = &series{labels: l, shards: make([]counters, max(1, m.shards))}
		m.series[l] = s
	}
	return s
}

// The metrics, with the labels in CoreDNS's order. coredns_cache_drops_total is not counted: replies to other questions
// than the client's do not come as far as the cache.
var (
	entries     = desc("entries", "Replies that are kept.", "type")
	requests    = desc("requests_total", "Questions to the cache.")
	hits        = desc("hits_total", "Questions that were answered from the cache.", "type")
	misses      = desc("misses_total", "Questions that were not. Deprecated: it is requests less hits.")
	prefetches  = desc("prefetch_total", "Replies that were asked for before anybody needed them.")
	servedStale = desc("served_stale_total", "Questions that were answered with an expired reply.")
	evictions   = desc("evictions_total", "Replies that had to go for others.", "type")
	drops       = desc("drops_total", "Replies that were not kept because they were to another question.")
)

func desc(name, help string, typ ...string) *prometheus.Desc {
	names := append(append([]string{"server"}, typ...), "zones", "view")
	return prometheus.NewDesc("coredns_cache_"+name, help, names, nil)
}

var classes = [2]string{"success", "denial"}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{entries, requests, hits, misses, prefetches, servedStale, evictions, drops} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. As in CoreDNS what has never been counted is not shown.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.series {
		s.collect(ch)
	}
}

func (s *series) collect(ch chan<- prometheus.Metric) {
	sum := func(of func(*counters) *atomic.Uint64) (n uint64) {
		for i := range s.shards {
			n += of(&s.shards[i]).Load()
		}
		return n
	}
	plain := func(d *prometheus.Desc, n uint64) {
		if n > 0 {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), s.labels.server, s.labels.zones, s.labels.view)
		}
	}
	typed := func(d *prometheus.Desc, class int, kind prometheus.ValueType, n uint64) {
		if n > 0 || kind == prometheus.GaugeValue {
			ch <- prometheus.MustNewConstMetric(d, kind, float64(n), s.labels.server, classes[class], s.labels.zones, s.labels.view)
		}
	}
	plain(requests, sum(func(n *counters) *atomic.Uint64 { return &n.requests }))
	plain(misses, sum(func(n *counters) *atomic.Uint64 { return &n.misses }))
	plain(prefetches, sum(func(n *counters) *atomic.Uint64 { return &n.prefetches }))
	plain(servedStale, sum(func(n *counters) *atomic.Uint64 { return &n.stale }))
	for class := range classes {
		typed(hits, class, prometheus.CounterValue, sum(func(n *counters) *atomic.Uint64 { return &n.hits[class] }))
		typed(evictions, class, prometheus.CounterValue, sum(func(n *counters) *atomic.Uint64 { return &n.evictions[class] }))
	}
	if c := s.cache.Load(); c != nil {
		typed(entries, 0, prometheus.GaugeValue, uint64(c.stores.success.len()))
		typed(entries, 1, prometheus.GaugeValue, uint64(c.stores.denial.len()))
	}
}
