package plan

import (
	"cmp"
	"math"
	"slices"

	"github.com/waypost/waypost/proxy"
)

// claim is who has a frontend, and where it leads.
type claim struct {
	owner *service // nil where nobody wants the frontend any more
	route *proxy.Route
	told  *proxy.Route // the route that Take told of last
}

// claim asks for the frontend f in s's name and reports whether s has it. Of several Services that want it, the one that
// was created first has it, whichever was seen first: nobody can take what is another's.
func (p *Plan) claim(f proxy.Frontend, s *service) bool {
	c := p.claims[f]
	rivals := p.rivals[f]
	switch {
	case c.owner == nil:
		c.owner = s
		p.claims[f] = c
		return true
	case c.owner == s && rivals == nil:
		return true
	case rivals == nil:
		rivals = []*service{c.owner}
	}
	if !slices.Contains(rivals, s) {
		rivals = append(rivals, s)
	}
	p.rivals[f] = rivals
	p.settle(f)
	return p.claims[f].owner == s
}

// release gives up s's claim to f. Whoever wanted it next has it then.
func (p *Plan) release(f proxy.Frontend, s *service) {
	c := p.claims[f]
	rivals := p.rivals[f]
	if rivals == nil {
		p.touched = append(p.touched, f)
		p.claims[f] = claim{told: c.told}
		return
	}
	if rivals = slices.DeleteFunc(rivals, func(r *service) bool { return r == s }); len(rivals) > 1 {
		p.rivals[f] = rivals
	} else {
		delete(p.rivals, f)
	}
	if c.owner == s {
		p.give(f, first(rivals))
	}
}

// settle gives f to the first of its rivals.
func (p *Plan) settle(f proxy.Frontend) {
	if owner := first(p.rivals[f]); owner != p.claims[f].owner {
		p.mark(p.claims[f].owner)
		p.give(f, owner)
	}
}

// give makes owner the owner of f, and has it recomputed for the route.
func (p *Plan) give(f proxy.Frontend, owner *service) {
	p.claims[f] = claim{owner: owner, told: p.claims[f].told}
	p.touched = append(p.touched, f)
	p.mark(owner)
}

func first(rivals []*service) *service {
	return slices.MinFunc(rivals, func(a, b *service) int {
		return cmp.Or(cmp.Compare(a.created(), b.created()), compareKeys(a.key, b.key))
	})
}

// created is when the Service was; never, where it has no routes any more and is only about to give up its claims.
func (s *service) created() int64 {
	if isRouted(s.value) != "" {
		return math.MaxInt64
	}
	return s.value.Routing.Created
}

// lead makes route that of a frontend which its Service has. It returns the value that stands for it from now on: what says
// the same as before is no change.
func (p *Plan) lead(route *proxy.Route) *proxy.Route {
	c := p.claims[route.Frontend]
	switch {
	case c.route != nil && c.route.Equal(route):
		return c.route
	case c.told != nil && c.told.Equal(route):
		route = c.told
	}
	c.route = route
	p.claims[route.Frontend] = c
	p.touched = append(p.touched, route.Frontend)
	return route
}
