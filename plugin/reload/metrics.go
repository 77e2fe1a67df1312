package reload

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/env"
)

// Metrics are what reloads tell of themselves: two under CoreDNS's names, and two of Waypost's own.
type Metrics struct {
	failures prometheus.Counter
	version  *prometheus.GaugeVec
	failed   prometheus.Gauge
	serving  *prometheus.GaugeVec
}

// NewMetrics registers the metrics, which are there whether or not a Corefile has the directive.
func NewMetrics(e env.Env) (*Metrics, error) {
	m := &Metrics{
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "coredns", Subsystem: "reload", Name: "failed_total",
			Help: "Changed Corefiles that could not be served.",
		}),
		version: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "coredns", Subsystem: "reload", Name: "version_info",
			Help: "1, with the digest of the Corefile that was reloaded last.",
		}, []string{"hash", "value"}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "waypost_reload_failed",
			Help: "1 while the Corefile that is there is not the one that is served, because it could not be.",
		}),
		serving: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "waypost_reload_serving_info",
			Help: "1, with the digest of the Corefile that is served.",
		}, []string{"hash", "value"}),
	}
	var err error
	if m.failures, err = env.Register(e, m.failures); err != nil {
		return nil, err
	}
	if m.version, err = env.Register(e, m.version); err != nil {
		return nil, err
	}
	if m.failed, err = env.Register(e, m.failed); err != nil {
		return nil, err
	}
	m.serving, err = env.Register(e, m.serving)
	return m, err
}
