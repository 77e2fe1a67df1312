package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/waypost/waypost/proxy"
)

// flowQueue brings flows in line after the kernel has the routes, so that no route waits for it. Either it knows all that
// was applied up to some time and the changes since, in order, or it has lost track and asks the keeper for all.
type flowQueue struct {
	flows Flows
	log   *slog.Logger
	wake  chan struct{}
	ask   func() // has the keeper call add with all that is wanted, if lost says so

	mu      sync.Mutex
	wanted  *proxy.Wanted    // to be gone through before the changes; nil for nothing
	changes []*proxy.Changes // since then, in order
	astray  bool             // it has lost track: changes are no use
}

// maxQueued bounds how many changes wait: with more of them, going through all is no more work.
const maxQueued = 256

// flowRetry is when all is gone through after a failure.
const flowRetry = 10 * time.Second

func newFlowQueue(flows Flows, log *slog.Logger, ask func()) *flowQueue {
	return &flowQueue{flows: flows, log: log, wake: make(chan struct{}, 1), ask: ask, astray: true}
}

// lost reports whether add needs all that is wanted.
func (q *flowQueue) lost() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.astray
}

// add queues what the kernel has been given: all, or where wanted is nil, changes.
func (q *flowQueue) add(c *proxy.Changes, wanted *proxy.Wanted) {
	q.mu.Lock()
	switch {
	case wanted != nil:
		q.wanted, q.changes, q.astray = wanted, nil, false
	case q.astray:
	case len(q.changes) == maxQueued:
		q.wanted, q.changes, q.astray = nil, nil, true
	default:
		q.changes = append(q.changes, c)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (q *flowQueue) run(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		case <-q.wake:
		}
		if err := q.work(); err != nil {
			q.log.Error(fmt.Sprintf("flows are not in line with the routes: %v; trying again in %s", err, flowRetry))
			q.mu.Lock()
			q.wanted, q.changes, q.astray = nil, nil, true
			q.mu.Unlock()
			retry.Reset(flowRetry)
		} else if q.lost() {
			q.ask()
		}
	}
}

func (q *flowQueue) work() error {
	q.mu.Lock()
	wanted, changes := q.wanted, q.changes
	q.wanted, q.changes = nil, nil
	q.mu.Unlock()
	if wanted != nil {
		if err := q.flows.Sync(wanted); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := q.flows.Apply(c); err != nil {
			return err
		}
	}
	return nil
}
