// Package health is the health directive: /health says OK for as long as the process lives.
package health

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/env"
)

// Health asks /health at one address each second, so that an overloaded process shows in metrics, and waits for its
// lameduck time before the end. The endpoint itself is not its own: that may be older, and outlive it.
type Health struct {
	options  Options
	log      *slog.Logger
	metrics  Metrics
	endpoint *endpoint.Endpoint
	cancel   context.CancelFunc
	ended    chan struct{} // closed when the process asks itself no more
}

// Metrics are those of all health directives of the process together.
type Metrics struct {
	duration prometheus.Histogram
	failures prometheus.Counter
}

// NewMetrics registers the metrics, which CoreDNS shows whether or not there is a health directive.
func NewMetrics(e env.Env) (Metrics, error) {
	duration, err := env.Register(e, prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "coredns", Subsystem: "health", Name: "request_duration_seconds",
		Help:    "How long the process took to answer its own /health requests.",
		Buckets: prometheus.ExponentialBuckets(0.00025, 10, 5), NativeHistogramBucketFactor: 1.05,
	}))
	if err != nil {
		return Metrics{}, err
	}
	failures, err := env.Register(e, prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "coredns", Subsystem: "health", Name: "request_failures_total",
		Help: "How many of its own /health requests the process did not answer.",
	}))
	return Metrics{duration, failures}, err
}

// New makes what watches an endpoint, which is to be open at Start.
func New(o Options, at *endpoint.Endpoint, e env.Env) (*Health, error) {
	metrics, err := NewMetrics(e)
	return &Health{options: o, log: e.Log, metrics: metrics, endpoint: at}, err
}

// Path is that of the endpoint.
const Path = "/health"

// Answer is what it serves: OK, for as long as the process lives.
func Answer(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "OK")
}

// Join takes up another directive with the same address, of which the longer lameduck counts. It reports false for one
// with another address.
func (h *Health) Join(o Options) bool {
	if o.Address != h.options.Address {
		return false
	}
	h.options.Lameduck = max(h.options.Lameduck, o.Lameduck)
	return true
}

// How the process asks itself.
const (
	every   = time.Second
	timeout = 3 * time.Second
	slow    = time.Second // what gets a warning
)

// Start begins to ask.
func (h *Health) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.ended = cancel, make(chan struct{})
	go h.watch(ctx)
	return nil
}

// watch asks the endpoint again and again.
func (h *Health) watch(ctx context.Context) {
	defer close(h.ended)
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{}} // no proxy, as the default would take
	defer client.CloseIdleConnections()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.ask(ctx, client)
		case <-ctx.Done():
			return
		}
	}
}

// ask sends one request and counts how it went.
func (h *Health) ask(ctx context.Context, client *http.Client) {
	start := time.Now()
	err := get(ctx, client, h.url())
	if ctx.Err() != nil {
		return
	}
	took := time.Since(start)
	h.metrics.duration.Observe(took.Seconds())
	switch {
	case err != nil:
		h.metrics.failures.Inc()
		h.log.Warn(fmt.Sprintf("Local health request to %q failed: %v", h.url(), err))
	case took > slow:
		h.log.Warn(fmt.Sprintf("Local health request to %q took more than 1s: %s", h.url(), took))
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// url is where the process reaches its own endpoint.
func (h *Health) url() string {
	host, _, _ := net.SplitHostPort(h.options.Address)
	_, port, _ := net.SplitHostPort(h.endpoint.Addr().String())
	if host == "" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + Path
}

// Drain waits for the lameduck time, in which clients are led elsewhere, or until ctx ends.
func (h *Health) Drain(ctx context.Context) {
	if h.options.Lameduck <= 0 {
		return
	}
	h.log.Info(fmt.Sprintf("Going into lameduck mode for %s", h.options.Lameduck))
	select {
	case <-time.After(h.options.Lameduck):
	case <-ctx.Done():
	}
}

// Stop ends the asking.
func (h *Health) Stop() {
	h.cancel()
	<-h.ended
}
