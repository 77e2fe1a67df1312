// Package kubernetes is the directive that answers the cluster's names: it brings a source of cluster values (package
// watch) and the zone made of them (package records) together.
package kubernetes

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/records"
	"github.com/waypost/waypost/watch"
)

// Kubernetes is one kubernetes directive at work. It is a step of its block, and the sink of its source.
type Kubernetes struct {
	options Options
	through []message.Name
	store   *records.Store
	source  cluster.Source
	metrics *metrics
	log     *slog.Logger

	mu      sync.Mutex
	pending map[cluster.Kind]bool // what the source has not yet told in full
	synced  chan struct{}         // closed when nothing is pending

	stop context.CancelFunc
	done chan struct{} // closed when the source has ended
}

// ErrNotInCluster is returned by New where the Corefile names no cluster and this process runs in no Pod of one.
var ErrNotInCluster = watch.ErrNotInCluster

// New makes the directive ready to start. It returns an error for a cluster that cannot be read as the options say: files
// that are not there, a kubeconfig without the context.
func New(o Options, e env.Env) (*Kubernetes, error) {
	zones, err := message.ParseNames(o.Zones)
	if err != nil {
		return nil, err
	}
	k := &Kubernetes{options: o, log: e.Log, pending: make(map[cluster.Kind]bool), synced: make(chan struct{}), done: make(chan struct{})}
	if k.through, err = message.ParseNames(o.Fallthrough); err != nil {
		return nil, err
	}
	multicluster, err := message.ParseNames(o.Multicluster)
	if err != nil {
		return nil, err
	}
	if k.metrics, err = newMetrics(e); err != nil {
		return nil, err
	}
	needs := o.needs()
	for _, kind := range needs.Kinds() {
		k.pending[kind] = true
	}
	if k.source, err = newSource(o, needs, k.metrics, e); err != nil {
		return nil, err
	}
	k.store = records.NewStore(records.Config{
		Zones: zones, Multicluster: multicluster, TTL: o.TTL, Pods: o.Pods, PodNames: o.PodNames, Namespaces: set(o.Namespaces),
		IgnoreEmpty: o.IgnoreEmpty, Zonal: o.Zonal, LocalIPs: localIPs(e.Bound),
	})
	return k, nil
}

// needs is what the zone has to know of the cluster.
func (o *Options) needs() cluster.Needs {
	return cluster.Needs{
		NoSlices: o.NoEndpoints, Pods: o.Pods == records.PodsVerified, PodNames: o.PodNames, Zones: o.Zonal,
		Imports: len(o.Multicluster) > 0, Labels: o.Labels, NamespaceLabels: o.NamespaceLabels,
	}
}

// set is nil, which means all, for an empty list.
func set(texts []string) map[string]bool {
	if len(texts) == 0 {
		return nil
	}
	m := make(map[string]bool, len(texts))
	for _, text := range texts {
		m[text] = true
	}
	return m
}

// Serve implements the step: a query in the zones is answered, one outside goes on.
func (k *Kubernetes) Serve(q *message.Query, r *message.Reply) message.Verdict {
	zone := k.store.Zone()
	result := zone.Answer(q, r)
	switch result.Outcome {
	case records.NotOurs:
		return message.Next
	case records.Hit:
		r.Authoritative = true
	case records.NoData:
		zone.Deny(q, r, result, message.NoError)
	case records.NoName, records.Between:
		if r.Empty() && q.UnderAny(k.through) {
			return message.Next
		}
		rcode := message.NoError
		if result.Outcome == records.NoName {
			rcode = message.NXDomain
		}
		zone.Deny(q, r, result, rcode)
	case records.NotReady:
		r.Fail(message.ServFail)
	case records.Refused:
		r.Fail(message.Refused)
	case records.Elsewhere:
		if !q.MayBlock {
			r.Reset()
			return message.Park
		}
		if !chase(q, r, result.Targets, k.options.TTL) && !result.Partial {
			zone.Deny(q, r, result, message.NoError)
		}
	}
	return message.Done
}

// Start begins to follow the cluster and waits until its first full state is known, at most for startup_timeout.
func (k *Kubernetes) Start(ctx context.Context) error {
	running, stop := context.WithCancel(context.Background())
	k.stop = stop
	go func() {
		defer close(k.done)
		k.source.Run(running, k)
	}()
	if k.options.StartupTimeout == 0 {
		return nil
	}
	timeout := time.NewTimer(k.options.StartupTimeout)
	defer timeout.Stop()
	patience := time.NewTicker(500 * time.Millisecond)
	defer patience.Stop()
	for {
		select {
		case <-k.synced:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			k.log.Info("waiting for Kubernetes API before starting server")
		case <-timeout.C:
			k.log.Warn("starting server with unsynced Kubernetes API")
			return nil
		}
	}
}

// Stop ends the source and waits for it. The zone is answered from what was known last.
func (k *Kubernetes) Stop() {
	if k.stop != nil {
		k.stop()
		<-k.done
	}
}

// Ready reports whether the first full state of the cluster is known.
func (k *Kubernetes) Ready() bool {
	select {
	case <-k.synced:
		return true
	default:
		return false
	}
}

// Apply implements cluster.Sink.
func (k *Kubernetes) Apply(changes []cluster.Change) {
	now := time.Now()
	if err := k.store.Apply(changes, now); err != nil {
		k.log.Error(err.Error())
	}
	k.metrics.programmed(k.store.Zone(), changes, now)
}

// Synced implements cluster.Sink.
func (k *Kubernetes) Synced(kind cluster.Kind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.pending[kind] {
		return
	}
	if delete(k.pending, kind); len(k.pending) == 0 {
		k.store.Synced()
		close(k.synced)
	}
}

// SearchPath returns the search domains of the Pod that asks, for the autopath directive; see records.Zone.SearchPath.
func (k *Kubernetes) SearchPath(q *message.Query) []message.Name { return k.store.Zone().SearchPath(q) }

// KnowsPods reports whether the directive knows which Pod has which address (pods verified).
func (k *Kubernetes) KnowsPods() bool { return k.options.Pods == records.PodsVerified }
