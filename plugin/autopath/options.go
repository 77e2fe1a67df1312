package autopath

import (
	"errors"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Options are what an autopath directive says.
type Options struct {
	Zones config.Zones // the names to complete; default: those of its server block
	// From is the directive that knows the search path of each client: "kubernetes"; "" for all clients having Search.
	From string
	// Search are the search domains: those of a file, or with From the host's own, which come last.
	Search []message.Name

	Warnings []config.Warning // what is legal and surely not meant
}

// hostFile is where the host's own search domains stand.
const hostFile = "/etc/resolv.conf"

// Parse reads the autopath directive of a block. As in CoreDNS the last of several lines counts:
//
//	autopath [ZONES...] FILE|@kubernetes
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		pos := config.At(c)
		args := c.RemainingArgs()
		if len(args) == 0 {
			return o, pos.Errorf("%w", errors.New("no resolv-conf specified"))
		}
		last := args[len(args)-1]
		o = Options{}
		var dropped []string
		o.Zones, dropped = block.ZonesOr(args[:len(args)-1])
		o.Warnings = append(d.OnlyLast(), pos.LeftOut(dropped)...)
		from, named := strings.CutPrefix(last, "@")
		if named {
			o.From, last = from, hostFile
		}
		if err := o.read(pos, last); err != nil && !named {
			return o, pos.Errorf("failed to parse %q: %w", last, err)
		}
	}
	return o, nil
}

// read takes the search domains out of a file in the form of resolv.conf.
func (o *Options) read(pos config.Pos, file string) error {
	resolv, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return err
	}
	for _, domain := range resolv.Search {
		name, err := message.ParseName(domain)
		if err != nil {
			o.Warnings = append(o.Warnings, pos.Warningf("search domain of %s is left out: %v", file, err))
			continue
		}
		o.Search = append(o.Search, name)
	}
	return nil
}
