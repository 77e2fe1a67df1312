package loadbalance

import (
	"net"
	"net/netip"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what a loadbalance directive says.
type Options struct {
	// Prefer are networks whose addresses come before others, those of the first network first. Default: none.
	Prefer []netip.Prefix
}

// Parse reads the directive; weighted is named as not supported:
//
//	loadbalance [round_robin] {
//	    prefer CIDR...
//	}
//
// The networks of several lines add up.
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		args := c.RemainingArgs()
		switch {
		case len(args) == 0:
		case args[0] == "weighted":
			return o, c.Err("policy weighted is not supported by Waypost yet: use round_robin")
		case args[0] != "round_robin":
			return o, c.Errf("unknown policy: %s", args[0])
		case len(args) > 1:
			return o, c.Errf("unknown property for %s", args[0])
		}
		for c.NextBlock() {
			if c.Val() != "prefer" {
				return o, c.Errf("unknown property '%s'", c.Val())
			}
			if err := o.prefer(c); err != nil {
				return o, err
			}
		}
	}
	return o, nil
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
