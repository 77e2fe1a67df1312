package plan

import "github.com/waypost/waypost/proxy"

// Stats counts what a plan was told and what it makes of it. Arrays of two have IPv4 first.
type Stats struct {
	Services, Slices               int                 // changes of them that were told, ever
	PendingServices, PendingSlices int                 // of those, the ones that are not Settled
	Routes                         [proxy.Verdicts]int // that are wanted
	Endpoints                      int                 // that routes of a service port lead to, of each port its own
	NoLocalInternal                [2]int              // service ports with internalTrafficPolicy Local whose endpoints are all elsewhere
	NoLocalExternal                [2]int              // the same of externalTrafficPolicy
}

// Stats returns the counts, as of the last Take but for the changes that were told.
func (p *Plan) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Settled says that the kernel has what all Takes until now have told.
func (p *Plan) Settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.PendingServices -= p.taken.services
	p.stats.PendingSlices -= p.taken.slices
	p.taken = taken{}
}

// taken counts changes that Take has told of, and that are not Settled yet.
type taken struct{ services, slices int }

// count adds a group to what is counted, or takes it away.
func (p *Plan) count(g *group, by int) {
	for _, e := range g.chosen.near {
		p.hairpins.add(proxy.Hairpin{Endpoint: e, Protocol: g.protocol}, int32(by))
	}
	internal, external := false, false
	for _, r := range g.routes {
		p.stats.Routes[r.Verdict] += by
		internal = internal || r.Verdict == proxy.Drop
		external = external || r.Verdict == proxy.Split && len(r.Local) == 0
	}
	p.stats.Endpoints += by * len(g.chosen.serving)
	if internal {
		p.stats.NoLocalInternal[g.family] += by
	}
	if external {
		p.stats.NoLocalExternal[g.family] += by
	}
}
