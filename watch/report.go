package watch

import (
	"fmt"
	"sync"
	"time"

	"github.com/waypost/waypost/cluster"
)

// Between two lines of one sort about one kind there is at least so much time.
const (
	failureInterval = 30 * time.Second
	skipInterval    = 10 * time.Second
)

// reporter tells the user what went wrong, and not too often.
type reporter struct {
	log     func(error)
	metrics Metrics
	mu      sync.Mutex
	failure [cluster.Kinds]pace
	skip    [cluster.Kinds]pace
}

// pace is when one sort of line was last written, and how many were not since.
type pace struct {
	last    time.Time
	dropped int
}

func newReporter(log func(error), metrics Metrics) *reporter {
	if log == nil {
		log = func(error) {}
	}
	return &reporter{log: log, metrics: metrics}
}

// failed tells of a list or a watch that failed.
func (r *reporter) failed(kind cluster.Kind, err error) {
	if _, due := r.due(&r.failure[kind], failureInterval); due {
		r.log(failure{err})
	}
}

// failure begins with client-go's words, which people look for in logs.
type failure struct{ error }

// Error implements error.
func (f failure) Error() string { return "Failed to watch: " + f.error.Error() }

// Unwrap is for errors.Is and errors.As.
func (f failure) Unwrap() error { return f.error }

// skipped tells of an object that was left out, or of which something was.
func (r *reporter) skipped(kind cluster.Kind, err error) {
	r.metrics.Skipped(kind)
	dropped, due := r.due(&r.skip[kind], skipInterval)
	if !due {
		return
	}
	err = fmt.Errorf("skipped what the API should not have sent: %s: %w", kind, err)
	if dropped > 0 {
		err = fmt.Errorf("%w (and %d more before)", err, dropped)
	}
	r.log(err)
}

// due reports whether a line may be written now, and how many were dropped since the last.
func (r *reporter) due(p *pace, interval time.Duration) (dropped int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && now.Sub(p.last) < interval {
		p.dropped++
		return 0, false
	}
	dropped = p.dropped
	*p = pace{last: now}
	return dropped, true
}
