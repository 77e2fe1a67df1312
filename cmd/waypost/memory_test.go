package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{
		{0, 400},
		{1 << 20, 400},
		{5 << 20, 160},
		{10 << 20, 80},
		{40 << 20, 20},
		{60 << 20, 15},
		{2 << 30, 15},
	} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("%d bytes alive: %d %%, want %d %%", tt.live, got, tt.want)
		}
	}
}

// TestPacer: each collection is followed by a look at the heap.
func TestPacer(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(gcServing))
	afterCollection(new(pacer))
	set := func() int { // by changing it and back
		now := debug.SetGCPercent(gcServing)
		debug.SetGCPercent(now)
		return now
	}
	for end := time.Now().Add(10 * time.Second); set() == gcServing; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("a small heap is still collected as often as a large one")
		}
	}
}
