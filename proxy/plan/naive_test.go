package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// naive says where a cluster's frontends lead, as directly as the rules can be written down: for each frontend anew, out of
// all objects. It returns one line for each, endpoints sorted.
type naive struct {
	options  plan.Options
	services []*cluster.Service
	slices   []*cluster.Slice
	nodes    []*cluster.Node
	own      *cluster.Node // as it was last
	ranges   []*cluster.Range
}

func (w *world) naive(o plan.Options) *naive {
	n := &naive{options: o, own: &cluster.Node{}}
	if own := w.nodes[o.NodeName]; own != nil {
		n.own = own
	}
	for _, objects := range w.objects {
		for _, object := range objects {
			switch o := object.(type) {
			case *cluster.Service:
				if o.Type == cluster.ClusterIP && len(o.ClusterIPs) > 0 && !o.Routing.OtherProxy {
					n.services = append(n.services, o)
				}
			case *cluster.Slice:
				n.slices = append(n.slices, o)
			case *cluster.Node:
				n.nodes = append(n.nodes, o)
			case *cluster.Range:
				n.ranges = append(n.ranges, o)
			}
		}
	}
	slices.SortFunc(n.slices, func(a, b *cluster.Slice) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(n.services, func(a, b *cluster.Service) int {
		if a.Routing.Created != b.Routing.Created {
			return int(a.Routing.Created - b.Routing.Created)
		}
		return strings.Compare(a.Key().String(), b.Key().String())
	})
	return n
}

func (n *naive) routes() string {
	all := map[proxy.Frontend]string{}
	for _, s := range n.services {
		for _, port := range s.Ports {
			for f := range 2 {
				if slices.ContainsFunc(s.ClusterIPs, ofFamily(f)) {
					n.add(all, s, port, f)
				}
			}
		}
	}
	var lines []string
	for _, line := range all {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func ofFamily(f int) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a.Is6() == (f == 1) }
}

func (n *naive) add(all map[proxy.Frontend]string, s *cluster.Service, port cluster.Port, f int) {
	r := s.Routing
	put := func(a netip.Addr, number uint16, external bool, from []netip.Prefix) {
		frontend := proxy.Frontend{Address: a, Protocol: port.Protocol, Port: number}
		if all[frontend] == "" {
			all[frontend] = line(n.route(frontend, s, port, external, from))
		}
	}
	for _, a := range s.ClusterIPs {
		if ofFamily(f)(a) {
			put(a, port.Number, false, nil)
		}
	}
	for _, a := range r.LoadBalancerIPs {
		if ofFamily(f)(a) && !n.isClusterIP(a) {
			put(a, port.Number, true, n.from(r, f))
		}
	}
	for _, a := range r.ExternalIPs {
		if ofFamily(f)(a) && !n.isClusterIP(a) && !n.isNodeAddress(a) {
			put(a, port.Number, true, nil)
		}
	}
	if port.NodePort != 0 {
		put([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[f], port.NodePort, true, nil)
	}
}

func (n *naive) isClusterIP(a netip.Addr) bool {
	for _, s := range n.services {
		if slices.Contains(s.ClusterIPs, a) {
			return true
		}
	}
	for _, r := range n.ranges {
		for _, p := range r.Prefixes {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}

func (n *naive) isNodeAddress(a netip.Addr) bool {
	if i := slices.IndexFunc(n.own.Addresses, func(b netip.Addr) bool { return a.Is4() == b.Is4() }); i >= 0 && n.own.Addresses[i] == a {
		return true
	}
	return slices.ContainsFunc(n.nodes, func(node *cluster.Node) bool { return slices.Contains(node.Addresses, a) })
}

func (n *naive) from(r *cluster.Routing, f int) []netip.Prefix {
	var from, own []netip.Prefix
	for _, p := range r.SourceRanges {
		if !ofFamily(f)(p.Addr()) {
			continue
		}
		if p.Bits() == 0 {
			return nil
		}
		from = append(from, p)
		if i := slices.IndexFunc(n.own.Addresses, ofFamily(f)); i >= 0 && p.Contains(n.own.Addresses[i]) && own == nil {
			for _, a := range r.LoadBalancerIPs {
				if ofFamily(f)(a) {
					own = append(own, netip.PrefixFrom(a, a.BitLen()))
				}
			}
		}
	}
	from = append(from, own...)
	slices.SortFunc(from, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(from)
}

// line is a route with all that it says; its endpoints are sorted.
func line(r *proxy.Route) string {
	serving := slices.SortedFunc(slices.Values(r.Serving), netip.AddrPort.Compare)
	return fmt.Sprintf("%s serving %v", r, serving)
}

// route is a route as the model sees it.
func (n *naive) route(f proxy.Frontend, s *cluster.Service, port cluster.Port, external bool, from []netip.Prefix) *proxy.Route {
	r := &proxy.Route{
		Frontend: f, Service: proxy.ServicePort{Namespace: s.Namespace, Name: s.Name, Port: port.Name},
		Sources: from,
	}
	all := n.endpoints(s, port, f.Address)
	near := filter(all, func(e cluster.Endpoint) bool { return e.Place != nil && e.Place.Node == n.options.NodeName })
	anywhere, here := n.usable(n.hinted(all), all), n.usable(near, near)
	for a, e := range all {
		if e.State&(cluster.Ready|cluster.Serving) != 0 {
			r.Serving = append(r.Serving, a)
		}
	}
	switch {
	case len(n.usable(all, all)) == 0:
		r.Verdict = proxy.Reject
	case external && s.Routing.ExternalLocal:
		r.Verdict, r.Endpoints, r.Local = proxy.Split, anywhere, here
	case external:
		r.Verdict, r.Endpoints, r.Masquerade = proxy.Forward, anywhere, proxy.Always
	case s.Routing.InternalLocal && len(here) == 0:
		r.Verdict = proxy.Drop
	case s.Routing.InternalLocal:
		r.Verdict, r.Endpoints = proxy.Forward, here
	default:
		r.Verdict, r.Endpoints = proxy.Forward, anywhere
	}
	if r.Verdict == proxy.Forward || r.Verdict == proxy.Split {
		r.Affinity = s.Routing.AffinitySeconds
	}
	if len(n.own.PodCIDRs) > 0 && r.Verdict == proxy.Forward && !external &&
		slices.ContainsFunc(n.own.PodCIDRs, func(p netip.Prefix) bool { return ofFamily(1)(p.Addr()) == f.Address.Is6() }) {
		r.Masquerade = proxy.Foreign
	}
	return r
}

// endpoints returns those of a Service port in a's family. An address is told of once: the best that is said of it.
func (n *naive) endpoints(s *cluster.Service, port cluster.Port, a netip.Addr) map[netip.AddrPort]cluster.Endpoint {
	all := map[netip.AddrPort]cluster.Endpoint{}
	for _, slice := range n.slices {
		if slice.Namespace != s.Namespace || slice.Service != s.Name || slice.HeadlessLabel {
			continue
		}
		for _, p := range slice.Ports {
			for _, e := range slice.Endpoints {
				at := netip.AddrPortFrom(e.Address, p.Number)
				known, again := all[at]
				if p.Name == port.Name && p.Protocol == port.Protocol && p.Number != 0 && e.State&cluster.Further == 0 &&
					e.Address.Is6() == a.Is6() && !e.Address.IsLoopback() && (!again || believed(e) > believed(known)) {
					all[at] = e
				}
			}
		}
	}
	return all
}

func believed(e cluster.Endpoint) string {
	return fmt.Sprint(e.State&cluster.Terminating == 0, e.Ready(), e.State&cluster.Serving != 0)
}

// usable returns the ready ones of some, or else those of all that serve while they are being deleted.
func (n *naive) usable(some, all map[netip.AddrPort]cluster.Endpoint) []netip.AddrPort {
	ready := func(e cluster.Endpoint) bool { return e.Ready() }
	chosen := filter(some, ready)
	if len(filter(all, ready)) == 0 {
		chosen = filter(all, func(e cluster.Endpoint) bool {
			return e.State&cluster.Serving != 0 && e.State&cluster.Terminating != 0
		})
	}
	var sorted []netip.AddrPort
	for a := range chosen {
		sorted = append(sorted, a)
	}
	slices.SortFunc(sorted, netip.AddrPort.Compare)
	return sorted
}

// hinted returns those of all that the hints leave to us.
func (n *naive) hinted(all map[netip.AddrPort]cluster.Endpoint) map[netip.AddrPort]cluster.Endpoint {
	ready := filter(all, func(e cluster.Endpoint) bool { return e.Ready() })
	for _, hints := range []struct {
		us string
		of func(*cluster.Place) []string
	}{
		{n.options.NodeName, func(p *cluster.Place) []string { return p.ForNodes }},
		{n.own.Zone, func(p *cluster.Place) []string { return p.ForZones }},
	} {
		has := filter(ready, func(e cluster.Endpoint) bool { return e.Place != nil && len(hints.of(e.Place)) > 0 })
		ours := filter(has, func(e cluster.Endpoint) bool { return slices.Contains(hints.of(e.Place), hints.us) })
		if len(has) == len(ready) && len(ours) > 0 {
			return ours
		}
	}
	return all
}

func filter[K comparable, V any](m map[K]V, keep func(V) bool) map[K]V {
	kept := map[K]V{}
	for k, v := range m {
		if keep(v) {
			kept[k] = v
		}
	}
	return kept
}
