package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// health knows how often in a row a server has not replied to probes. Probes are sent only after something went wrong, and
// until something comes again: first after the interval, then ever more seldom.
type health struct {
	probe    func(context.Context) error
	interval time.Duration
	failed   func() // counts a probe

	fails   atomic.Uint32
	probing atomic.Bool

	mu      sync.Mutex
	cancel  context.CancelFunc // ends the probes
	nudged  chan struct{}
	stopped bool
}

// Intervals between probes.
const (
	leastInterval = 100 * time.Millisecond
	mostInterval  = 30 * time.Second
	nudgeInterval = time.Second // at most, while somebody wants the server
)

func (h *health) init(probe func(context.Context) error, interval time.Duration, failed func()) {
	h.probe, h.interval, h.failed = probe, max(interval, leastInterval), failed
	h.nudged = make(chan struct{}, 1)
}

// Down reports whether the server is out of use: more than most probes in a row have failed, or Disable was called. With
// most 0 only the latter counts.
func (s *Server) Down(most uint32) bool {
	return most > 0 && s.health.fails.Load() > most || s.disabled.Load() != nil
}

// Suspect reports whether something went wrong since the server last replied, so that it is being probed.
func (s *Server) Suspect() bool { return s.health.probing.Load() }

// Check begins to probe the server, if that is not being done already.
func (s *Server) Check() { s.health.check() }

// Wanted says that a question found the server down: the next probe need not wait for long.
func (s *Server) Wanted() {
	select {
	case s.health.nudged <- struct{}{}:
	default:
	}
}

func (h *health) check() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped || h.probing.Load() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.probing.Store(true)
	go h.run(ctx)
}

// run probes until a probe succeeds or something else shows that the server is there.
func (h *health) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if h.probe(ctx) == nil {
			h.replied()
			return
		}
		h.count(ctx)
		h.pause(ctx, backoff(h.interval, n, rand.Float64()))
	}
}

// count counts a probe that failed, if that still matters.
func (h *health) count(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() == nil {
		h.fails.Add(1)
		h.failed()
	}
}

// pause waits until it is time for the next probe.
func (h *health) pause(ctx context.Context, wait time.Duration) {
	began := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-h.nudged:
			timer.Reset(min(wait, max(h.interval, nudgeInterval)) - time.Since(began))
		}
	}
}

// backoff is how long to wait after n further failures of a probe: twice as long each time, and by chance up to a quarter
// less, so that many servers that go down together are not probed together for ever.
func backoff(interval time.Duration, n int, chance float64) time.Duration {
	most := max(interval, mostInterval)
	wait := interval
	for ; n > 0 && wait < most; n-- {
		wait *= 2
	}
	wait = min(wait, most)
	return wait - time.Duration(chance*float64(wait)/4)
}

// replied is told that the server replies.
func (h *health) replied() {
	if !h.probing.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end()
	h.fails.Store(0)
}

// stop ends the probes for good.
func (h *health) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	h.end()
}

// end ends the probes. The caller holds mu.
func (h *health) end() {
	if h.probing.Swap(false) {
		h.cancel()
	}
}
