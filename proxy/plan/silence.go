package plan

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
)

// Silence says which addresses give no answer, in place of those it said before. Endpoints of Options.Probed that have them
// are left out, as if the cluster said that they serve no more, while there are others: of each policy's choice, the last
// one stays, as whoever finds everybody silent may be deaf.
func (p *Plan) Silence(silent []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = make(map[netip.Addr]struct{}, len(silent))
	for _, a := range silent {
		p.silent[a] = struct{}{}
	}
	for _, key := range p.options.Probed {
		if s := p.services[key]; s != nil {
			p.mark(s)
		}
	}
}

// Probed returns the endpoints over UDP of Options.Probed, as far as the cluster says that they serve; sorted.
func (p *Plan) Probed() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[netip.AddrPort]struct{}{}
	for _, key := range p.options.Probed {
		s := p.services[key]
		if s == nil {
			continue
		}
		for i := range s.groups {
			if s.groups[i].protocol != cluster.UDP {
				continue
			}
			p.scratch.refused = p.scratch.refused[:0]
			p.gather(s, &s.groups[i])
			for j := range p.scratch.found {
				if c := &p.scratch.found[j]; c.serves() {
					all[c.address] = struct{}{}
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare)
}

// leaveOut marks those of what was found that are left out since they give no answer.
func (p *Plan) leaveOut(s *service, policy policy) {
	if len(p.silent) == 0 || !slices.Contains(p.options.Probed, s.key) {
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
	_, silent := p.silent[c.address.Addr()]
	return silent
}
