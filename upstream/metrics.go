package upstream

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
)

// Metrics are what servers count, under CoreDNS's names. They are collectors to be registered; of the ones that are there
// already, Servers count on in those.
type Metrics struct {
	Name     string                   // of the directive, the label proxy_name
	Duration *prometheus.HistogramVec // until a reply: proxy_name, to, rcode
	Failures *prometheus.CounterVec   // of probes: proxy_name, to
	Hits     *prometheus.CounterVec   // connections and ports that were used again: proxy_name, to, proto
	Misses   *prometheus.CounterVec   // those that had to be opened: proxy_name, to, proto
	Wrong    *prometheus.CounterVec   // Waypost's own: what came and was no reply to anything: proxy_name, to
}

// NewMetrics makes the metrics of the directive called name.
func NewMetrics(name string) *Metrics {
	buckets := prometheus.ExponentialBuckets(0.00025, 2, 16)
	labels := []string{"proxy_name", "to"}
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "coredns", Subsystem: "proxy", Name: name, Help: help}
	}
	return &Metrics{
		Name: name,
		Duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "coredns", Subsystem: "proxy", Name: "request_duration_seconds", Buckets: buckets,
			Help: "Time from asking an upstream server to its reply.",
		}, append(labels, "rcode")),
		Failures: prometheus.NewCounterVec(opts("healthcheck_failures_total", "Probes of upstream servers that had no reply."), labels),
		Hits:     prometheus.NewCounterVec(opts("conn_cache_hits_total", "Questions for which a connection was there."), append(labels, "proto")),
		Misses:   prometheus.NewCounterVec(opts("conn_cache_misses_total", "Questions for which a connection was opened."), append(labels, "proto")),
		Wrong: prometheus.NewCounterVec(opts("wrong_replies_total",
			"Messages that came where replies are awaited, and were none: forged, broken or too late. Waypost's own."), labels),
	}
}

// serverMetrics are those of one server.
type serverMetrics struct {
	duration *prometheus.HistogramVec // of this server: rcode
	rcodes   [usualRcodes]atomic.Pointer[prometheus.Observer]
	failures prometheus.Counter
	wrong    prometheus.Counter
	udp, tcp connMetrics
}

// connMetrics count how connections, or UDP ports, are come by.
type connMetrics struct{ hits, misses prometheus.Counter }

// usualRcodes is how many response codes have their series at hand.
const usualRcodes = 16

// of makes the metrics of one server.
func (m *Metrics) of(s *Server) *serverMetrics {
	conns := func(proto string) connMetrics {
		return connMetrics{m.Hits.WithLabelValues(m.Name, s.name, proto), m.Misses.WithLabelValues(m.Name, s.name, proto)}
	}
	curried := m.Duration.MustCurryWith(prometheus.Labels{"proxy_name": m.Name, "to": s.name}).(*prometheus.HistogramVec)
	metrics := &serverMetrics{
		duration: curried,
		failures: m.Failures.WithLabelValues(m.Name, s.name),
		wrong:    m.Wrong.WithLabelValues(m.Name, s.name),
	}
	switch s.config.Protocol {
	case Plain:
		metrics.udp, metrics.tcp = conns("udp"), conns("tcp")
	case TLS:
		metrics.tcp = conns("tcp-tls")
	}
	return metrics
}

// replied counts a reply. A response code is shown from its first reply on.
func (m *serverMetrics) replied(rcode message.Rcode, took time.Duration) {
	if rcode >= usualRcodes {
		m.duration.WithLabelValues(RcodeName(rcode)).Observe(took.Seconds())
		return
	}
	o := m.rcodes[rcode].Load()
	if o == nil {
		series := m.duration.WithLabelValues(RcodeName(rcode))
		o = &series
		m.rcodes[rcode].Store(o)
	}
	(*o).Observe(took.Seconds())
}

// RcodeName is the response code as the label rcode has it.
func RcodeName(rcode message.Rcode) string {
	if name, ok := dns.RcodeToString[int(rcode)]; ok {
		return name
	}
	return strconv.Itoa(int(rcode))
}
