package relay

import (
	"slices"
	"testing"
)

func TestFlights(t *testing.T) {
	var all Flights[int]
	var one, two, spare Flight[int]
	for i, join := range []struct {
		f     *Flight[int]
		key   string
		leads bool
	}{{&one, "a", true}, {&spare, "a", false}, {&two, "b", true}, {&spare, "b", false}, {&spare, "a", false}} {
		if got := all.Join(join.f, []byte(join.key), i); got != join.leads {
			t.Errorf("query %d leads: %t", i, got)
		}
	}
	if got := all.Land(&one); !slices.Equal(got, []int{0, 1, 4}) {
		t.Errorf("%v waited for a", got)
	}
	if !all.Join(&one, []byte("a"), 5) { // again
		t.Error("a is still asked after it has landed")
	}
	if got := all.Land(&two); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("%v waited for b", got)
	}
	if got := all.Land(&one); !slices.Equal(got, []int{5}) {
		t.Errorf("%v waited for the second a", got)
	}
	if n := all.Len(); n != 0 {
		t.Errorf("%d flights are left", n)
	}
}
