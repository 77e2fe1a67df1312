package loop

import (
	"github.com/waypost/waypost/config"
)

// Options are what a loop directive says.
type Options struct {
	// Zone is where the probes' names are: the first zone of the server block.
	Zone string
	// Exit ends the process when a loop is found, as CoreDNS does. Default: false, the server that leads back is taken out
	// of use.
	Exit bool
}

// Parse reads the directive of a block; exit is Waypost's own:
//
//	loop [exit]
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	o := Options{Zone: block.Zones()[0]}
	c := d.Dispenser()
	for once := false; c.Next(); once = true {
		if once {
			return o, config.ErrOnce
		}
		args := c.RemainingArgs()
		if len(args) > 1 || len(args) == 1 && args[0] != "exit" {
			return o, c.ArgErr()
		}
		o.Exit = len(args) == 1
		for c.NextBlock() {
			return o, c.Errf("unknown property '%s'", c.Val())
		}
	}
	return o, nil
}
