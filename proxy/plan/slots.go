package plan

import (
	"net/netip"
	"slices"
)

// slots puts endpoints into slots, so that as few as can be change. It is scratch space; the zero value is ready for use.
type slots struct {
	kept  []bool
	holes []int
	array []netip.AddrPort
}

// place returns the wanted endpoints, which are sorted and unique, by slot. Those in old stay where they are; new ones go
// first where old ones left, then behind; holes that are left are filled with the last ones. Where nothing changes, it
// returns old itself; old is never changed.
func (s *slots) place(old, want []netip.AddrPort) []netip.AddrPort {
	s.mark(old, want)
	if len(s.holes) == 0 && len(old) == len(want) {
		return old
	}
	array, holes := append(s.array[:0], old...), s.holes
	for i, kept := range s.kept {
		switch {
		case kept:
		case len(holes) > 0:
			array[holes[0]] = want[i]
			holes = holes[1:]
		default:
			array = append(array, want[i])
		}
	}
	s.array = array
	if array = closeHoles(array, holes); len(array) == 0 {
		return nil
	}
	return slices.Clone(array)
}

// mark finds which of want are in old, and where old has something else: a hole.
func (s *slots) mark(old, want []netip.AddrPort) {
	s.kept = append(s.kept[:0], make([]bool, len(want))...)
	s.holes = s.holes[:0]
	for slot, e := range old {
		i, found := slices.BinarySearchFunc(want, e, netip.AddrPort.Compare)
		if found && !s.kept[i] {
			s.kept[i] = true
		} else {
			s.holes = append(s.holes, slot)
		}
	}
}

// closeHoles fills the holes, which are in order, from the end of the array.
func closeHoles(array []netip.AddrPort, holes []int) []netip.AddrPort {
	for len(holes) > 0 {
		last := len(array) - 1
		if holes[len(holes)-1] == last {
			holes = holes[:len(holes)-1]
		} else {
			array[holes[0]] = array[last]
			holes = holes[1:]
		}
		array = array[:last]
	}
	return array
}
