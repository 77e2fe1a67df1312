package kubernetes

import (
	"net"
	"net/netip"
)

// localIPs are the server's own addresses that clients can reach, for the zone's NS records: those of the host's
// interfaces without loopback. With a bind directive CoreDNS finds none, so that there are no NS records then; clients
// that know CoreDNS see the same here.
func localIPs(bound []string) []netip.Addr {
	if len(bound) > 0 {
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // no NS records, as with bind
	}
	var ips []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLoopback() {
			ips = append(ips, prefix.Addr().Unmap().WithZone(""))
		}
	}
	return ips
}
