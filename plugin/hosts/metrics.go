package hosts

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/env"
)

// Metrics are what hosts directives tell of their files, under CoreDNS's names.
type Metrics struct {
	entries *prometheus.GaugeVec
	reload  prometheus.Gauge
}

// NewMetrics registers the metrics. As in CoreDNS they are there whether or not a Corefile has the directive.
func NewMetrics(e env.Env) (*Metrics, error) {
	m := &Metrics{
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "coredns", Subsystem: "hosts", Name: "entries",
			Help: "The combined number of entries in hosts and Corefile.",
		}, []string{"hostsfile"}),
		reload: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "coredns", Subsystem: "hosts", Name: "reload_timestamp_seconds",
			Help: "The timestamp of the last reload of hosts file.",
		}),
	}
	var err error
	if m.entries, err = env.Register(e, m.entries); err != nil {
		return nil, err
	}
	if m.reload, err = env.Register(e, m.reload); err != nil {
		return nil, err
	}
	return m, nil
}
