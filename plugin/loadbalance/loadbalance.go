// Package loadbalance is the loadbalance directive: the addresses of an answer come in a new order each time, those of
// preferred networks first.
package loadbalance

import (
	"sync"

	"github.com/waypost/waypost/message"
)

// LoadBalance is the step of one server block.
type LoadBalance struct {
	options Options
	spare   sync.Pool // of *arrangement, for the next replies
}

// New makes the step.
func New(o Options) *LoadBalance {
	return &LoadBalance{options: o, spare: sync.Pool{New: func() any { return new(arrangement) }}}
}

// Serve passes on, and asks for a random order, which costs nothing: records are written in it. For any other order it wants
// to see the whole reply, of which the client then gets what comes first.
func (b *LoadBalance) Serve(_ *message.Query, r *message.Reply) message.Verdict {
	if len(b.options.Prefer) == 0 {
		r.Shuffle = true
		return message.Next
	}
	r.Whole()
	r.Revisions = append(r.Revisions, b)
	return message.Next
}

// Revise implements message.Revision.
func (b *LoadBalance) Revise(_ *message.Query, r *message.Reply) message.Verdict {
	if r.Rcode == message.NoError {
		a := b.spare.Get().(*arrangement)
		a.read(r)
		a.prefer(b.options.Prefer)
		a.write(r)
		b.spare.Put(a)
	}
	r.Fit()
	return message.Done
}
