package dns64

import (
	"net"
	"net/netip"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what a dns64 directive says.
type Options struct {
	// Prefix is where the addresses are put into, of 32, 40, 48, 56, 64 or 96 bits. Default: 64:ff9b::/96, the well-known
	// one (RFC 6052 section 2.1).
	Prefix netip.Prefix
	// TranslateAll gives names that have AAAA records others in their place. Default: false (RFC 6147 section 5.1.1).
	TranslateAll bool
	// AllowIPv4 translates for clients that ask over IPv4 too. Default: false.
	AllowIPv4 bool

	Warnings []config.Warning // what is legal and surely not meant
}

var wellKnown = netip.MustParsePrefix("64:ff9b::/96")

// Parse reads the directive. Of several lines the last counts, option by option:
//
//	dns64 [PREFIX]
//	dns64 {
//	    prefix PREFIX
//	    translate_all
//	    allow_ipv4
//	}
func Parse(d *config.Directive) (Options, error) {
	o := Options{Prefix: wellKnown}
	c := d.Dispenser()
	for c.Next() {
		args := c.RemainingArgs()
		if len(args) > 1 {
			return o, c.ArgErr()
		}
		if len(args) == 1 {
			if err := o.prefix(c, args[0]); err != nil {
				return o, err
			}
			for c.NextBlock() {
				o.Warnings = append(o.Warnings, config.At(c).Warningf("%q has no effect behind a prefix: put the prefix into the braces too", c.Val()))
			}
			continue
		}
		for c.NextBlock() {
			if err := o.option(c); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

func (o *Options) option(c *caddyfile.Dispenser) error {
	switch c.Val() {
	case "prefix":
		if !c.NextArg() {
			return c.ArgErr()
		}
		return o.prefix(c, c.Val())
	case "translate_all":
		o.TranslateAll = true
	case "allow_ipv4":
		o.AllowIPv4 = true
	default:
		return c.Errf("unknown property '%s'", c.Val())
	}
	return nil
}

func (o *Options) prefix(c *caddyfile.Dispenser, text string) error {
	_, network, err := net.ParseCIDR(text)
	if err != nil {
		return c.Err(err.Error())
	}
	bits, total := network.Mask.Size()
	if total != 128 {
		return c.Errf("invalid netmask %d IPv6 address: %q", total, network)
	}
	switch bits {
	case 32, 40, 48, 56, 64, 96:
	default:
		return c.Errf("invalid prefix length %q", network)
	}
	addr, _ := netip.AddrFromSlice(network.IP)
	o.Prefix = netip.PrefixFrom(addr, bits)
	return nil
}
