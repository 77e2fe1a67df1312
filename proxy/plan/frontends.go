package plan

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// frontend is a frontend that a Service port asks for.
type frontend struct {
	proxy.Frontend
	external bool // it is no ClusterIP
	sources  []netip.Prefix
}

// frontends returns what a port of s asks for in one family, as far as it may have it: ClusterIPs, external IPs, the load
// balancer's IPs, the NodePort. An address that is both sorts of external IP is the load balancer's, with its sources.
func (p *Plan) frontends(s *service, f int, port *cluster.Port) []frontend {
	r := s.value.Routing
	all := p.scratch.frontends[:0]
	add := func(a netip.Addr, external bool, sources []netip.Prefix) {
		if family(a) == f {
			all = append(all, frontend{proxy.Frontend{Address: a, Protocol: port.Protocol, Port: port.Number}, external, sources})
		}
	}
	for _, a := range s.value.ClusterIPs {
		if why := special(a); why != "" {
			p.refuse(s, "ClusterIP "+a.String(), why, proxy.SpecialAddress)
			continue
		}
		add(a, false, nil)
	}
	sources := p.sources(r, f)
	for _, a := range r.LoadBalancerIPs {
		if p.allows(s, balancer, a) {
			add(a, true, sources)
		}
	}
	for _, a := range r.ExternalIPs {
		if !p.options.NoExternalIPs && p.allows(s, external, a) {
			add(a, true, nil)
		}
	}
	if port.NodePort != 0 {
		all = append(all, frontend{proxy.Frontend{Address: unspecified[f], Protocol: port.Protocol, Port: port.NodePort}, true, nil})
	}
	p.scratch.frontends = all
	return all
}

// sources returns who may use the load balancer's IPs of one family; nil is everyone. A range of everything lifts all
// limits. Where the node itself may use them, so may the IPs: the node has them as its own, and connects to them from
// them.
func (p *Plan) sources(r *cluster.Routing, f int) []netip.Prefix {
	var sources []netip.Prefix
	node := false
	for _, s := range r.SourceRanges {
		if family(s.Addr()) != f {
			continue
		}
		if s.Bits() == 0 {
			return nil
		}
		sources = append(sources, s)
		node = node || s.Contains(p.nodes.facts.ips[f])
	}
	if node {
		for _, a := range r.LoadBalancerIPs {
			if family(a) == f {
				sources = append(sources, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	slices.SortFunc(sources, comparePrefixes)
	return slices.Compact(sources)
}
