package forward

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/upstream"
)

// Metrics are what all forward directives of the process count, under CoreDNS's names.
type Metrics struct {
	broken   prometheus.Counter
	rejected prometheus.Counter
	servers  *upstream.Metrics
}

// NewMetrics registers the metrics, of which CoreDNS shows those without labels whether or not there is a forward directive.
func NewMetrics(e env.Env) (*Metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "coredns", Subsystem: "forward", Name: name, Help: help}
	}
	m := &Metrics{
		broken:   prometheus.NewCounter(opts("healthcheck_broken_total", "Questions for which all upstream servers were out of use.")),
		rejected: prometheus.NewCounter(opts("max_concurrent_rejects_total", "Questions refused because too many were waiting.")),
		servers:  upstream.NewMetrics("forward"),
	}
	s := m.servers
	for _, register := range []func() error{
		func() (err error) { m.broken, err = env.Register(e, m.broken); return },
		func() (err error) { m.rejected, err = env.Register(e, m.rejected); return },
		func() (err error) { s.Duration, err = env.Register(e, s.Duration); return },
		func() (err error) { s.Failures, err = env.Register(e, s.Failures); return },
		func() (err error) { s.Hits, err = env.Register(e, s.Hits); return },
		func() (err error) { s.Misses, err = env.Register(e, s.Misses); return },
		func() (err error) { s.Wrong, err = env.Register(e, s.Wrong); return },
	} {
		if err := register(); err != nil {
			return nil, err
		}
	}
	return m, nil
}
