// Package metrics counts what the proxy does, under kube-proxy's names, so that dashboards and alerts go on working, and under
// Waypost's own, waypost_proxy_*, where kube-proxy has no such thing.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// Metrics are those of one process. Its methods may be called from several goroutines.
type Metrics struct {
	registry *prometheus.Registry
	families []string

	sync, syncFull, syncPartial *prometheus.HistogramVec
	lastSync, lastQueued        *prometheus.GaugeVec
	programming                 *prometheus.HistogramVec
	syncFailures                *prometheus.CounterVec
	cleanupFailures             *prometheus.CounterVec
	flowsDuration               *prometheus.HistogramVec
	flowsDeleted                *prometheus.CounterVec
	healthz, livez              *prometheus.CounterVec

	applied       *prometheus.CounterVec
	apply, change prometheus.Histogram
	repairs       prometheus.Counter
	refusals      *prometheus.CounterVec
	probes        *prometheus.CounterVec
	backends      *prometheus.GaugeVec

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	skipped         *prometheus.CounterVec
}

// kube-proxy's buckets of time, in seconds.
var (
	syncBuckets        = prometheus.ExponentialBuckets(0.001, 2, 15)
	programmingBuckets = func() []float64 {
		b := append(prometheus.LinearBuckets(0.25, 0.25, 2), prometheus.LinearBuckets(1, 1, 59)...)
		b = append(b, prometheus.LinearBuckets(60, 5, 12)...)
		return append(b, prometheus.LinearBuckets(120, 30, 7)...)
	}()
	// applyBuckets begin where kube-proxy's would count all of ours as one: 20 us to 10 s.
	applyBuckets = prometheus.ExponentialBuckets(20e-6, 2, 20)
)

