package watch

import (
	"sync"

	"github.com/waypost/waypost/cluster"
)

// batch is how many changes are handed over at once, at most.
const batch = 1000

// store holds the values of one kind, as the sink was told of them, and the changes it has yet to be told of. Only the goroutine
// that follows the kind uses it.
type store struct {
	sink    *serialSink
	values  map[cluster.Key]entry
	round   uint32 // counts lists
	changes []cluster.Change
}

// entry is a value and the list, by its number, that last had it.
type entry struct {
	value cluster.Object
	round uint32
}

func newStore(sink *serialSink) *store {
	return &store{sink: sink, values: make(map[cluster.Key]entry)}
}

// put learns a value. One that says what is known already is dropped.
func (s *store) put(value cluster.Object) {
	key := value.Key()
	old, known := s.values[key]
	if known && old.value.Equal(value) {
		value = old.value
	} else {
		s.change(cluster.Change{Old: old.value, New: value})
	}
	if !known || old.value != value || old.round != s.round {
		s.values[key] = entry{value: value, round: s.round}
	}
}

// keep says that the value is still true, if it is known.
func (s *store) keep(key cluster.Key) {
	if old, known := s.values[key]; known {
		s.values[key] = entry{value: old.value, round: s.round}
	}
}

// remove forgets a value.
func (s *store) remove(key cluster.Key) {
	if old, known := s.values[key]; known {
		delete(s.values, key)
		s.change(cluster.Change{Old: old.value})
	}
}

// mark begins a list: what is not put or kept until sweep is gone.
func (s *store) mark() { s.round++ }

// sweep removes what the list did not have, and hands over all that is left to tell.
func (s *store) sweep() {
	for key, e := range s.values {
		if e.round != s.round {
			s.remove(key)
		}
	}
	s.flush()
}

func (s *store) change(c cluster.Change) {
	s.changes = append(s.changes, c)
	if len(s.changes) >= batch {
		s.flush()
	}
}

// flush tells the sink what has changed.
func (s *store) flush() {
	if len(s.changes) == 0 {
		return
	}
	s.sink.apply(s.changes)
	clear(s.changes) // old values may go
	s.changes = s.changes[:0]
}

// serialSink lets those who follow the kinds speak to the sink one at a time.
type serialSink struct {
	mu   sync.Mutex
	sink cluster.Sink
}

func (s *serialSink) apply(changes []cluster.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink.Apply(changes)
}

func (s *serialSink) synced(kind cluster.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink.Synced(kind)
}
