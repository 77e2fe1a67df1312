package grpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/upstream"
)

// metrics are what all grpc directives of the process count, under CoreDNS's names.
type metrics struct {
	requests  *prometheus.CounterVec   // that had a reply: to
	responses *prometheus.CounterVec   // the replies: rcode, to
	duration  *prometheus.HistogramVec // until a reply: to
}

func newMetrics(e env.Env) (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "coredns", Subsystem: "grpc", Name: name, Help: help}
	}
	m := &metrics{
		requests:  prometheus.NewCounterVec(opts("requests_total", "Questions that an upstream server has replied to."), []string{"to"}),
		responses: prometheus.NewCounterVec(opts("responses_total", "Replies of upstream servers by response code."), []string{"rcode", "to"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "coredns", Subsystem: "grpc", Name: "request_duration_seconds", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
			Help: "Time from asking an upstream server to its reply.",
		}, []string{"to"}),
	}
	for _, register := range []func() error{
		func() (err error) { m.requests, err = env.Register(e, m.requests); return },
		func() (err error) { m.responses, err = env.Register(e, m.responses); return },
		func() (err error) { m.duration, err = env.Register(e, m.duration); return },
	} {
		if err := register(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// replied counts a reply.
func (m *metrics) replied(to string, rcode message.Rcode, took time.Duration) {
	m.requests.WithLabelValues(to).Inc()
	m.responses.WithLabelValues(upstream.RcodeName(rcode), to).Inc()
	m.duration.WithLabelValues(to).Observe(took.Seconds())
}
