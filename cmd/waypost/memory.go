package main

import (
	"runtime/debug"

	"github.com/waypost/waypost/cmd/internal/collector"
)

// gcLoading is how much the heap may grow between two collections, in percent of what was alive after the last one, while a
// cluster is read for the first time: much is made and dropped, and to collect often would be most of the work.
const gcLoading = 40

// newPace is the pace later. A large zone lives long, queries for its names allocate nothing and changes are small: to collect
// often costs little then, and what is listed again after the API server was away does not add much. A small heap may grow by
// the headroom, since forwarding does allocate: at 20 percent of a few megabytes, collecting took an eighth of a cache miss
// (bench/resolver_test.go).
func newPace() *collector.Pacer {
	return &collector.Pacer{Percent: 15, Headroom: 8 << 20, Most: 400}
}

// tuneMemory sets the collector for a server.
func tuneMemory() {
	if collector.Ours() {
		debug.SetGCPercent(gcLoading)
	}
	collector.Limit()
}

// settleMemory follows once the first state of the cluster is known: what reading it took goes back to the kernel.
func settleMemory() {
	newPace().Start()
	debug.FreeOSMemory()
}
