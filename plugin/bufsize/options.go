package bufsize

import (
	"strconv"

	"github.com/waypost/waypost/config"
)

// Options are what a bufsize directive says.
type Options struct {
	// Size is the most that goes over UDP, in bytes, 512 to 4096. Default: 1232, which fits the IPv6 minimum MTU
	// (dnsflagday.net/2020).
	Size uint16

	Warnings []config.Warning // what is legal and surely not meant
}

const (
	defaultSize = 1232
	minSize     = 512
	maxSize     = 4096
)

// Parse reads the directive. As in CoreDNS only the first of several lines counts:
//
//	bufsize [SIZE]
func Parse(d *config.Directive) (Options, error) {
	o := Options{Size: defaultSize, Warnings: d.OnlyFirst()}
	c := d.Dispenser()
	c.Next()
	args := c.RemainingArgs()
	if len(args) == 0 {
		return o, nil
	}
	size, err := strconv.Atoi(args[0])
	if len(args) > 1 || err != nil || size < minSize || size > maxSize {
		return o, c.ArgErr()
	}
	o.Size = uint16(size)
	return o, nil
}
