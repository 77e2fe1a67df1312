package health

import (
	"net"
	"time"

	"github.com/waypost/waypost/config"
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
		args := c.RemainingArgs()
		if len(args) > 1 {
			return o, c.ArgErr()
		}
		if len(args) == 1 {
			if _, _, err := net.SplitHostPort(args[0]); err != nil {
				return o, c.Err(err.Error())
			}
			o.Address = args[0]
		}
		for c.NextBlock() {
			if c.Val() != "lameduck" {
				return o, c.Errf("unknown property '%s'", c.Val())
			}
			args := c.RemainingArgs()
			if len(args) != 1 {
				return o, c.ArgErr()
			}
			var err error
			if o.Lameduck, err = time.ParseDuration(args[0]); err != nil {
				return o, c.Errf("unable to parse lameduck duration value: '%s' : %v", args[0], err)
			}
		}
	}
	return o, nil
}
