package fromapi

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// parseAddr reads an address as the API has ever allowed it to be stored: also with leading zeros in IPv4, which are
// decimal, and as IPv4 in IPv6. An address with a zone is none.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if a, err = netip.ParseAddr(withoutLeadingZeros(s)); err != nil {
			return netip.Addr{}, false
		}
	}
	return a.Unmap(), a.Zone() == ""
}

// parsePrefix reads a CIDR likewise, with blanks around it, and masks what is beyond its length.
func parsePrefix(s string) (netip.Prefix, bool) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if p, err = netip.ParsePrefix(withoutLeadingZeros(s)); err != nil {
			return netip.Prefix{}, false
		}
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// withoutLeadingZeros makes 10.0.0.1 of 010.00.0.01; what is not IPv4 stays as it is.
func withoutLeadingZeros(s string) string {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return s
	}
	for i, p := range parts {
		for len(p) > 1 && p[0] == '0' && '0' <= p[1] && p[1] <= '9' {
			p = p[1:]
		}
		parts[i] = p
	}
	return strings.Join(parts, ".")
}

func appendAddr(to []netip.Addr, text, field string, bad *flaws) []netip.Addr {
	a, ok := parseAddr(text)
	if !ok {
		bad.add(fmt.Errorf("%s: %q is not an IP address", field, text))
		return to
	}
	if to == nil {
		to = make([]netip.Addr, 0, 1) // nearly always the only one
	}
	return append(to, a)
}

func appendPrefix(to []netip.Prefix, text, field string, bad *flaws) []netip.Prefix {
	p, ok := parsePrefix(text)
	if !ok {
		bad.add(fmt.Errorf("%s: %q is not a range of addresses", field, text))
		return to
	}
	return append(to, p)
}

// flaws collects what had to be left out of an object. Only the first is kept: one object may have a thousand.
type flaws struct {
	first error
	more  int
}

func (f *flaws) add(err error) {
	if f.first == nil {
		f.first = err
		return
	}
	f.more++
}

// errOf says what was left out of the object key names; nil where nothing was.
func (f *flaws) errOf(key cluster.Key) error {
	switch {
	case f.first == nil:
		return nil
	case f.more > 0:
		return fmt.Errorf("%q: %w (and %d more)", key, f.first, f.more)
	}
	return fmt.Errorf("%q: %w", key, f.first)
}
