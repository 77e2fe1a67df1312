package loop

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/env"
)

// upstreams are what coredns_loop_disabled_upstreams shows. All loop directives of the process share them, also those that a
// reload replaces, which end after their successors have begun: an address is shown for as long as any of them has seen it
// lead back, and is 1 while it is out of use for any.
type upstreams struct {
	*prometheus.GaugeVec
	mu    sync.Mutex
	shown map[string]map[*watched]bool // by address: who has seen it, and whether it is out of use there
}

// newUpstreams registers them, or returns those that are there.
func newUpstreams(e env.Env) (*upstreams, error) {
	return env.Register(e, &upstreams{
		GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "coredns", Subsystem: "loop", Name: "disabled_upstreams",
			Help: "1 for each upstream server that is out of use because it sends questions back. Waypost's own.",
		}, []string{"to"}),
		shown: make(map[string]map[*watched]bool),
	})
}

// show says whether a server is out of use.
func (u *upstreams) show(w *watched, disabled bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	to := w.server.String()
	if u.shown[to] == nil {
		u.shown[to] = make(map[*watched]bool)
	}
	u.shown[to][w] = disabled
	u.update(to)
}

// forget says that a server is not watched any more.
func (u *upstreams) forget(w *watched) {
	u.mu.Lock()
	defer u.mu.Unlock()
	to := w.server.String()
	delete(u.shown[to], w)
	u.update(to)
}

// update sets the series of an address. The caller holds mu.
func (u *upstreams) update(to string) {
	if len(u.shown[to]) == 0 {
		delete(u.shown, to)
		u.DeleteLabelValues(to)
		return
	}
	value := 0.0
	for _, disabled := range u.shown[to] {
		if disabled {
			value = 1
		}
	}
	u.WithLabelValues(to).Set(value)
}
