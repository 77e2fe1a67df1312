package health

import (
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
)

// Options are what a health directive says.
type Options struct {
	// Address is where /health is served. Default: ":8080".
	Address string
	// Lameduck is how long the process goes on serving once it has been told to end. Default: 0.
	Lameduck time.Duration
}

// Parse reads the directive; of several in one block each overrides what the ones before it said:
//
//	health [ADDRESS] {
//	    lameduck DURATION
//	}
func Parse(d *config.Directive) (Options, error) {
	o := Options{Address: ":8080"}
	c := d.Dispenser()
	for c.Next() {
		var err error
		if o.Address, err = endpoint.ParseAddress(c, o.Address); err != nil {
			return o, err
		}
		for c.NextBlock() {
			if c.Val() != "lameduck" {
				return o, c.Errf("unknown property '%s'", c.Val())
			}
			args := c.RemainingArgs()
			if len(args) != 1 {
				return o, c.ArgErr()
			}
			if o.Lameduck, err = time.ParseDuration(args[0]); err != nil {
				return o, c.Errf("unable to parse lameduck duration value: '%s' : %v", args[0], err)
			}
		}
	}
	return o, nil
}
