package forward

import (
	"math/rand/v2"
	"slices"

	"github.com/waypost/waypost/upstream"
)

// order is the servers in the order in which to ask them for one question. Where the policy leaves that to chance, those
// come last which something went wrong with since they last replied.
func (f *Forward) order() []*upstream.Server {
	all := f.servers.all()
	if len(all) < 2 || f.options.Policy == Sequential {
		return all
	}
	list := slices.Clone(all)
	if f.options.Policy == Random {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	} else {
		i := int(f.turn.Add(1) % uint32(len(list)))
		copy(list[1:], all[:i])
		list[0] = all[i]
	}
	slices.SortStableFunc(list, func(a, b *upstream.Server) int { return suspicion(a) - suspicion(b) })
	return list
}

func suspicion(s *upstream.Server) int {
	if s.Suspect() {
		return 1
	}
	return 0
}
