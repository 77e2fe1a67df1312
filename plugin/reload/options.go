package reload

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waypost/waypost/config"
)

// Options are what a reload directive says.
type Options struct {
	// Interval is how often the Corefile is looked at; at least 2 s. Default: 30 s.
	Interval time.Duration
	// Jitter is by how much the intervals of several processes differ, so that not all of them reload at the same time;
	// at least 1 s, or 0 for not at all, and at most half of Interval. Default: 15 s.
	Jitter time.Duration
}

// Limits and defaults, as CoreDNS has them.
const (
	defaultInterval = 30 * time.Second
	defaultJitter   = 15 * time.Second
	minInterval     = 2 * time.Second
	minJitter       = time.Second
)

// Parse reads the directive. As in CoreDNS the first of several lines in a block counts:
//
//	reload [INTERVAL] [JITTER]
func Parse(d *config.Directive) (Options, error) {
	o := Options{Interval: defaultInterval, Jitter: defaultJitter}
	c := d.Dispenser()
	c.Next()
	args := c.RemainingArgs()
	if len(args) > 2 {
		return o, c.ArgErr()
	}
	for i, field := range []*time.Duration{&o.Interval, &o.Jitter}[:len(args)] {
		var err error
		if *field, err = time.ParseDuration(args[i]); err != nil {
			return o, err
		}
	}
	if o.Interval < minInterval {
		return o, fmt.Errorf("interval value must be greater or equal to %v", minInterval)
	}
	if o.Jitter != 0 && o.Jitter < minJitter {
		return o, fmt.Errorf("jitter value must be 0 or greater or equal to %v", minJitter)
	}
	o.Jitter = min(o.Jitter, o.Interval/2)
	return o, nil
}

// Period is the interval with this process's own share of the jitter, half of it more or less.
func (o Options) Period() time.Duration {
	if o.Jitter == 0 {
		return o.Interval
	}
	return o.Interval + rand.N(o.Jitter) - o.Jitter/2
}
