package forward

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/waypost/waypost/plugin/relay"
)

// lookup finds the addresses of a host, by the system's resolver or by those that are named. The name is absolute.
func lookup(ctx context.Context, host string, resolvers []string) ([]netip.Addr, error) {
	name := host
	if name[len(name)-1] != '.' {
		name += "."
	}
	if len(resolvers) == 0 {
		return lookupBy(ctx, net.DefaultResolver, name)
	}
	var err error
	for _, r := range resolvers {
		var addr netip.AddrPort
		if addr, err = relay.ParseAddress(r, 53); err != nil {
			continue
		}
		var addrs []netip.Addr
		if addrs, err = lookupBy(ctx, resolverAt(addr), name); err == nil {
			return addrs, nil
		}
	}
	return nil, err
}

func lookupBy(ctx context.Context, resolver *net.Resolver, name string) ([]netip.Addr, error) {
	addrs, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("no addresses found for %q", name)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// resolverAt asks one server.
func resolverAt(addr netip.AddrPort) *net.Resolver {
	var d net.Dialer
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr.String())
	}}
}
