package watch

import (
	"context"
	"math/rand/v2"
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

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
