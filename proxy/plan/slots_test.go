package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// endpoints makes one out of each letter.
func endpoints(letters string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, c := range letters {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(c)}), 80))
	}
	return all
}

func letters(endpoints []netip.AddrPort) string {
	var b strings.Builder
	for _, e := range endpoints {
		b.WriteByte(e.Addr().As4()[3])
	}
	return b.String()
}

func TestPlace(t *testing.T) {
	for _, c := range []struct{ old, want, slots string }{
		{"", "", ""},
		{"", "abc", "abc"},
		{"cab", "abc", "cab"},   // nothing changes
		{"cab", "abcd", "cabd"}, // one more
		{"cab", "bcd", "cdb"},   // one instead of another
		{"cab", "bc", "cb"},     // one less: the last one moves
		{"cab", "ac", "ca"},     // the last one less
		{"cab", "c", "c"},       // several less
		{"cab", "b", "b"},       // the last one moves to the front
		{"abcdef", "bdf", "fbd"},
		{"abcdef", "bdfxy", "xbydf"}, // two new ones for three old
		{"cab", "", ""},
		{"aab", "abc", "acb"}, // a kernel that had one twice
		{"zza", "a", "a"},
	} {
		t.Run(c.old+" "+c.want, func(t *testing.T) {
			var s slots
			old := endpoints(c.old)
			got := s.place(old, endpoints(c.want))
			if letters(got) != c.slots {
				t.Errorf("%q, want %q", letters(got), c.slots)
			}
			if letters(old) != c.old {
				t.Errorf("the old slots became %q", letters(old))
			}
		})
	}
}

// TestPlaceMovesLittle: what stays keeps its slot, but for what fills a hole, and holes are filled only where it is shorter.
func TestPlaceMovesLittle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s slots
	old := []netip.AddrPort(nil)
	for range 10_000 {
		var want []byte
		for c := byte('a'); c <= 'z'; c++ {
			if random.IntN(3) > 0 {
				want = append(want, c)
			}
		}
		got := s.place(old, endpoints(string(want)))
		if err := checkPlaced(old, got, endpoints(string(want))); err != nil {
			t.Fatalf("%q to %q became %q: %v", letters(old), want, letters(got), err)
		}
		old = got
	}
}

func checkPlaced(old, got, want []netip.AddrPort) error {
	sorted := slices.Clone(got)
	if slices.SortFunc(sorted, netip.AddrPort.Compare); !slices.Equal(sorted, want) {
		return fmt.Errorf("not what was wanted")
	}
	changed, gone, came := 0, 0, 0
	for i := range max(len(old), len(got)) {
		if i < len(old) && !slices.Contains(got, old[i]) {
			gone++
		}
		if i < len(got) && !slices.Contains(old, got[i]) {
			came++
		}
		if i < len(got) && (i >= len(old) || old[i] != got[i]) {
			changed++
		}
	}
	if changed > max(came, gone) {
		return fmt.Errorf("%d slots changed, though %d came and %d went", changed, came, gone)
	}
	return nil
}
