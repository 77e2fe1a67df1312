package plan

// tally counts how many want a thing, and remembers which things were told of. The zero value is empty.
type tally[K comparable] struct {
	counts  map[K]count
	touched []K
}

type count struct {
	wanted int32
	told   bool
}

func (t *tally[K]) add(k K, n int32) {
	if t.counts == nil {
		t.counts = map[K]count{}
	}
	c := t.counts[k]
	if c.wanted += n; (c.wanted > 0) != c.told {
		t.touched = append(t.touched, k)
	}
	t.counts[k] = c
}

func (t *tally[K]) has(k K) bool { return t.counts[k].wanted > 0 }

// take tells what came and what went since it was last called.
func (t *tally[K]) take(tell func(k K, gone bool)) {
	for _, k := range t.touched {
		c, known := t.counts[k]
		if !known || (c.wanted > 0) == c.told {
			continue
		}
		c.told = !c.told
		tell(k, !c.told)
		t.counts[k] = c
	}
	for _, k := range t.touched {
		if c, known := t.counts[k]; known && c.wanted == 0 {
			delete(t.counts, k)
		}
	}
	if t.touched = t.touched[:0]; cap(t.touched) > keptScratch {
		t.touched = nil
	}
}

// told returns what take has told of, in no order.
func (t *tally[K]) told() []K {
	all := make([]K, 0, len(t.counts))
	for k, c := range t.counts {
		if c.told {
			all = append(all, k)
		}
	}
	return all
}
