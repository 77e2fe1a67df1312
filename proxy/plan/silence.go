package plan

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
)

// UseOnly says which endpoints of Options.Probed give answers, in place of what it said before. Others are left out, as if the
// cluster said that they serve no more, while there are such: of each policy's choice, the last one stays, as whoever finds
// everybody silent may be deaf. Before it is called all are used.
func (p *Plan) UseOnly(answering []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answering = make(map[netip.Addr]struct{}, len(answering))
	for _, a := range answering {
		p.answering[a] = struct{}{}
	}
	for _, key := range p.options.Probed {
		if s := p.services[key]; s != nil {
			p.mark(s)
		}
	}
}

func (p *Plan) isProbed(s *service) bool { return slices.Contains(p.options.Probed, s.key) }

// ProbedChanged reports whether Probed may return others than when this was called last.
func (p *Plan) ProbedChanged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.reprobe
	p.reprobe = false
	return changed
}

// Probed returns whom to ask of the endpoints of Options.Probed, as far as the cluster says that they serve: those over UDP
// and, where an address has none, another of its endpoints, as UseOnly is to speak of all addresses. Sorted.
func (p *Plan) Probed() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[netip.AddrPort]struct{}{}
	met := map[netip.Addr]bool{}
	for _, udp := range []bool{true, false} {
		for _, key := range p.options.Probed {
			p.eachServing(key, udp, func(at netip.AddrPort) {
				if udp || !met[at.Addr()] {
					all[at] = struct{}{}
				}
				met[at.Addr()] = true
			})
		}
	}
	return slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare)
}

// eachServing calls f with each endpoint of a Service that the cluster says serves, over UDP or over other protocols.
func (p *Plan) eachServing(key cluster.Key, udp bool, f func(netip.AddrPort)) {
	s := p.services[key]
	if s == nil {
		return
	}
	for i := range s.groups {
		if (s.groups[i].protocol == cluster.UDP) != udp {
			continue
		}
		p.scratch.refused = p.scratch.refused[:0]
		p.gather(s, &s.groups[i])
		for j := range p.scratch.found {
			if c := &p.scratch.found[j]; c.serves() {
				f(c.address)
			}
		}
	}
}

// leaveOut marks those of what was found that are left out since they give no answer.
func (p *Plan) leaveOut(s *service, policy policy) {
	if len(p.answering) == 0 || !p.isProbed(s) {
		return
	}
	anywhere, here := false, false // whether somebody answers who is in use
	for i := range p.scratch.found {
		if c := &p.scratch.found[i]; (c.ready() || c.leaving()) && !p.isSilent(c) {
			anywhere, here = true, here || p.isHere(c.place)
		}
	}
	if !anywhere {
		return
	}
	for i := range p.scratch.found {
		c := &p.scratch.found[i]
		lastHere := p.isHere(c.place) && !here && (policy.internalLocal || policy.externalLocal)
		c.silent = p.isSilent(c) && !lastHere
	}
}

func (p *Plan) isSilent(c *candidate) bool {
	_, answers := p.answering[c.address.Addr()]
	return !answers
}
