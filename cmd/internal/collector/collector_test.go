package collector

import (
	"io/fs"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	p := Pacer{Percent: 15, Headroom: 8 << 20, Most: 400}
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
		if got := p.percent(tt.live); got != tt.want {
			t.Errorf("%d bytes alive: %d %%, want %d %%", tt.live, got, tt.want)
		}
	}
}

// TestPacer: each collection is followed by a look at the heap, until the end.
func TestPacer(t *testing.T) {
	t.Setenv("GOGC", "")
	const usual = 15
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	set := func() int { // by changing it and back
		now := debug.SetGCPercent(usual)
		debug.SetGCPercent(now)
		return now
	}
	p := &Pacer{Percent: usual, Headroom: 8 << 20, Most: 400}
	p.Start()
	for end := time.Now().Add(10 * time.Second); set() == usual; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("a small heap is still collected as often as a large one")
		}
	}
	p.Stop()
	for range 3 {
		runtime.GC()
		if p.look() {
			t.Error("it goes on looking")
		}
		if got := set(); got != usual {
			t.Errorf("%d %% after the end, want %d %%", got, usual)
		}
	}
}

// TestNotOurs: what GOGC says stays.
func TestNotOurs(t *testing.T) {
	t.Setenv("GOGC", "70")
	defer debug.SetGCPercent(debug.SetGCPercent(70))
	p := &Pacer{Percent: 15, Headroom: 8 << 20, Most: 400}
	p.Start()
	p.Stop()
	if got := debug.SetGCPercent(70); got != 70 {
		t.Errorf("%d %%, want 70 %%", got)
	}
}

func TestLimit(t *testing.T) {
	const v2, v1 = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	for _, tt := range []struct {
		files map[string]string
		want  int64
	}{
		{nil, math.MaxInt64},
		{map[string]string{v2: "max\n"}, math.MaxInt64},
		{map[string]string{v2: "178257920\n"}, 160432128},
		{map[string]string{v1: "178257920\n"}, 160432128},
		{map[string]string{v2: "1000\n", v1: "2000\n"}, 900},
		{map[string]string{v2: "0\n"}, math.MaxInt64},
	} {
		got := limit(func(name string) ([]byte, error) {
			text, ok := tt.files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		})
		if got != tt.want {
			t.Errorf("%q: %d bytes, want %d", tt.files, got, tt.want)
		}
	}
}
