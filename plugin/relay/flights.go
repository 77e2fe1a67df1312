package relay

import "sync"

// Flights are questions on their way to other servers, each with the queries that wait for its answer: what is asked
// already is not asked again. W is a query that waits. The zero value has none.
type Flights[W any] struct {
	mu  sync.Mutex
	all map[string]*Flight[W] // by what is asked: see AppendKey
}

// Flight is one question on its way, to be part of what knows how it is asked. It may be used again once it has landed.
type Flight[W any] struct {
	key     string
	waiters []W
	first   [1]W
}

// Join lets a query wait for the flight that asks what key says. Where there is none, that is f from now on, and Join reports
// true: the caller has it asked.
func (all *Flights[W]) Join(f *Flight[W], key []byte, w W) (leads bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if there := all.all[string(key)]; there != nil {
		there.waiters = append(there.waiters, w)
		return false
	}
	if all.all == nil {
		all.all = make(map[string]*Flight[W])
	}
	f.key, f.first[0] = string(key), w
	f.waiters = f.first[:]
	all.all[f.key] = f
	return true
}

// Land ends a flight, and returns the queries that have waited for it.
func (all *Flights[W]) Land(f *Flight[W]) []W {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.all, f.key)
	return f.waiters
}

// Len is how many questions are on their way.
func (all *Flights[W]) Len() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.all)
}
