// Package collector says how often Go's garbage collector runs, and how much memory it may leave: what GOGC and GOMEMLIMIT
// say where they are set, and else what suits a program.
package collector

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Ours reports whether it is left to the program how often the collector runs.
func Ours() bool { return os.Getenv("GOGC") == "" }

// Pacer has the collector run when the heap has grown by a share of what was alive after the last time, and a small heap by
// Headroom: a share of little is little, and it would run again and again. It sets nothing unless the collector is Ours. The
// fields are set before Start.
type Pacer struct {
	Percent  int    // of what is alive
	Headroom uint64 // in bytes
	Most     int    // percent, however little is alive

	mu      sync.Mutex
	stopped bool
	set     int // percent
}

// Start paces until Stop. It begins with Percent, until the next collection has found out what is alive.
func (p *Pacer) Start() {
	if !Ours() {
		return
	}
	p.mu.Lock()
	p.to(p.Percent)
	p.mu.Unlock()
	p.afterCollection()
}

// Stop leaves it at Percent.
func (p *Pacer) Stop() {
	if !Ours() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.to(p.Percent)
}

// afterCollection has p look at the heap after the next collection, and after each that follows.
func (p *Pacer) afterCollection() {
	sentinel := new([16]byte) // is garbage at once; not so small that it would share its memory with others
	runtime.AddCleanup(sentinel, func(p *Pacer) {
		if p.look() {
			p.afterCollection()
		}
	}, p)
}

// look paces by what is alive now. It reports false once there was a Stop.
func (p *Pacer) look() bool {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	percent := p.percent(sample[0].Value.Uint64())
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := percent - p.set; !p.stopped && (diff*8 < -p.set || diff*8 > p.set) { // setting it stops the world
		p.to(percent)
	}
	return !p.stopped
}

// to sets the collector. The caller holds mu.
func (p *Pacer) to(percent int) {
	p.set = percent
	debug.SetGCPercent(percent)
}

// percent is how much a heap of which so many bytes are alive may grow.
func (p *Pacer) percent(live uint64) int {
	return int(min(max(100*p.Headroom/max(live, 1), uint64(p.Percent)), uint64(p.Most)))
}
