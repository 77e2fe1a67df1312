package conntrack

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// desired says which flows agree with the routes.
type desired struct {
	node   proxy.Node
	routes map[proxy.Frontend]*proxy.Route // of UDP and TCP
	// gone are routes that ended, or were of another frontend's before, and whose flows have not been looked for since.
	gone map[proxy.Frontend]*proxy.Route
	// coming are routes that the kernel has already, or will have in a moment.
	coming map[proxy.Frontend]*proxy.Route
}

// expect notes what is about to change.
func (d *desired) expect(changes []proxy.RouteChange) {
	d.coming = nil
	for _, c := range changes {
		if c.New == nil || !concerns(c.New.Protocol) {
			continue
		}
		if d.coming == nil {
			d.coming = make(map[proxy.Frontend]*proxy.Route, len(changes))
		}
		d.coming[c.New.Frontend] = c.New
	}
}

// concerns reports whether flows of a protocol are looked at: a UDP flow lasts as long as its client sends, wherever it leads
// to, and so does an attempt to connect over TCP that nobody has answered. Established TCP connections end by themselves.
// SCTP is left alone, as kube-proxy does.
func concerns(p cluster.Protocol) bool { return p == cluster.UDP || p == cluster.TCP }

// change brings a route's change in, and reports whether there may be flows now that contradict.
func (d *desired) change(c proxy.RouteChange) bool {
	switch {
	case c.New == nil && !concerns(c.Old.Protocol), c.New != nil && !concerns(c.New.Protocol):
		return false
	case c.New == nil:
		d.gone[c.Old.Frontend] = c.Old
		delete(d.routes, c.Old.Frontend)
		return true
	}
	d.routes[c.New.Frontend] = c.New
	delete(d.gone, c.New.Frontend)
	// A route that begins finds flows that went nowhere: their clients were there first.
	return c.Old == nil || loses(c.Old.Serving, c.New.Serving) ||
		slices.ContainsFunc(c.New.Serving, func(e netip.AddrPort) bool { return agrees(c.Old, e) && !agrees(c.New, e) })
}

// leavesDNS reports whether a change has questions leave a DNS server.
func leavesDNS(c proxy.RouteChange) bool {
	return c.Old != nil && c.New != nil && isDNS(c.New) &&
		slices.ContainsFunc(c.Old.Serving, func(e netip.AddrPort) bool { return agrees(c.Old, e) && !agrees(c.New, e) })
}

// agrees reports whether a flow to an endpoint agrees with a route.
//
// Over UDP, a question to a DNS server is a conversation of its own, whatever port it comes from. So flows leave a DNS server
// as soon as others are chosen in its place, while it still answers: one that ends takes no question with it. All other
// flows may stay until their endpoint does not serve any more (KEP-1669).
func agrees(r *proxy.Route, e netip.AddrPort) bool {
	if isDNS(r) && len(r.Endpoints) > 0 {
		return slices.Contains(r.Endpoints, e) || slices.Contains(r.Local, e)
	}
	return slices.Contains(r.Serving, e)
}

func isDNS(r *proxy.Route) bool { return r.Protocol == cluster.UDP && r.Port == 53 }

// loses reports whether something in old is missing in new.
func loses(old, new []netip.AddrPort) bool {
	if len(old) > 0 && len(old) == len(new) && &old[0] == &new[0] {
		return false
	}
	has := make(map[netip.AddrPort]struct{}, len(new))
	for _, e := range new {
		has[e] = struct{}{}
	}
	return slices.ContainsFunc(old, func(e netip.AddrPort) bool {
		_, ok := has[e]
		return !ok
	})
}

// contradicts reports whether a flow leads to where no route leads it. isLocal tells the node's own addresses.
func (d *desired) contradicts(f *flow, isLocal func(netip.Addr) bool) bool {
	if f.protocol == cluster.TCP && f.status&seenReply != 0 {
		return false
	}
	frontend := proxy.Frontend{Address: f.target.Addr(), Protocol: f.protocol, Port: f.target.Port()}
	r, old, coming := d.routes[frontend], d.gone[frontend], d.coming[frontend]
	if (r == nil || coming == nil) && d.opensNodePorts(frontend.Address) && isLocal(frontend.Address) {
		nodePort := proxy.Frontend{Address: unspecified(frontend.Address), Protocol: f.protocol, Port: frontend.Port}
		r, old, coming = cmp.Or(r, d.routes[nodePort]), cmp.Or(old, d.gone[nodePort]), cmp.Or(coming, d.coming[nodePort])
	}
	switch {
	case coming != nil && agrees(coming, f.endpoint):
		return false
	case r != nil:
		return !agrees(r, f.endpoint)
	case f.status&translated == 0:
		return false
	case old != nil:
		return slices.Contains(old.Serving, f.endpoint) || slices.Contains(old.Endpoints, f.endpoint) || slices.Contains(old.Local, f.endpoint)
	}
	// Nobody but a proxy translates ClusterIPs.
	return within(d.node.ServiceRanges, frontend.Address)
}

// opensNodePorts reports whether NodePorts are open on an address, if it is the node's.
func (d *desired) opensNodePorts(a netip.Addr) bool {
	return !a.IsLoopback() && within(d.node.NodePorts, a)
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
