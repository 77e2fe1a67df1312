package kubernetes

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/records"
)

// metrics are what the directive counts, under CoreDNS's names.
type metrics struct {
	programming *prometheus.HistogramVec
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	limited     *prometheus.HistogramVec
	skipped     *prometheus.CounterVec
}

func newMetrics(e env.Env) (*metrics, error) {
	m := &metrics{
		programming: histogram("dns_programming_duration_seconds", "In Cluster DNS Programming Latency in seconds",
			prometheus.ExponentialBuckets(0.001, 2, 20), "service_kind"),
		requests: counter("rest_client_requests_total", "Number of HTTP requests, partitioned by status code, method, and host.", "code", "method", "host"),
		duration: histogram("rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb and host.", prometheus.DefBuckets, "verb", "host"),
		limited: histogram("rest_client_rate_limiter_duration_seconds", "Client side rate limiter latency in seconds. Broken down by verb and host.",
			prometheus.DefBuckets, "verb", "host"),
		skipped: counter("skipped_objects_total", "Objects that make no sense and are left out, or a part of them, by resource. Waypost's own.", "resource"),
	}
	var err error
	for _, register := range []func() error{
		func() error { m.programming, err = env.Register(e, m.programming); return err },
		func() error { m.requests, err = env.Register(e, m.requests); return err },
		func() error { m.duration, err = env.Register(e, m.duration); return err },
		func() error { m.limited, err = env.Register(e, m.limited); return err },
		func() error { m.skipped, err = env.Register(e, m.skipped); return err },
	} {
		if err := register(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "coredns", Subsystem: "kubernetes", Name: name, Help: help, Buckets: buckets}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "coredns", Subsystem: "kubernetes", Name: name, Help: help}, labels)
}

// programmed observes how long the changes of slices took from what triggered them until they are answered (the SLI of
// sig-scalability's dns_programming_latency.md).
func (m *metrics) programmed(zone *records.Zone, changes []cluster.Change, now time.Time) {
	for _, c := range changes {
		s, ok := c.Object().(*cluster.Slice)
		if !ok || s.Triggered == 0 || s.Service == "" {
			continue
		}
		service := zone.Service(s.Namespace, s.Service)
		if service == nil {
			continue
		}
		kind := "cluster_ip"
		if service.Type == cluster.Headless {
			kind = "headless_with_selector"
		}
		m.programming.WithLabelValues(kind).Observe(now.Sub(time.Unix(0, s.Triggered)).Seconds())
	}
}
