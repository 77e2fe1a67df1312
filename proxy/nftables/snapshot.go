package nftables

import (
	"net/netip"

	"github.com/waypost/waypost/proxy"
)

// snapshot is what the kernel has of both tables, as of a generation.
type snapshot struct {
	generation uint32
	found      [2]*found
}

// current is the last snapshot if nothing has changed since, or else a new one.
func (t *Tables) current() (*snapshot, error) {
	last := t.snapshot
	t.snapshot = nil
	generation, err := t.generation()
	if err != nil {
		return nil, err
	}
	if last != nil && last.generation == generation {
		return last, nil
	}
	s := &snapshot{generation: generation}
	for i := range t.families {
		if s.found[i], err = t.read(&t.families[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Read implements proxy.Kernel.
func (t *Tables) Read() ([]*proxy.Route, error) {
	s, err := t.current()
	if err != nil {
		return nil, err
	}
	t.snapshot = s
	var routes []*proxy.Route
	for _, k := range s.found {
		for frontend, has := range k.routes {
			routes = append(routes, k.route(frontend, has))
		}
	}
	return routes, nil
}

// route is the route that has is the state of.
func (k *found) route(f proxy.Frontend, has *state) *proxy.Route {
	r := &proxy.Route{Frontend: f, Verdict: proxy.Drop, Endpoints: has.endpoints, Local: has.local}
	switch {
	case has.sets&bit(rejected) != 0:
		r.Verdict = proxy.Reject
	case has.sets&bit(split) != 0:
		r.Verdict = proxy.Split
	case has.sets&bit(frontends) != 0:
		r.Verdict = proxy.Forward
	}
	switch {
	case r.Verdict != proxy.Forward:
	case has.sets&bit(masqueraded) != 0:
		r.Masquerade = proxy.Always
	case has.sets&bit(foreign) != 0:
		r.Masquerade = proxy.Foreign
	}
	if has.guard.chain != "" {
		r.Sources = []netip.Prefix{}
	}
	for _, comment := range k.comments[has.guard.chain] {
		if source, err := netip.ParsePrefix(comment); err == nil {
			r.Sources = append(r.Sources, source)
		}
	}
	for _, comment := range k.comments[has.sticky.chain] {
		if _, _, seconds, ok := parseNumbered(comment); ok {
			r.Affinity = seconds
		}
	}
	return r
}
