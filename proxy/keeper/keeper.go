// Package keeper keeps a kernel in line with a plan: it hears of changes, has the plan work out what differs, and brings that
// into the kernel, in one transaction each time. Changes that come while a transaction runs make the next one together.
//
// Events are hints and the plan is the truth: after a failure, and when somebody else has touched what is ours, the whole
// kernel is compared with the plan.
package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/health"
	"github.com/waypost/waypost/proxy/metrics"
	"github.com/waypost/waypost/proxy/plan"
)

// Options of a Keeper. Those up to Flows are needed.
type Options struct {
	Plan    *plan.Plan
	Kernel  proxy.Kernel
	State   *health.State
	Checks  *health.Checks
	Metrics *metrics.Metrics
	Log     *slog.Logger
	// Flows is told what the kernel has been given.
	Flows Flows
	// Installed are the routes that the kernel had when the plan began, for Flows.
	Installed []*proxy.Route
	// Begun is called once the kernel has routes for the first time; nil drops.
	Begun func()
	// RetryMin and RetryMax bound the time between tries after failures, which doubles. Default: 100 ms and 30 s.
	RetryMin, RetryMax time.Duration
}

// Flows is the kernel's table of flows, which is kept in line with the routes (conntrack.Flows). Calls come one at a time, but
// for Expect after the kernel has the routes that they tell of, and do not wait for the work.
type Flows interface {
	// Expect takes changes that the kernel is about to get: flows that agree with them may be there from then on.
	Expect(changes *proxy.Changes)
	// Sync takes all that is wanted, and for the first time what there was before.
	Sync(installed []*proxy.Route, wanted *proxy.Wanted)
	// Apply takes changes to what the last call took.
	Apply(changes *proxy.Changes)
}

// Keeper is a cluster.Sink.
type Keeper struct {
	o     Options
	wake  chan struct{} // has a token where there may be something to do
	retry *time.Timer

	repairs *rate.Limiter // how often the kernel is put right
	full    bool          // the whole kernel is to be gone through
	pause   time.Duration // until the next try after a failure
	trouble string        // the last failure, already logged
	begun   bool          // there have been routes
	overdue proxy.Changes // Triggered of changes that failed

	mu       sync.Mutex
	received time.Time // when the first change that waits came; zero where none does
	touched  string    // what somebody else has done to the kernel, "" for nothing
}

// New returns a keeper of a kernel of which nothing is known.
func New(o Options) *Keeper {
	if o.RetryMin == 0 {
		o.RetryMin = 100 * time.Millisecond
	}
	if o.RetryMax == 0 {
		o.RetryMax = 30 * time.Second
	}
	return &Keeper{
		o: o, wake: make(chan struct{}, 1), retry: time.NewTimer(0), full: true, pause: o.RetryMin,
		repairs: rate.NewLimiter(rate.Every(repairPace), repairBurst),
	}
}

// The kernel is put right at once, but for somebody who changes it again and again: two proxies on a node would, without an end, have
// each other read and write all of it.
const (
	repairBurst = 20
	repairPace  = time.Second
)

// Apply implements cluster.Sink.
func (k *Keeper) Apply(changes []cluster.Change) {
	now := time.Now()
	k.o.Plan.Apply(changes)
	k.mu.Lock()
	if k.received.IsZero() {
		k.received = now
	}
	k.mu.Unlock()
	k.queue(now)
}

// Synced implements cluster.Sink.
func (k *Keeper) Synced(kind cluster.Kind) {
	k.o.Plan.Synced(kind)
	k.o.State.Synced(kind)
	k.queue(time.Now())
}

// Refresh has the kernel follow a plan that wants something else now for another reason than a change of the cluster.
func (k *Keeper) Refresh() { k.queue(time.Now()) }

// queue has the next step made, unless the plan is not ready: then nothing waits for the kernel but all for the source.
func (k *Keeper) queue(now time.Time) {
	if !k.o.Plan.Ready() {
		return
	}
	k.o.State.Queued()
	k.o.Metrics.Queued(now)
	k.signal()
}

func (k *Keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Touched says what somebody else has done to the kernel's side of the routes, so that it is put right.
func (k *Keeper) Touched(what string) {
	k.mu.Lock()
	k.touched = what
	k.mu.Unlock()
	k.signal()
}

// Run keeps the kernel until ctx ends. What it made stays.
func (k *Keeper) Run(ctx context.Context) {
	defer k.retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-k.retry.C:
		}
		k.step()
	}
}

