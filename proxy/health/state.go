// Package health tells others how the proxy is: load balancers and probes over HTTP, as kube-proxy does.
//
// A State knows whether changes reach the kernel in time; Status serves it as /healthz and /livez. Checks answer load balancers
// that ask, one port a Service, whether a node has endpoints of it.
package health

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waypost/waypost/cluster"
)

// State is how the proxy is. Its methods may be called from several goroutines.
type State struct {
	timeout  time.Duration
	families []string
	node     func() *cluster.Node
	now      func() time.Time

	mu      sync.Mutex
	updated time.Time // the last time that all was applied; zero before the first
	queued  time.Time // since when something waits to be applied; zero while nothing does
	unknown []string  // the kinds that the source has not told all of yet
	away    time.Time // since when the API server does not answer; zero while it does
	awayFor string    // what was the matter then
}

// Options of a State.
type Options struct {
	// Timeout is for how long a change may wait before that is unhealthy; kube-proxy's is twice its syncPeriod.
	Timeout time.Duration
	// Families are those there are routes of: IPv4, IPv6 or both.
	Families []string
	// Waiting are the kinds of objects that the source must have told all of before there are routes.
	Waiting []cluster.Kind
	// Node returns the Node the proxy runs on, nil while there is none.
	Node func() *cluster.Node
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// NewState returns the state of a proxy that waits for its source.
func NewState(o Options) *State {
	s := &State{timeout: o.Timeout, families: o.Families, node: o.Node, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	for _, kind := range o.Waiting {
		s.unknown = append(s.unknown, kind.String())
	}
	return s
}

// Synced says that the source has told all of a kind.
func (s *State) Synced(kind cluster.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = slices.DeleteFunc(s.unknown, func(name string) bool { return name == kind.String() })
}

// Queued says that something is to be applied.
func (s *State) Queued() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued.IsZero() {
		s.queued = s.now()
	}
}

// Updated says that the kernel has all that was queued before since, and returns the time.
func (s *State) Updated() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updated, s.queued = s.now(), time.Time{}
}

// Answered says that the API server has answered, or why it has not: "" is an answer.
func (s *State) Answered(trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if trouble == "" {
		s.away = time.Time{}
	} else if s.away.IsZero() {
		s.away = s.now()
	}
	s.awayFor = trouble
}

// Report is what /healthz says. The first fields are kube-proxy's.
type Report struct {
	LastUpdated  time.Time         `json:"lastUpdated"`
	CurrentTime  time.Time         `json:"currentTime"`
	NodeEligible *bool             `json:"nodeEligible,omitempty"`
	Healthy      bool              `json:"healthy"`
	Status       map[string]Family `json:"status,omitempty"`
	// Waiting says what there are no routes without, "" once there are.
	Waiting string `json:"waiting,omitempty"`
	// API says since when and why the API server does not answer, "" while it does. Routes stay as they are meanwhile, so that
	// alone is no ill health.
	API string `json:"api,omitempty"`
}

// Family is what Report says of one family.
type Family struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// Report returns how the proxy is, without regard to its Node.
func (s *State) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	r := Report{CurrentTime: now, LastUpdated: s.updated, Healthy: s.queued.IsZero() || now.Sub(s.queued) < s.timeout}
	if !s.updated.IsZero() {
		r.Status = make(map[string]Family, len(s.families))
		for _, f := range s.families {
			r.Status[f] = Family{LastUpdated: s.updated, Healthy: r.Healthy}
		}
	}
	switch {
	case len(s.unknown) > 0:
		r.Waiting = "for all " + strings.Join(s.unknown, ", ") + " to be known"
	case s.updated.IsZero():
		r.Waiting = "for the first routes to be in the kernel"
	}
	if !s.away.IsZero() {
		r.API = "no answer since " + s.away.Format(time.RFC3339) + ": " + s.awayFor
	}
	return r
}

// NodeEligible reports whether load balancers should send new connections to the node: it exists and stays.
func (s *State) NodeEligible() bool {
	node := s.node()
	return node != nil && !node.Leaving
}
