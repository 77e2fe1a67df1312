package relay

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/coredns/caddy/caddyfile"
)

// Policy is the order in which servers are asked.
type Policy uint8

// The policies.
const (
	Random Policy = iota // the default
	RoundRobin
	Sequential
)

// ParsePolicy reads the policy that the word at which c stands names.
func ParsePolicy(c *caddyfile.Dispenser, word string) (Policy, error) {
	policies := map[string]Policy{"random": Random, "round_robin": RoundRobin, "sequential": Sequential}
	policy, ok := policies[word]
	if !ok {
		return Random, c.Errf("unknown policy '%s'", word)
	}
	return policy, nil
}

// InWords says it, to stand behind the servers.
func (p Policy) InWords() string {
	switch p {
	case RoundRobin:
		return "each in turn"
	case Sequential:
		return "the first that works"
	}
	return "in random order"
}

// Server is what a policy has to know of a server.
type Server interface {
	// Suspect reports whether something went wrong with it since it last replied.
	Suspect() bool
}

// Order is the servers in the order in which to ask them for one question; it may be all itself, and is not to be changed.
// turn counts the questions of RoundRobin. Where the policy leaves the order to chance, those come last that are suspect.
func Order[S Server](p Policy, turn *atomic.Uint32, all []S) []S {
	if len(all) < 2 || p == Sequential {
		return all
	}
	list := slices.Clone(all)
	if p == Random {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	} else {
		i := int(turn.Add(1) % uint32(len(list)))
		copy(list[1:], all[:i])
		list[0] = all[i]
	}
	slices.SortStableFunc(list, func(a, b S) int { return suspicion(a) - suspicion(b) })
	return list
}

func suspicion(s Server) int {
	if s.Suspect() {
		return 1
	}
	return 0
}