// New returns metrics of a plan, for the families that have routes: IPv4, IPv6 or both.
func New(p *plan.Plan, families []string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), families: families}
	const family = "ip_family"
	m.sync = m.histogram("sync_proxy_rules_duration_seconds", "How long it took to bring changes into the kernel.", syncBuckets, family)
	m.syncFull = m.histogram("sync_full_proxy_rules_duration_seconds", "The same, of those times when the whole kernel was gone through.", syncBuckets, family)
	m.syncPartial = m.histogram("sync_partial_proxy_rules_duration_seconds", "The same, of those times when only changes were written.", syncBuckets, family)
	m.lastSync = m.gauge("sync_proxy_rules_last_timestamp_seconds", "When the kernel last had all that was wanted, after a change.", family)
	m.lastQueued = m.gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When a change was last there to be brought into the kernel.", family)
	m.programming = m.histogram("network_programming_duration_seconds", "From the change of a Pod or Service, as EndpointSlices tell its time, to the kernel.", programmingBuckets, family)
	m.syncFailures = m.counter("sync_proxy_rules_nftables_sync_failures_total", "How often bringing changes into the kernel failed.", family)
	m.cleanupFailures = m.counter("sync_proxy_rules_nftables_cleanup_failures_total", "How often removing stale chains failed; nothing is removed on its own here, so it never does.", family)
	m.flowsDuration = m.histogram("conntrack_reconciler_sync_duration_seconds", "How long it took to bring the table of flows in line with the routes.", syncBuckets, family)
	m.flowsDeleted = m.counter("conntrack_reconciler_deleted_entries_total", "Flows that were deleted since they contradicted the routes.", family)
	m.healthz = m.counter("proxy_healthz_total", "Answers of /healthz by HTTP status.", "code")
	m.livez = m.counter("proxy_livez_total", "Answers of /livez by HTTP status.", "code")

	m.applied = m.own("route_changes_total", "Routes written to the kernel or taken away, by what was done.", "change")
	m.refusals = m.own("refusals_total", "What Services asked for and did not get, for the safety of others, by reason.", "reason")
	m.probes = m.own("dns_probes_total", "Questions to the endpoints of the cluster's DNS, without those to new ones, by whether they were answered.", "outcome")
	m.backends = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "waypost_proxy_dns_backends", Help: "Endpoints of the cluster's DNS that were asked last, by whether they answered.",
	}, []string{"outcome"})
	m.registry.MustRegister(m.backends)
	m.apply = m.ownHistogram("apply_seconds", "How long each transaction with the kernel took.")
	m.change = m.ownHistogram("change_to_kernel_seconds", "From when a change was received to when the kernel had it.")
	m.skipped = m.own("skipped_objects_total", "Objects, or parts of them, that the API server should not have sent and that were left out.", "resource")
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rest_client_requests_total", Help: "Requests to the API server, by what it answered."}, []string{"code", "method", "host"})
	m.requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "rest_client_request_duration_seconds", Help: "How long lists took, to their last byte.", Buckets: prometheus.DefBuckets,
	}, []string{"verb", "host"})
	m.registry.MustRegister(m.requests, m.requestDuration)
	m.repairs = prometheus.NewCounter(prometheus.CounterOpts{Name: "waypost_proxy_repairs_total", Help: "How often the kernel was put right after somebody else had changed what is ours."})
	m.registry.MustRegister(m.repairs, &planCollector{p}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

// begin shows what has not been counted yet as zero, so that rates have a start.
func (m *Metrics) begin() {
	for _, f := range m.families {
		m.syncFailures.WithLabelValues(f)
		m.cleanupFailures.WithLabelValues(f)
		m.flowsDeleted.WithLabelValues(f)
	}
	m.Probed(0, 0)
	for r := range proxy.Reasons {
		m.refusals.WithLabelValues(r.String())
	}
}

// prefix begins the names of kube-proxy's metrics.
const prefix = "kubeproxy_"

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) own(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waypost_proxy_" + name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) ownHistogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "waypost_proxy_" + name, Help: help, Buckets: applyBuckets})
	m.registry.MustRegister(h)
	return h
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Queued says that a change is there to be brought into the kernel.
func (m *Metrics) Queued(at time.Time) {
	for _, f := range m.families {
		m.lastQueued.WithLabelValues(f).Set(seconds(at))
	}
}

// UpToDate says that the kernel has what is wanted, without anything done for it.
func (m *Metrics) UpToDate(at time.Time) {
	for _, f := range m.families {
		m.lastSync.WithLabelValues(f).Set(seconds(at))
	}
}

// Applied says that changes are in the kernel.
type Applied struct {
	Changes  *proxy.Changes
	Full     bool          // the whole kernel was gone through
	Took     time.Duration // the transaction
	Received time.Time     // when the first of the changes was received; zero where there were none
	Now      time.Time
}

// Applied counts what was applied.
func (m *Metrics) Applied(a Applied) {
	took := a.Took.Seconds()
	for _, f := range m.families {
		m.sync.WithLabelValues(f).Observe(took)
		if a.Full {
			m.syncFull.WithLabelValues(f).Observe(took)
		} else {
			m.syncPartial.WithLabelValues(f).Observe(took)
		}
		for _, t := range a.Changes.Triggered {
			if t.Family == f {
				m.programming.WithLabelValues(f).Observe(a.Now.Sub(time.Unix(0, t.At)).Seconds())
			}
		}
	}
	m.UpToDate(a.Now)
	m.apply.Observe(took)
	if !a.Received.IsZero() {
		m.change.Observe(a.Now.Sub(a.Received).Seconds())
	}
	for _, c := range a.Changes.Routes {
		m.applied.WithLabelValues(sort(c)).Inc()
	}
}

// sort says what a change does to a route.
func sort(c proxy.RouteChange) string {
	switch {
	case c.Old == nil:
		return "added"
	case c.New == nil:
		return "removed"
	}
	return "changed"
}

// Failed says that changes could not be brought into the kernel.
func (m *Metrics) Failed() {
	for _, f := range m.families {
		m.syncFailures.WithLabelValues(f).Inc()
	}
}

// Repaired says that the kernel had been changed by somebody else and is right again.
func (m *Metrics) Repaired() { m.repairs.Inc() }

// Refused counts refusals.
func (m *Metrics) Refused(refusals []proxy.Refusal) {
	for _, r := range refusals {
		m.refusals.WithLabelValues(r.Reason.String()).Inc()
	}
}

// Probed says how many endpoints of the cluster's DNS have answered in a round of questions, and how many have not.
func (m *Metrics) Probed(answered, unanswered int) {
	for outcome, n := range map[string]int{"answered": answered, "unanswered": unanswered} {
		m.probes.WithLabelValues(outcome).Add(float64(n))
		m.backends.WithLabelValues(outcome).Set(float64(n))
	}
}

// Flows says that the flows of one family, IPv4 or IPv6, were brought in line, and how many were deleted.
func (m *Metrics) Flows(family string, took time.Duration, deleted int) {
	m.flowsDuration.WithLabelValues(family).Observe(took.Seconds())
	m.flowsDeleted.WithLabelValues(family).Add(float64(deleted))
}

// Healthz counts an answer of /healthz.
func (m *Metrics) Healthz(code int) { m.healthz.WithLabelValues(strconv.Itoa(code)).Inc() }

// Livez counts an answer of /livez.
func (m *Metrics) Livez(code int) { m.livez.WithLabelValues(strconv.Itoa(code)).Inc() }

// RateLimited, Requested, Answered and Skipped are what a source over an API server tells (watch.Metrics).

// RateLimited is not counted: a proxy sends a handful of requests.
func (m *Metrics) RateLimited(string, string, time.Duration) {}

// Requested says how long a list took.
func (m *Metrics) Requested(verb, host string, took time.Duration) {
	m.requestDuration.WithLabelValues(verb, host).Observe(took.Seconds())
}

// Answered counts a request by what it was answered.
func (m *Metrics) Answered(code, method, host string) {
	m.requests.WithLabelValues(code, method, host).Inc()
}

// Skipped says that an object was left out, or a part of one.
func (m *Metrics) Skipped(kind cluster.Kind) { m.skipped.WithLabelValues(kind.String()).Inc() }

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// planCollector tells of a plan as it is when asked.
type planCollector struct{ plan *plan.Plan }

func planDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The metrics of a plan.
var (
	endpointChanges  = planDesc(prefix+"sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices that were received.")
	endpointsPending = planDesc(prefix+"sync_proxy_rules_endpoint_changes_pending", "Those of them that the kernel does not have yet.")
	serviceChanges   = planDesc(prefix+"sync_proxy_rules_service_changes_total", "Changes of Services that were received.")
	servicesPending  = planDesc(prefix+"sync_proxy_rules_service_changes_pending", "Those of them that the kernel does not have yet.")
	noLocal          = planDesc(prefix+"sync_proxy_rules_no_local_endpoints_total", "Service ports with a policy Local whose endpoints are all on other nodes.", "traffic_policy", "ip_family")
	routes           = planDesc("waypost_proxy_routes", "Routes that are wanted, by what they do.", "verdict")
	endpoints        = planDesc("waypost_proxy_endpoints", "Endpoints of service ports that are used, of each port its own.")
)

// Describe implements prometheus.Collector.
func (c *planCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{endpointChanges, endpointsPending, serviceChanges, servicesPending, noLocal, routes, endpoints} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *planCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.plan.Stats()
	value := func(d *prometheus.Desc, kind prometheus.ValueType, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(n), labels...)
	}
	value(endpointChanges, prometheus.CounterValue, s.Slices)
	value(endpointsPending, prometheus.GaugeValue, s.PendingSlices)
	value(serviceChanges, prometheus.CounterValue, s.Services)
	value(servicesPending, prometheus.GaugeValue, s.PendingServices)
	for f, name := range [...]string{"IPv4", "IPv6"} {
		value(noLocal, prometheus.GaugeValue, s.NoLocalInternal[f], "internal", name)
		value(noLocal, prometheus.GaugeValue, s.NoLocalExternal[f], "external", name)
	}
	for v, n := range s.Routes {
		value(routes, prometheus.GaugeValue, n, proxy.Verdict(v).String())
	}
	value(endpoints, prometheus.GaugeValue, s.Endpoints)
}
