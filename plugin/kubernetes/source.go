package kubernetes

import (
	"fmt"
	"runtime"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/watch"
	"github.com/waypost/waypost/watch/manifest"
)

// newSource is where the options say that the cluster is read from.
func newSource(o Options, needs cluster.Needs, m *metrics, e env.Env) (cluster.Source, error) {
	if o.Manifests != "" {
		return manifest.FromPath(o.Manifests, needs, e.Log, m.Skipped)
	}
	watch.LogTo(e.Log)
	return watch.NewAPIServer(watch.Options{
		Access: watch.Access{
			Kubeconfig: o.Kubeconfig, Context: o.Context,
			Endpoint: o.Endpoint, CertFile: o.Certificate, KeyFile: o.Key, CAFile: o.Authority,
		},
		Needs:     needs,
		UserAgent: fmt.Sprintf("Waypost/%s git_commit:%s (%s/%s/%s)", e.Version, e.Commit, runtime.GOOS, runtime.GOARCH, runtime.Version()),
		QPS:       o.QPS, Burst: o.Burst, MaxInflight: o.MaxInflight,
		Log:     func(err error) { e.Log.Error(err.Error()) },
		Metrics: m,
	})
}

// RateLimited implements watch.Metrics.
func (m *metrics) RateLimited(verb, host string, waited time.Duration) {
	m.limited.WithLabelValues(verb, host).Observe(waited.Seconds())
}

// Requested implements watch.Metrics.
func (m *metrics) Requested(verb, host string, took time.Duration) {
	m.duration.WithLabelValues(verb, host).Observe(took.Seconds())
}

// Answered implements watch.Metrics.
func (m *metrics) Answered(code, method, host string) {
	m.requests.WithLabelValues(code, method, host).Inc()
}

// Skipped implements watch.Metrics.
func (m *metrics) Skipped(kind cluster.Kind) { m.skipped.WithLabelValues(kind.String()).Inc() }