// step brings into the kernel what there is.
func (k *Keeper) step() {
	k.mu.Lock()
	received, touched := k.received, k.touched
	k.received, k.touched = time.Time{}, ""
	k.mu.Unlock()
	if touched != "" && !k.repair(touched) {
		touched = ""
	}
	c := k.o.Plan.Take()
	if c == nil {
		return
	}
	k.tell(c)
	if !k.full && c.Empty() {
		k.o.Plan.Settled()
		k.o.State.Updated()
		k.o.Metrics.UpToDate(time.Now())
		return
	}
	start := time.Now()
	var wanted *proxy.Wanted
	var err error
	if k.full {
		wanted = k.o.Plan.Wanted()
		err = k.o.Kernel.Sync(wanted)
	} else {
		k.o.Flows.Expect(c)
		err = k.o.Kernel.Apply(c)
	}
	if err != nil {
		k.failed(err, c, received)
		return
	}
	k.applied(c, wanted, touched != "", start, received)
}

// repair has the whole kernel gone through, as somebody has touched it, or has that done later where it was often enough of late.
func (k *Keeper) repair(touched string) bool {
	if k.full || k.repairs.Allow() {
		k.full = true
		k.o.Log.Warn(touched + "; putting it right")
		return true
	}
	k.mu.Lock()
	if k.touched == "" {
		k.touched = touched
	}
	k.mu.Unlock()
	k.retry.Reset(repairPace)
	return false
}

// tell passes on what is not for the kernel.
func (k *Keeper) tell(c *proxy.Changes) {
	if c.Node != nil {
		k.o.Checks.Limit(c.Node.NodePorts)
	}
	if len(c.Health) > 0 {
		k.o.Checks.Set(c.Health)
	}
	k.o.Metrics.Refused(c.Refused)
	for i, r := range c.Refused {
		if i == maxRefusalLines {
			k.o.Log.Warn(fmt.Sprintf("%d more things that Services ask for are refused", len(c.Refused)-i))
			break
		}
		k.o.Log.Warn(fmt.Sprintf("Service %s: %s is refused: %s", r.Service, r.What, r.Why))
	}
}

// maxRefusalLines bounds the lines about what one step refuses.
const maxRefusalLines = 20

// failed has the whole kernel gone through soon.
func (k *Keeper) failed(err error, c *proxy.Changes, received time.Time) {
	k.full = true
	k.overdue.Triggered = append(k.overdue.Triggered, c.Triggered...)
	k.mu.Lock()
	if !received.IsZero() {
		k.received = received
	}
	k.mu.Unlock()
	k.o.State.Queued()
	k.o.Metrics.Failed()
	if text := err.Error(); text != k.trouble {
		k.trouble = text
		k.o.Log.Error(fmt.Sprintf("routes are not up to date: %v; trying again, at most %s apart", err, k.o.RetryMax))
	}
	k.retry.Reset(k.pause)
	k.pause = min(2*k.pause, k.o.RetryMax)
}

// applied says that the kernel has what was wanted.
func (k *Keeper) applied(c *proxy.Changes, wanted *proxy.Wanted, repaired bool, start, received time.Time) {
	now := time.Now()
	k.o.Plan.Settled()
	c.Triggered = append(k.overdue.Triggered, c.Triggered...)
	k.o.Metrics.Applied(metrics.Applied{Changes: c, Full: k.full, Took: now.Sub(start), Received: received, Now: now})
	k.o.State.Updated()
	if repaired {
		k.o.Metrics.Repaired()
	}
	if k.trouble != "" {
		k.o.Log.Info("routes are up to date again")
	}
	if !k.begun {
		k.o.Log.Info(fmt.Sprintf("routes are in the kernel: %d, after %s", len(wanted.Routes), now.Sub(start).Round(time.Microsecond)))
	}
	if wanted != nil {
		k.o.Flows.Sync(k.o.Installed, wanted)
		k.o.Installed = nil
	} else {
		k.o.Flows.Apply(c)
	}
	if !k.begun && k.o.Begun != nil {
		k.o.Begun()
	}
	k.full, k.begun, k.trouble, k.pause, k.overdue = false, true, "", k.o.RetryMin, proxy.Changes{}
}
