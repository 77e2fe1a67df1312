package nsid

import (
	"os"
	"strings"

	"github.com/waypost/waypost/config"
)

// Options are what an nsid directive says.
type Options struct {
	// Name is what the server calls itself. Default: the host's name, "localhost" where it has none.
	Name string
}

// Parse reads the directive, whose arguments become one text:
//
//	nsid [DATA...]
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	c.Next()
	if args := c.RemainingArgs(); len(args) > 0 {
		o.Name = strings.Join(args, " ")
	} else if name, err := os.Hostname(); err == nil {
		o.Name = name
	} else {
		o.Name = "localhost"
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}
