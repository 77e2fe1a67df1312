package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/waypost/waypost/cluster"
)

// Options says which server to watch, for what, and how hard it may be asked.
type Options struct {
	Access
	Needs cluster.Needs
	// UserAgent is what the server sees. Default: "waypost".
	UserAgent string
	// QPS is how many requests a second may be sent in the long run, and Burst how many at once after a pause. 0 leaves QPS
	// unlimited, unless Burst is set: then it is 5. Burst defaults to 10 where QPS is set. These are client-go's defaults.
	QPS   float32
	Burst int
	// MaxInflight is how many requests may be waiting for their answer at once; the stream of events that answers a watch
	// does not count once it has begun. 0 is unlimited.
	MaxInflight int
	// Log is told what went wrong, at a bounded rate; it may be called from several goroutines. nil drops.
	Log func(error)
	// Metrics is told of requests. nil drops.
	Metrics Metrics
}

// Metrics counts requests to the API server, in CoreDNS's terms (coredns_kubernetes_rest_client_*). Its methods may be called
// from several goroutines.
type Metrics interface {
	// RateLimited says how long a request had to wait for QPS and Burst; 0 where there is no such limit.
	RateLimited(verb, host string, waited time.Duration)
	// Requested says how long a list took, from being allowed to its last byte. Watches are not timed.
	Requested(verb, host string, took time.Duration)
	// Answered says that a list or a watch was answered: code is the HTTP status, or "<error>" where no answer came.
	Answered(code, method, host string)
	// Skipped says that an object, or a part of one, was left out since the API should never have sent it.
	Skipped(kind cluster.Kind)
}

// APIServer is a cluster.Source: an API server that is listed and watched.
type APIServer struct {
	needs  cluster.Needs
	client *client
	report *reporter
	retry  backoff // each follower's to begin with
}

// Defaults of options.
const (
	defaultUserAgent = "waypost"
	defaultQPS       = 5
	defaultBurst     = 10
)

// NewAPIServer reads the files that o names and checks all of it. It does not speak to the server yet.
func NewAPIServer(o Options) (*APIServer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.UserAgent == "" {
		o.UserAgent = defaultUserAgent
	}
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	httpClient, base, err := o.Access.connect(o.UserAgent)
	if err != nil {
		return nil, err
	}
	c := &client{http: httpClient, base: base, limiter: o.limiter(), silence: watchTimeout, metrics: o.Metrics}
	if o.MaxInflight > 0 {
		c.slots = make(chan struct{}, o.MaxInflight)
	}
	return &APIServer{
		needs:  o.Needs,
		client: c,
		report: newReporter(o.Log, o.Metrics),
		retry:  backoff{min: minRetry},
	}, nil
}

func (o *Options) check() error {
	if o.QPS < 0 || o.Burst < 0 || o.MaxInflight < 0 {
		return errors.New("limits of requests to the API server must be >= 0")
	}
	for _, selector := range []string{o.Needs.Labels, o.Needs.NamespaceLabels} {
		if _, err := labels.Parse(selector); err != nil {
			return fmt.Errorf("label selector %q: %w", selector, err)
		}
	}
	return nil
}

func (o *Options) limiter() flowcontrol.RateLimiter {
	qps, burst := o.QPS, o.Burst
	switch {
	case qps == 0 && burst == 0:
		return nil
	case qps == 0:
		qps = defaultQPS
	case burst == 0:
		burst = defaultBurst
	}
	return flowcontrol.NewTokenBucketRateLimiter(qps, burst)
}

// Run implements cluster.Source.
func (a *APIServer) Run(ctx context.Context, sink cluster.Sink) {
	serial := &serialSink{sink: sink}
	var followers sync.WaitGroup
	var back revival
	for _, kind := range a.needs.Kinds() {
		f := &follower{
			client:  a.client,
			res:     resourceOf(kind, a.needs),
			store:   newStore(serial),
			report:  a.report,
			retry:   a.retry,
			revival: &back,
			stale:   true,
		}
		followers.Go(func() { f.run(ctx) })
	}
	followers.Wait()
	a.client.close()
}

type noMetrics struct{}

func (noMetrics) RateLimited(string, string, time.Duration) {}
func (noMetrics) Requested(string, string, time.Duration)   {}
func (noMetrics) Answered(string, string, string)           {}
func (noMetrics) Skipped(cluster.Kind)                      {}
