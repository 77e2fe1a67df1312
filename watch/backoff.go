package watch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// backoff says how long to wait before the next try: after a success not at all, then min, then twice as much after each
// further failure, each give or take a half.
type backoff struct {
	min      time.Duration
	failures int
}

// next counts a failure and returns the time to wait: max, give or take a half, at most.
func (b *backoff) next(max time.Duration) time.Duration {
	b.failures++
	if b.failures == 1 {
		return 0
	}
	wait := max
	if shift := b.failures - 2; shift < 30 && b.min<<shift < max {
		wait = b.min << shift
	}
	return wait/2 + rand.N(wait+1)
}

// reset says that a try has succeeded.
func (b *backoff) reset() { b.failures = 0 }

// revival tells all followers that one of them got through: their trouble is nearly always the same. The zero value is ready
// for use.
type revival struct {
	mu   sync.Mutex
	next chan struct{} // closed by announce; nil while nobody listens
}

// announce says that the server is there again.
func (r *revival) announce() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}

// listen returns what will be closed by the next announcement.
func (r *revival) listen() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	return r.next
}

// sleep returns after d, when wake is closed, or when ctx ends.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}
