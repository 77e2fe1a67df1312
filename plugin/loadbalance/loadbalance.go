// Package loadbalance is the loadbalance directive: the addresses of an answer come in a new order each time.
package loadbalance

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Options are what a loadbalance directive says: there is one policy so far, round_robin, and nothing to choose.
type Options struct{}

// Parse reads the directive; weighted and prefer are named as not supported:
//
//	loadbalance [round_robin]
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		args := c.RemainingArgs()
		switch {
		case len(args) == 0:
		case args[0] == "weighted":
			return o, c.Err("policy weighted is not supported by Waypost yet: use round_robin")
		case args[0] != "round_robin":
			return o, c.Errf("unknown policy: %s", args[0])
		case len(args) > 1:
			return o, c.Errf("unknown property for %s", args[0])
		}
		for c.NextBlock() {
			if c.Val() == "prefer" {
				return o, c.Err("prefer is not supported by Waypost yet: leave it out, and clients see all addresses in random order")
			}
			return o, c.Errf("unknown property '%s'", c.Val())
		}
	}
	return o, nil
}

// LoadBalance is the step of one server block.
type LoadBalance struct{}

// New makes the step.
func New(Options) LoadBalance { return LoadBalance{} }

// Serve asks for a random order and passes on.
func (LoadBalance) Serve(_ *message.Query, r *message.Reply) message.Verdict {
	r.Shuffle = true
	return message.Next
}
