package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/cmd/internal/collector"
)

// gcPercent has the collector run before garbage is as much as what lives: the proxy is on every node of the cluster, and
// has little to do.
const gcPercent = 50

// newLoading is the pace while a cluster is listed. What lives is little at first, and most of what is made stays.
func newLoading() *collector.Pacer {
	return &collector.Pacer{Percent: gcPercent, Headroom: 32 << 20, Most: 1600}
}

const (
	// quietAfter is how long nothing changes before the collector rests.
	quietAfter = 5 * time.Second
	// restHeadroom is how much memory may be added, in bytes, before it works all the same: by health checks and by
	// metrics that are read.
	restHeadroom = 32 << 20
)

// resting is a sink whose changes end the rest of Go's collector. While there are none, that goes through the whole heap
// every two minutes, garbage or not, which is most of the processor time of a proxy that has nothing to do.
type resting struct {
	cluster.Sink
	rest, work func() // set the collector

	busy, rests atomic.Bool
	wake        chan struct{}
}

func newResting(sink cluster.Sink) *resting {
	limit := debug.SetMemoryLimit(-1)
	return &resting{
		Sink: sink, wake: make(chan struct{}, 1),
		rest: func() {
			debug.SetMemoryLimit(min(limit, memoryUsed()+restHeadroom)) // first, as from now on nothing else bounds the heap
			debug.SetGCPercent(-1)
		},
		work: func() {
			debug.SetGCPercent(gcPercent)
			debug.SetMemoryLimit(limit)
		},
	}
}

// Apply implements cluster.Sink.
func (r *resting) Apply(changes []cluster.Change) {
	r.Sink.Apply(changes)
	if r.busy.Store(true); r.rests.Load() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// run lets the collector rest and work until ctx ends.
func (r *resting) run(ctx context.Context) {
	quiet := time.NewTimer(quietAfter)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			if !r.busy.Swap(false) {
				r.rest()
				r.rests.Store(true)
				if !r.busy.Load() {
					continue
				}
			}
		case <-r.wake:
		}
		if r.rests.Swap(false) {
			r.work()
		}
		quiet.Reset(quietAfter)
	}
}

// memoryUsed is what of the memory of Go's own the process has, in bytes: what a memory limit bounds.
func memoryUsed() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}
