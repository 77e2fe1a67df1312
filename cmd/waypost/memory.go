package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// How much the heap may grow between two collections, in percent of what was alive after the last one. While a cluster is
// read for the first time much is made and dropped, and to collect often would be most of the work. Later a large zone lives
// long, queries for its names allocate nothing and changes are small: to collect often costs little then, and what is listed
// again after the API server was away does not add much. A small heap may grow by gcHeadroom, since forwarding does allocate:
// at 20 percent of a few megabytes, collecting took an eighth of a cache miss (bench/resolver_test.go).
const (
	gcLoading  = 40
	gcServing  = 15
	gcMost     = 400
	gcHeadroom = 8 << 20 // bytes
)

// tuneMemory sets the collector for a server, unless GOGC or GOMEMLIMIT say what is wanted. Near the memory limit of the
// container it collects as often as it must.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcLoading)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(os.ReadFile))
	}
}

// settleMemory follows once the first state of the cluster is known: what reading it took goes back to the kernel.
func settleMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcServing)
		afterCollection(new(pacer))
	}
	debug.FreeOSMemory()
}

// pacer sets the collector anew when a collection has found out how much of the heap is alive.
type pacer struct{ percent int }

// afterCollection has p look at the heap after the next collection, and after each that follows.
func afterCollection(p *pacer) {
	sentinel := new([16]byte) // is garbage at once; not so small that it would share its memory with others
	runtime.AddCleanup(sentinel, func(p *pacer) {
		p.look()
		afterCollection(p)
	}, p)
}

func (p *pacer) look() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	percent := gcPercent(sample[0].Value.Uint64())
	if diff := percent - p.percent; diff*8 < -p.percent || diff*8 > p.percent { // setting it stops the world
		p.percent = percent
		debug.SetGCPercent(percent)
	}
}

// gcPercent is how much a heap of which so many bytes are alive may grow.
func gcPercent(live uint64) int {
	return int(min(max(100*gcHeadroom/max(live, 1), gcServing), gcMost))
}

// memoryLimit is nine tenths of what the cgroup, version 2 or 1, allows in bytes; without a limit it is none.
func memoryLimit(read func(string) ([]byte, error)) int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := read(file)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && limit > 0 {
			return limit / 10 * 9
		}
	}
	return math.MaxInt64
}
