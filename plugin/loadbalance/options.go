package loadbalance

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what a loadbalance directive says.
type Options struct {
	// Prefer are networks whose addresses come before others, those of the first network first. Default: none.
	Prefer []netip.Prefix
	// WeightFile says how often an address comes first (policy weighted). Default: "", all come first as often (round_robin).
	WeightFile string
	// Reload is how often WeightFile is looked at; 0 is once, at the start. Default: 30 s.
	Reload time.Duration

	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells directives from each other that do not mean the same, together with what is in Files.
func (o Options) Meaning() string {
	return fmt.Sprintf("%v %q %v", o.Prefer, o.WeightFile, o.Reload)
}

// Files are those that are read at the start only.
func (o Options) Files() []string {
	if o.WeightFile == "" || o.Reload != 0 {
		return nil
	}
	return []string{o.WeightFile}
}

const defaultReload = 30 * time.Second

// Parse reads the directive. Of several lines the policy of the last one counts; the networks add up from the last one with
// weights on:
//
//	loadbalance [round_robin] {
//	    prefer CIDR...
//	}
//	loadbalance weighted FILE {
//	    reload DURATION
//	}
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		policy, args := "round_robin", c.RemainingArgs()
		if len(args) > 0 {
			policy, args = args[0], args[1:]
		}
		var err error
		switch policy {
		case "round_robin":
			err = o.roundRobin(c, args)
		case "weighted":
			err = o.weighted(c, args)
		default:
			err = c.Errf("unknown policy: %s", policy)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// roundRobin reads a line of this policy.
func (o *Options) roundRobin(c *caddyfile.Dispenser, args []string) error {
	if len(args) > 0 {
		return c.Errf("unknown property for round_robin")
	}
	o.WeightFile, o.Reload = "", 0
	for c.NextBlock() {
		if c.Val() != "prefer" {
			return c.Errf("unknown property '%s'", c.Val())
		}
		if err := o.prefer(c); err != nil {
			return err
		}
	}
	return nil
}

// prefer reads the networks of one line. Bits behind a network's own do not count.
func (o *Options) prefer(c *caddyfile.Dispenser) error {
	for _, text := range c.RemainingArgs() {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return c.Errf("invalid CIDR %q: %v", text, err)
		}
		addr, _ := netip.AddrFromSlice(network.IP)
		bits, size := network.Mask.Size()
		if v4 := addr.Unmap(); v4 != addr {
			addr, bits = v4, bits-(size-v4.BitLen())
		}
		o.Prefer = append(o.Prefer, netip.PrefixFrom(addr, bits))
	}
	return nil
}

// weighted reads a line of this policy, and looks at the file.
func (o *Options) weighted(c *caddyfile.Dispenser, args []string) error {
	pos := config.At(c)
	switch {
	case len(args) == 0:
		return c.Err("missing weight file argument")
	case len(args) > 1:
		return c.Err("unexpected argument(s)")
	}
	*o = Options{WeightFile: args[0], Reload: defaultReload}
	for c.NextBlock() {
		if c.Val() != "reload" {
			return c.Errf("unknown property '%s'", c.Val())
		}
		if err := o.reload(c, c.RemainingArgs()); err != nil {
			return err
		}
	}
	return o.look(pos)
}

func (o *Options) reload(c *caddyfile.Dispenser, args []string) error {
	switch {
	case len(args) == 0:
		return c.Err("reload duration value is missing")
	case len(args) > 1:
		return c.Err("unexpected argument")
	}
	reload, err := time.ParseDuration(args[0])
	if err != nil || reload < 0 {
		return c.Errf("invalid reload duration '%s'", args[0])
	}
	o.Reload = reload
	return nil
}

// look returns an error for a file that is none, and warns of one that is not there; it may be later.
func (o *Options) look(pos config.Pos) error {
	text, err := readFile(o.WeightFile)
	if err == nil {
		_, err = parseWeights(o.WeightFile, text)
	}
	if err != nil && absent(err) && o.Reload > 0 {
		o.Warnings = append(o.Warnings, pos.Warningf("Failed to open weight file: %v. Will try again in %v", err, o.Reload))
		return nil
	}
	if err != nil {
		return pos.Errorf("%v", err)
	}
	return nil
}
