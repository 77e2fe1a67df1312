package relay

import (
	"net/netip"
	"strings"
)

// schemes are those that CoreDNS knows.
var schemes = []string{"tls", "dns", "quic", "grpc", "https3", "https", "unix"}

// SplitScheme takes the scheme off what stands for a server in a Corefile. Without one it is "dns".
func SplitScheme(arg string) (scheme, rest string) {
	for _, s := range schemes {
		if rest, ok := strings.CutPrefix(arg, s+"://"); ok {
			return s, rest
		}
	}
	return "dns", arg
}

// ParseAddress reads ADDRESS[:PORT]. An IPv6 address without a port needs no brackets.
func ParseAddress(arg string, port uint16) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddrPort(arg); err == nil {
		return addr, nil
	}
	addr, err := netip.ParseAddr(strings.Trim(arg, "[]"))
	return netip.AddrPortFrom(addr, port), err
}
