package pprof

import (
	"strconv"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
)

// Options are what a pprof directive says.
type Options struct {
	// Address is where the profiles are served. Default: "localhost:6053".
	Address string
	// Block is how many nanoseconds of waiting there are for each wait that the block profile has; with 1 it has all of
	// them, with 0 or less none. Default: 0, and 1 where the option has no number.
	Block int

	// Warnings are of what is legal and surely not meant.
	Warnings []config.Warning
}

// Parse reads the directive:
//
//	pprof [ADDRESS] {
//	    block [RATE]
//	}
func Parse(d *config.Directive) (Options, error) {
	o := Options{Address: "localhost:6053"}
	c := d.Dispenser()
	c.Next()
	var err error
	if o.Address, err = endpoint.ParseAddress(c, o.Address); err != nil {
		return o, err
	}
	for c.NextBlock() {
		if c.Val() != "block" {
			return o, c.Errf("unknown property '%s'", c.Val())
		}
		args := c.RemainingArgs()
		if len(args) > 1 {
			return o, c.ArgErr()
		}
		o.Block = 1
		if len(args) == 0 {
			continue
		}
		if o.Block, err = strconv.Atoi(args[0]); err != nil {
			return o, c.Errf("property '%s' invalid integer value '%v'", "block", args[0])
		}
		if o.Block <= 0 {
			o.Warnings = append(o.Warnings, config.At(c).Warningf("a rate of %d records no wait, the line has no effect: block alone records all", o.Block))
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}
