package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waypost/waypost/cluster"
)

type deafSink struct{}

func (deafSink) Apply([]cluster.Change) {}

func (deafSink) Synced(cluster.Kind) {}

func TestResting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var rests atomic.Bool
		var calls atomic.Int32
		r := newResting(deafSink{})
		set := func(to bool) { rests.Store(to); calls.Add(1) }
		r.rest, r.work = func() { set(true) }, func() { set(false) }
		go r.run(ctx)
		expect := func(when string, wantRests bool, wantCalls int32) {
			t.Helper()
			if synctest.Wait(); rests.Load() != wantRests || calls.Load() != wantCalls {
				t.Errorf("%s: rests %t after %d settings, want %t after %d", when, rests.Load(), calls.Load(), wantRests, wantCalls)
			}
		}
		for range 10 {
			r.Apply(nil)
			time.Sleep(quietAfter / 2)
		}
		expect("a change now and then", false, 0)
		time.Sleep(2 * quietAfter)
		expect("none for long", true, 1)
		time.Sleep(time.Hour)
		expect("none for longer", true, 1)
		r.Apply(nil)
		expect("one", false, 2)
		r.Apply(nil)
		expect("another", false, 2)
		time.Sleep(3 * quietAfter)
		expect("none again", true, 3)
	})
}

// TestRest: at rest nothing is collected, until there is too much of it.
func TestRest(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	debug.FreeOSMemory()
	r := newResting(deafSink{})
	collections := func(size int) uint32 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range size >> 16 {
			garbage = make([]byte, 1<<16)
		}
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
	r.rest()
	if n := collections(restHeadroom / 4); n != 0 {
		t.Errorf("%d collections of little garbage", n)
	}
	if n := collections(8 * restHeadroom); n == 0 {
		t.Error("no collection of much garbage")
	}
	r.work()
	if got := debug.SetGCPercent(gcPercent); got != gcPercent {
		t.Errorf("back at work at %d %%", got)
	}
	if got := debug.SetMemoryLimit(-1); got < 1<<40 {
		t.Errorf("back at work with a limit of %d", got)
	}
}

var garbage []byte
