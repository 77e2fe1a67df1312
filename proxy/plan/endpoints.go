package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
)

// candidate is an endpoint of a group, as one of its slices has it.
type candidate struct {
	address netip.AddrPort
	place   *cluster.Place
	order   uint32 // in which it was found
	state   cluster.State
	silent  bool // it gives no answer, and is left out for it
}

// gather collects the endpoints of g into p.scratch.found, sorted by address, each address once.
//
// A slice belongs to a port of the Service by the port's name and protocol; the number is the slice's, and may differ
// from slice to slice.
func (p *Plan) gather(s *service, g *group) {
	p.scratch.found = p.scratch.found[:0]
	for _, slice := range s.slices {
		if slice.HeadlessLabel || slice.FQDNs != nil {
			continue
		}
		for i := range slice.Ports {
			port := &slice.Ports[i]
			if port.Name == g.port && port.Protocol == g.protocol && port.Number != 0 {
				p.gatherSlice(s, slice, port.Number, g.family)
			}
		}
	}
	p.sortFound()
}

func (p *Plan) gatherSlice(s *service, slice *cluster.Slice, port uint16, f int) {
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		if e.State&cluster.Further != 0 || family(e.Address) != f {
			continue
		}
		address := netip.AddrPortFrom(e.Address, port)
		if why := special(e.Address); why != "" {
			p.refuseEndpoint(s, slice, address, why)
			continue
		}
		p.scratch.found = append(p.scratch.found, candidate{address: address, place: e.Place, order: uint32(len(p.scratch.found)), state: e.State})
	}
}

// sortFound sorts what was found, and leaves one candidate of those with the same address: a Pod may be in two slices for
// a while, and two Pods may have one address while the first is being deleted.
func (p *Plan) sortFound() {
	found := p.scratch.found
	slices.SortFunc(found, func(a, b candidate) int {
		if c := a.address.Compare(b.address); c != 0 {
			return c
		}
		return cmp.Compare(a.order, b.order)
	})
	n := 0
	for i := range found {
		switch {
		case n == 0 || found[n-1].address != found[i].address:
			found[n] = found[i]
			n++
		case found[i].rank() > found[n-1].rank():
			found[n-1] = found[i]
		}
	}
	p.scratch.found = found[:n]
}

// rank says which of two candidates with the same address is believed; of the same rank it is the first, by the name of its
// slice.
func (c *candidate) rank() int {
	rank := 0
	if c.state&cluster.Terminating == 0 {
		rank = 4
	}
	if c.state&cluster.Ready != 0 {
		rank += 2
	}
	if c.state&cluster.Serving != 0 {
		rank++
	}
	return rank
}

// ready reports whether the endpoint takes new connections.
func (c *candidate) ready() bool { return c.state&cluster.Ready != 0 && !c.silent }

// leaving reports whether the endpoint still serves while it is being deleted: the second choice.
func (c *candidate) leaving() bool {
	return c.state&(cluster.Ready|cluster.Serving|cluster.Terminating) == cluster.Serving|cluster.Terminating && !c.silent
}

// serves reports whether connections that lead to the endpoint already have somebody there.
func (c *candidate) serves() bool { return c.state&(cluster.Ready|cluster.Serving) != 0 && !c.silent }
