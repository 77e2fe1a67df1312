package cache

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// store keeps items up to a number, those that were asked for last. It is divided into parts, each with a lock of its own,
// so that the socket loops seldom meet at one.
type store struct {
	parts [storeParts]part
	size  int // items in each part
}

const (
	storeParts   = 256
	leastPerPart = 4
)

type part struct {
	mu    sync.Mutex
	items *simplelru.LRU[uint64, *item] // nil while there are none
	_     [48]byte                      // parts do not share a cache line
}

// newStore makes a store for about capacity items, as CoreDNS counts them: an equal number for each part.
func newStore(capacity int) *store {
	return &store{size: max(capacity/storeParts, leastPerPart)}
}

func (s *store) part(key uint64) *part { return &s.parts[key%storeParts] }

// get returns the item under a key, nil if there is none.
func (s *store) get(key uint64) *item {
	p := s.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items == nil {
		return nil
	}
	i, _ := p.items.Get(key)
	return i
}

// add puts an item under a key, and reports whether another one had to go.
func (s *store) add(key uint64, i *item) (evicted bool) {
	p := s.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items == nil {
		p.items, _ = simplelru.NewLRU[uint64, *item](s.size, nil) // the size is positive
	}
	return p.items.Add(key, i)
}

func (s *store) remove(key uint64) {
	p := s.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items != nil {
		p.items.Remove(key)
	}
}

// len is the number of items.
func (s *store) len() int {
	n := 0
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		if p.items != nil {
			n += p.items.Len()
		}
		p.mu.Unlock()
	}
	return n
}
