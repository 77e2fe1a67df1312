// Package bind is the bind directive: the addresses at which a server block is asked.
package bind

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what the bind directives of a block say. Their addresses add up.
type Options struct {
	// Lines in the order of the file.
	Lines []Line
}

// Line is one bind directive.
type Line struct {
	// Addresses are IP addresses and names of interfaces, which stand for all addresses that those have.
	Addresses []string
	// Except are addresses and interfaces to leave out of this line's. Default: none.
	Except []string
	// Pos is where the line stands.
	Pos config.Pos
}

// Parse reads the directive, which may stand in a block several times:
//
//	bind ADDRESS|INTERFACE... {
//	    except ADDRESS|INTERFACE...
//	}
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		line := Line{Pos: config.Pos{File: c.File(), Line: c.Line()}, Addresses: c.RemainingArgs()}
		if len(line.Addresses) == 0 {
			return o, c.Err("at least one address or interface name is expected")
		}
		if err := line.parseBlock(c); err != nil {
			return o, err
		}
		o.Lines = append(o.Lines, line)
	}
	return o, nil
}

func (l *Line) parseBlock(c *caddyfile.Dispenser) error {
	for c.NextBlock() {
		if c.Val() != "except" {
			return c.Errf("invalid option %q", c.Val())
		}
		l.Except = c.RemainingArgs()
		if len(l.Except) == 0 {
			return c.Err("at least one address or interface must be given to except subdirective")
		}
	}
	return nil
}

// Resolve returns the addresses, in the order of the file, as text; a link-local one names its interface
// ("fe80::1%eth0"). The error names the line of what is neither an address nor an interface of this host.
func (o Options) Resolve() ([]string, error) {
	var addresses []string
	for _, line := range o.Lines {
		all, err := resolve(line.Addresses)
		if err != nil {
			return nil, line.Pos.Errorf("%w", err)
		}
		except, err := resolve(line.Except)
		if err != nil {
			return nil, line.Pos.Errorf("%w", err)
		}
		for _, address := range all {
			if !slices.Contains(except, address) {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses, nil
}

func resolve(words []string) ([]string, error) {
	var addresses []string
	for _, word := range words {
		if device, err := net.InterfaceByName(word); err == nil {
			own, err := interfaceAddresses(device)
			if err != nil {
				return nil, err
			}
			addresses = append(addresses, own...)
			continue
		}
		if net.ParseIP(word) == nil {
			return nil, fmt.Errorf("not a valid IP address or interface name: %q", word)
		}
		addresses = append(addresses, word)
	}
	return addresses, nil
}

func interfaceAddresses(device *net.Interface) ([]string, error) {
	prefixes, err := device.Addrs()
	if err != nil {
		return nil, fmt.Errorf("failed to get the IP addresses of the interface: %q: %w", device.Name, err)
	}
	var addresses []string
	for _, prefix := range prefixes {
		ip, err := netip.ParsePrefix(prefix.String())
		if err != nil {
			continue // not an IP address
		}
		address := ip.Addr().Unmap()
		if address.Is6() && address.IsLinkLocalUnicast() {
			address = address.WithZone(device.Name)
		}
		addresses = append(addresses, address.String())
	}
	return addresses, nil
}
