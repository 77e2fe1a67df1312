package server

import "testing"

func TestPace(t *testing.T) {
	type call struct {
		n      int
		waited bool
	}
	for _, c := range []struct {
		name  string
		calls []call
		rests []int // after which of the calls
	}{
		{"few at a time", []call{{2, true}, {1, false}, {2, false}, {1, false}, {5, false}, {1, false}, {1, false}}, []int{3, 6}},
		{"time to wait for each", []call{{1, true}, {1, true}, {1, true}, {1, true}, {1, true}}, nil},
		{"many at once", []call{{8, false}, {32, false}, {9, false}, {8, false}}, nil},
		{"many at once now and then", []call{{1, false}, {1, false}, {8, false}, {1, false}, {1, false}, {1, true}, {1, false}, {1, false}}, nil},
		{"rests that bring many", []call{{1, false}, {1, false}, {1, false}, {12, false}, {7, false}, {31, false}}, []int{2, 3, 4, 5}},
		{"one that brings few", []call{{1, false}, {1, false}, {1, false}, {12, false}, {5, false}, {12, false}, {1, true}, {13, false}}, []int{2, 3, 4, 5, 6, 7}},
		{"several that bring few", []call{{1, false}, {1, false}, {1, false}, {12, false}, {11, false}, {1, true}, {19, true}, {1, false}}, []int{2, 3, 4}},
		{"no room for more", []call{{1, false}, {1, false}, {1, false}, {32, false}, {32, false}, {9, false}}, []int{2, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			rests := 0
			for i, call := range c.calls {
				kind := p.after(call.n, call.waited)
				if kind == none {
					continue
				}
				if want := []rest{doze, yield}[rests%2]; kind != want {
					t.Errorf("rest %d is of kind %d, want %d", rests, kind, want)
				}
				if rests == len(c.rests) || c.rests[rests] != i {
					t.Errorf("a rest after call %d", i)
				}
				rests++
			}
			if rests != len(c.rests) {
				t.Errorf("%d rests, want %d", rests, len(c.rests))
			}
		})
	}
}
