// Package loadbalance is the loadbalance directive: the addresses of an answer come in a new order each time, those of
// preferred networks first, or the first one is drawn by weight.
package loadbalance

import (
	"context"
	"sync"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// LoadBalance is the step of one server block.
type LoadBalance struct {
	options Options
	file    *file     // nil without weights
	spare   sync.Pool // of *arrangement, for the next replies
}

// New makes the step ready to start.
func New(o Options, e env.Env) *LoadBalance {
	b := &LoadBalance{options: o, spare: sync.Pool{New: func() any { return new(arrangement) }}}
	if o.WeightFile != "" {
		b.file = newFile(o, e.Log)
	}
	return b
}

// Start reads the weight file, and goes on to look at it. It returns an error for one that is none.
func (b *LoadBalance) Start(context.Context) error {
	if b.file == nil {
		return nil
	}
	return b.file.start()
}

// Stop ends that. What was read last goes on counting.
func (b *LoadBalance) Stop() {
	if b.file != nil {
		b.file.end()
	}
}

// Serve passes on, and asks for a random order, which costs nothing: records are written in it. For any other order it wants
// to see the whole reply, of which the client then gets what comes first.
func (b *LoadBalance) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if q.Type == message.TypeAXFR || q.Type == message.TypeIXFR { // whose order means something
		return message.Next
	}
	if len(b.options.Prefer) == 0 && b.file == nil {
		r.Shuffle = true
		return message.Next
	}
	r.Whole()
	r.Revisions = append(r.Revisions, b)
	return message.Next
}

// Revise implements message.Revision.
func (b *LoadBalance) Revise(q *message.Query, r *message.Reply) message.Verdict {
	if r.Rcode == message.NoError {
		a := b.spare.Get().(*arrangement)
		a.read(r)
		if b.file == nil {
			a.prefer(b.options.Prefer)
		} else if weighted(q.First().Type) {
			a.draw(r, *b.file.weights.Load())
		}
		a.write(r)
		b.spare.Put(a)
	}
	r.Fit()
	return message.Done
}

// weighted reports whether questions for a type are those whose answers are drawn from.
func weighted(t message.Type) bool {
	return t == message.TypeA || t == message.TypeAAAA || t == message.TypeSRV
}
