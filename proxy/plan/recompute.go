package plan

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// group is a port of a Service in one family: what its frontends have in common, and their routes.
type group struct {
	port     string
	protocol cluster.Protocol
	family   int
	chosen   chosen
	routes   []*proxy.Route
}

// scratch is space that recompute uses again and again.
type scratch struct {
	slots     slots
	found     []candidate
	wanted    choice
	frontends []frontend
	seen      map[proxy.Frontend]struct{}
	refused   []proxy.Refusal
}

// recompute brings the routes of s in line with what is known now.
func (p *Plan) recompute(s *service) {
	before, lost := s.groups, s.lost
	p.scratch.refused = p.scratch.refused[:0]
	clear(p.scratch.seen)
	s.lost = nil
	s.groups = p.groupsOf(s)
	for i := range s.groups {
		p.count(&s.groups[i], 1)
	}
	for i := range before {
		p.count(&before[i], -1)
		for _, r := range before[i].routes {
			p.releaseUnseen(r.Frontend, s)
		}
	}
	for _, f := range lost {
		p.releaseUnseen(f, s)
	}
	p.noteRefusals(s)
	p.noteHealth(s)
}

// groupsOf makes the groups that s should have now, each out of what it was before.
func (p *Plan) groupsOf(s *service) []group {
	if isRouted(s.value) != "" {
		return nil
	}
	groups := make([]group, 0, len(s.value.Ports)*len(s.value.ClusterIPs))
	for i := range s.value.Ports {
		port := &s.value.Ports[i]
		for f := range unspecified {
			if !slices.ContainsFunc(s.value.ClusterIPs, func(a netip.Addr) bool { return family(a) == f }) {
				continue
			}
			g := group{port: port.Name, protocol: port.Protocol, family: f}
			if old := g.in(s.groups, len(groups)); old != nil {
				g = *old
			}
			p.route(s, &g, port)
			groups = append(groups, g)
		}
	}
	return groups
}

// in returns the group of the same name in groups, most likely at i; nil where there is none.
func (g *group) in(groups []group, i int) *group {
	if i < len(groups) && g.same(&groups[i]) {
		return &groups[i]
	}
	for i := range groups {
		if g.same(&groups[i]) {
			return &groups[i]
		}
	}
	return nil
}

func (g *group) same(h *group) bool {
	return g.port == h.port && g.protocol == h.protocol && g.family == h.family
}

// route brings one group in line.
func (p *Plan) route(s *service, g *group, port *cluster.Port) {
	policy := policyOf(s.value, port, g.family)
	frontends := p.frontends(s, g.family, port)
	p.gather(s, g)
	p.leaveOut(s, policy)
	if g.routes == nil {
		p.seed(&g.chosen, frontends, policy)
	}
	g.chosen = p.choose(g.chosen, policy)
	g.routes = make([]*proxy.Route, 0, len(frontends))
	for i := range frontends {
		f := &frontends[i]
		if _, again := p.scratch.seen[f.Frontend]; again {
			continue
		}
		p.scratch.seen[f.Frontend] = struct{}{}
		if !p.claim(f.Frontend, s) {
			s.lost = append(s.lost, f.Frontend)
			p.refuse(s, "frontend "+f.String(), "Service "+p.claims[f.Frontend].owner.key.String()+" had it first", proxy.IsTaken)
			continue
		}
		g.routes = append(g.routes, p.lead(p.routeOf(s, g, f, policy)))
	}
}

// routeOf is where one of a group's frontends leads.
func (p *Plan) routeOf(s *service, g *group, f *frontend, policy policy) *proxy.Route {
	r := &proxy.Route{
		Frontend: f.Frontend,
		Service:  proxy.ServicePort{Namespace: s.key.Namespace, Name: s.key.Name, Port: g.port},
		Sources:  f.sources,
		Serving:  g.chosen.serving,
	}
	switch {
	case !g.chosen.any:
		r.Verdict = proxy.Reject
	case f.external && policy.externalLocal:
		r.Verdict, r.Endpoints, r.Local = proxy.Split, g.chosen.cluster, g.chosen.local
	case f.external:
		r.Verdict, r.Endpoints, r.Masquerade = proxy.Forward, g.chosen.cluster, proxy.Always
	case policy.internalLocal && len(g.chosen.local) == 0:
		r.Verdict = proxy.Drop
	case policy.internalLocal:
		r.Verdict, r.Endpoints, r.Masquerade = proxy.Forward, g.chosen.local, p.masquerade(g.family)
	default:
		r.Verdict, r.Endpoints, r.Masquerade = proxy.Forward, g.chosen.cluster, p.masquerade(g.family)
	}
	if len(r.Endpoints) > 0 {
		r.Affinity = s.value.Routing.AffinitySeconds
	}
	return r
}

// masquerade is whose connections to a ClusterIP are.
func (p *Plan) masquerade(family int) proxy.Masquerade {
	switch {
	case p.options.MasqueradeAll:
		return proxy.Always
	case p.nodes.facts.pods[family]:
		return proxy.Foreign
	}
	return proxy.Never
}

func (p *Plan) releaseUnseen(f proxy.Frontend, s *service) {
	if _, seen := p.scratch.seen[f]; !seen {
		p.release(f, s)
	}
}
