package plugin

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/forward"
)

// What is legal and surely not meant in one directive alone is known to its own folder. Here stands what only shows when
// directives are seen together.

// suspect warns of a block's directives that do nothing, or keep others from what they are there for.
func (b *block) suspect() {
	b.suspectScopes()
	b.suspectStops()
	b.suspectEnd()
}

// suspectScopes warns of directives for names that the block is never asked for. Those behind one that asks for other names
// than the client does are left alone.
func (b *block) suspectScopes() {
	own := b.config.Zones()
	asked := func(zone string) bool {
		return slices.ContainsFunc(own, func(z string) bool { return config.Under(z, zone) || config.Under(zone, z) })
	}
	for _, s := range b.said {
		if o, ok := s.options.(interface{ Scope() config.Zones }); ok {
			if scope := o.Scope(); len(scope) > 0 && !slices.ContainsFunc(scope, asked) {
				b.warn(s.directive, s.directive.Pos.Warningf("no effect, as server block %s is never asked for names under %s", b.config.Keys[0], scope.List()))
			}
		}
		if o, ok := s.options.(interface{ Renames() bool }); ok && o.Renames() {
			return
		}
	}
}

// suspectStops warns of a directive that fails what it does not know although others behind it might.
func (b *block) suspectStops() {
	for i, s := range b.said {
		o, ok := s.options.(interface{ Stops() config.Zones })
		if !ok || len(o.Stops()) == 0 {
			continue
		}
		for _, behind := range b.said[i+1:] {
			if _, ok := behind.options.(settler); ok {
				b.warn(s.directive, s.directive.Pos.Warningf("names that are not there are SERVFAIL, and %s is never asked for them: add fallthrough", behind.directive.Name))
				return
			}
		}
	}
}

// suspectEnd warns of a block that leaves questions without an answer.
func (b *block) suspectEnd() {
	pos := b.config.Keys[0].Pos
	switch open := b.open(); {
	case len(b.links) == 0:
		b.note(pos.Warningf("server block %s has no directive that answers: every query is REFUSED", b.config.Keys[0]))
	case len(open) > 0:
		b.note(pos.Warningf("server block %s has no last resort: what no directive answers under %s is SERVFAIL; add forward, or a template that says NXDOMAIN", b.config.Keys[0], open.List()))
	}
}

// settler answers all names in some regions.
type settler interface{ Settles() []config.Region }

// open are the zones in which there may be names that nothing in the block answers.
func (b *block) open() config.Zones {
	open := b.config.Zones()
	for _, s := range b.said {
		if o, ok := s.options.(settler); ok {
			open = open.Outside(o.Settles())
		}
	}
	slices.Sort(open)
	return slices.Compact(open)
}

// suspectCircles warns of lines of forward that lead back to their own block.
func (s *Setup) suspectCircles() {
	for _, b := range s.blocks {
		for _, said := range b.said {
			lines, ok := said.options.(forward.Lines)
			if !ok {
				continue
			}
			for _, leads := range lines.Leads() {
				for _, server := range leads.Servers {
					if at, asked := s.asked(server, leads.Zone); asked == b {
						b.warn(said.directive, circle(leads, server, at))
					}
				}
			}
		}
	}
}

func circle(leads forward.Leads, server netip.AddrPort, listener string) config.Warning {
	from := ""
	if leads.From != "" {
		from = ", which " + leads.From + " names,"
	}
	return leads.Pos.Warningf("queries may go in a circle: %s%s leads back to %s of this server, unless another one is asked there", server, from, listener)
}

// asked is the block that a query to an address on this host comes to, by its name, and the listener there; nil where
// there is none, or where that is for a view to say. Without bind a block is asked at every address of the host, of which
// only the loopback ones are known to be.
func (s *Setup) asked(server netip.AddrPort, name string) (listener string, found *block) {
	best := -1
	for _, b := range s.blocks {
		for _, a := range b.addresses() {
			host, err := netip.ParseAddr(a.host)
			here := a.key.Port == server.Port() && (err == nil && host == server.Addr() || a.host == "" && server.Addr().IsLoopback())
			if here && config.Under(name, a.key.Zone) && len(a.key.Zone) > best {
				listener, found, best = a.listener(), b, len(a.key.Zone)
			}
		}
	}
	if found != nil && found.takes != nil {
		return "", nil
	}
	return listener, found
}

// suspect warns of what only shows when all directives are seen together.
func (s *Setup) suspect() {
	for _, b := range s.blocks {
		b.suspect()
	}
	s.suspectCircles()
	s.suspectViews()
	s.suspectEndpoints()
}

// suspectViews warns of zones whose queries all go to another block that stands before one with a view.
func (s *Setup) suspectViews() {
	taken := map[string]*block{} // by zone and listener
	for _, b := range s.blocks {
		for _, a := range b.addresses() {
			at := a.key.Zone + " at " + a.listener()
			switch first := taken[at]; {
			case b.takes == nil:
				taken[at] = b
			case first != nil:
				d := b.config.Directive("view")
				b.warn(d, d.Pos.Warningf("no query for %s comes here, as %s takes all of them: a server block without a view stands behind those with one", at, first))
			}
		}
	}
}

// suspectEndpoints warns of an address that two directives of different names want. Both get it, and the kernel decides for
// each connection who answers.
func (s *Setup) suspectEndpoints() {
	taken := map[string]*config.Directive{}
	for _, b := range s.blocks {
		for _, said := range b.said {
			o, ok := said.options.(interface{ Endpoint() string })
			if !ok {
				continue
			}
			other, d := taken[o.Endpoint()], said.directive
			if other != nil && other.Name != d.Name {
				b.warn(d, d.Pos.Warningf("%s is the address of %s too (%s): by chance half of the requests come to the wrong one", o.Endpoint(), other.Name, other.Pos))
				continue
			}
			taken[o.Endpoint()] = d
		}
	}
}
