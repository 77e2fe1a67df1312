package ready

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
)

// Options are what a ready directive says.
type Options struct {
	// Address is where /ready is served. Default: ":8181".
	Address string
	// Continuously asks a directive again after it has been ready once. Default: false, "until-ready".
	Continuously bool
}

// Parse reads the directive:
//
//	ready [ADDRESS] {
//	    monitor until-ready|continuously
//	}
func Parse(d *config.Directive) (Options, error) {
	o := Options{Address: ":8181"}
	c := d.Dispenser()
	c.Next()
	var err error
	if o.Address, err = endpoint.ParseAddress(c, o.Address); err != nil {
		return o, err
	}
	for c.NextBlock() {
		if c.Val() != "monitor" {
			return o, c.Errf("unknown property '%s'", c.Val())
		}
		args := c.RemainingArgs()
		if len(args) != 1 {
			return o, c.ArgErr()
		}
		switch args[0] {
		case "until-ready", "continuously":
			o.Continuously = args[0] == "continuously"
		default:
			return o, c.Errf("monitor type '%s' not supported", args[0])
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}
