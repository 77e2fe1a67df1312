package server

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/waypost/waypost/message"
)

// chain is a block with what is made of it once and for all.
type chain struct {
	*Block
	set        *chains // where it is one of
	unanswered error   // what becomes of a query that no step answered
	parked     []quota // queries that wait since a step, by its number; the last ones wait for revisions of a complete reply
}

// parkedAt counts the queries that wait since step i.
func (c *chain) parkedAt(i int) *quota {
	if i == completed {
		i = len(c.Steps)
	}
	return &c.parked[i]
}

// waiter is the step that the chain goes on with, if that can wait without a goroutine.
func (c *chain) waiter(i int) (Waiter, bool) {
	if i == completed {
		return nil, false
	}
	w, ok := c.Steps[i].(Waiter)
	return w, ok
}

// chains finds the chain for a name: that of the longest zone which the name is in.
type chains struct {
	byZone map[string][]*chain // of those that have a zone in common the first that takes a query gets it
	depths []int               // how many labels the zones have, the most first
	root   []*chain            // those of the root zone, which are in byZone too

	waiting atomic.Int64 // queries that wait in one of them
	retired atomic.Bool  // there are others in their place
	once    sync.Once
	left    chan struct{} // closed when they are retired and nothing waits in them
}

// newChains prepares the blocks.
func newChains(blocks []*Block) *chains {
	t := &chains{byZone: make(map[string][]*chain), left: make(chan struct{})}
	for _, b := range blocks {
		c := &chain{Block: b, set: t, unanswered: fmt.Errorf("plugin/%s: no next plugin found", b.Last), parked: make([]quota, len(b.Steps)+1)}
		for _, zone := range b.Zones {
			t.add(zone, c)
		}
	}
	slices.SortFunc(t.depths, func(a, b int) int { return cmp.Compare(b, a) })
	t.root = t.byZone[string(message.Root)]
	return t
}

func (t *chains) add(zone message.Name, c *chain) {
	t.byZone[string(zone)] = append(t.byZone[string(zone)], c)
	if n := zone.Labels(); !slices.Contains(t.depths, n) {
		t.depths = append(t.depths, n)
	}
}

// find returns the chain that is to answer q, nil if there is none. A query that no chain of a zone takes goes to the next
// shorter zone. As in CoreDNS a question for DS, which is the parent zone's to answer, goes to the shortest zone that covers
// the name, and there to the last chain that takes it; the root zone is the last resort there too. A block without
// directives refuses it on the way.
func (t *chains) find(q *message.Query) *chain {
	var found *chain
	for _, depth := range t.depths {
		i := q.Labels() - depth
		if i < 0 {
			continue
		}
		if depth == 0 && i > 0 {
			break
		}
		for _, c := range t.byZone[string(q.Suffix(i))] {
			if !c.takes(q) {
				continue
			}
			if q.Type != message.TypeDS || c.Last == "" {
				return c
			}
			found = c
		}
	}
	if found != nil {
		return found
	}
	for _, c := range t.root {
		if c.Last != "" && c.takes(q) {
			return c
		}
	}
	return nil
}

// takes reports whether the query is the block's.
func (c *chain) takes(q *message.Query) bool { return c.Takes == nil || c.Takes(q) }

// enter lets a query wait in the chains, until leave. It reports false for chains that are retired: others have to answer.
func (t *chains) enter() bool {
	t.waiting.Add(1)
	if t.retired.Load() {
		t.leave()
		return false
	}
	return true
}

// leave follows each enter that has reported true.
func (t *chains) leave() {
	if t.waiting.Add(-1) == 0 && t.retired.Load() {
		t.once.Do(func() { close(t.left) })
	}
}

// retire lets no more queries wait in the chains, and returns what is closed once those that do have ended.
func (t *chains) retire() <-chan struct{} {
	t.retired.Store(true)
	if t.waiting.Load() == 0 {
		t.once.Do(func() { close(t.left) })
	}
	return t.left
}
