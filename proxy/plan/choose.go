package plan

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// chosen are the endpoints of a group that are used, by slot.
type chosen struct {
	cluster []netip.AddrPort // wherever they are
	local   []netip.AddrPort // on this node
	serving []netip.AddrPort // all to which flows may exist
	near    []netip.AddrPort // those of cluster and local that are on this node, sorted
	any     bool             // somebody serves, here or elsewhere
}

// choice is scratch space for the lists of chosen, sorted.
type choice struct {
	cluster, local, serving, near []netip.AddrPort
}

// choose chooses among what was found, and keeps what stays in its slots.
func (p *Plan) choose(old chosen, policy policy) chosen {
	w := &p.scratch.wanted
	*w = choice{w.cluster[:0], w.local[:0], w.serving[:0], w.near[:0]}
	rule := p.ruleFor(policy)
	for i := range p.scratch.found {
		c := &p.scratch.found[i]
		use := rule.use(c)
		if use&inCluster != 0 {
			w.cluster = append(w.cluster, c.address)
		}
		if use&inLocal != 0 {
			w.local = append(w.local, c.address)
		}
		if use&isNear != 0 {
			w.near = append(w.near, c.address)
		}
		if use&serves != 0 {
			w.serving = append(w.serving, c.address)
		}
	}
	return p.intoSlots(old, rule.ready || rule.leaving)
}

// intoSlots makes what was chosen last, sorted, into what follows old.
func (p *Plan) intoSlots(old chosen, any bool) chosen {
	w, s := &p.scratch.wanted, &p.scratch.slots
	now := chosen{cluster: s.place(old.cluster, w.cluster), local: s.place(old.local, w.local), near: old.near, any: any}
	// What serves is mostly what is chosen, and then the same array.
	switch {
	case slices.Equal(w.serving, w.cluster):
		now.serving = now.cluster
	case slices.Equal(w.serving, w.local):
		now.serving = now.local
	default:
		now.serving = s.place(old.serving, w.serving)
	}
	if !slices.Equal(w.near, old.near) {
		now.near = slices.Clone(w.near)
	}
	return now
}

// policy is what a Service port says about the choice of endpoints.
type policy struct {
	internalLocal bool // ClusterIPs lead to endpoints of this node only
	externalLocal bool // everything else does, for clients from outside
	usesCluster   bool // some frontend leads to endpoints wherever they are
}

// policyOf returns the policy of a port in one family. externalTrafficPolicy means nothing without external frontends; with
// some, endpoints everywhere are needed even under Local, for the node itself and its Pods.
func policyOf(s *cluster.Service, port *cluster.Port, f int) policy {
	r := s.Routing
	isOurs := func(a netip.Addr) bool { return family(a) == f }
	external := port.NodePort != 0 || slices.ContainsFunc(r.LoadBalancerIPs, isOurs) || slices.ContainsFunc(r.ExternalIPs, isOurs)
	return policy{
		internalLocal: r.InternalLocal,
		externalLocal: r.ExternalLocal && external,
		usesCluster:   !r.InternalLocal || external,
	}
}

// rule says which of the endpoints found are used.
type rule struct {
	policy
	plan       *Plan
	node, zone string // ours
	hints      hints
	ready      bool // there is a ready endpoint
	localReady bool // there is one on this node
	leaving    bool // there is one that serves while it is being deleted
}

// hints are those that are followed, where there are any.
type hints uint8

const (
	noHints hints = iota
	nodeHints
	zoneHints
)

// ruleFor looks at what was found as a whole.
//
// Hints for nodes are followed if every ready endpoint has some and one of them is for this node, else those for zones
// likewise (KEP-3015, KEP-2433): endpoints that are not ready do not count. The Service's own fields say nothing here; the
// hints are how the control plane passes them on.
func (p *Plan) ruleFor(policy policy) rule {
	r := rule{policy: policy, plan: p, node: p.options.NodeName, zone: p.nodes.facts.zone}
	allNodes, allZones, ourNode, ourZone := true, true, false, false
	for i := range p.scratch.found {
		c := &p.scratch.found[i]
		r.leaving = r.leaving || c.leaving()
		if !c.ready() {
			continue
		}
		r.ready = true
		r.localReady = r.localReady || r.plan.isHere(c.place)
		if c.place == nil {
			allNodes, allZones = false, false
			continue
		}
		allNodes = allNodes && len(c.place.ForNodes) > 0
		allZones = allZones && len(c.place.ForZones) > 0
		ourNode = ourNode || slices.Contains(c.place.ForNodes, r.node)
		ourZone = ourZone || slices.Contains(c.place.ForZones, r.zone)
	}
	switch {
	case allNodes && ourNode:
		r.hints = nodeHints
	case allZones && ourZone:
		r.hints = zoneHints
	}
	return r
}

// use is what an endpoint is used for.
type use uint8

const (
	inCluster use = 1 << iota
	inLocal
	isNear // it is in one of the two, and on this node
	serves
)

// use says what c is used for. Endpoints that are being deleted but still serve are the second choice, where no ready one is
// left (KEP-1669); of all of them if that is so anywhere, of those on this node if it is so here, whichever is asked for.
func (r *rule) use(c *candidate) use {
	var u use
	local := r.plan.isHere(c.place)
	if r.usesCluster && (c.ready() && r.admits(c) || !r.ready && c.leaving()) {
		u |= inCluster
	}
	if local && (r.internalLocal || r.externalLocal) && (c.ready() || !r.localReady && c.leaving()) {
		u |= inLocal
	}
	if local && u != 0 {
		u |= isNear
	}
	if c.serves() {
		u |= serves
	}
	return u
}

// admits reports whether the hints let this node use c, a ready endpoint.
func (r *rule) admits(c *candidate) bool {
	switch r.hints {
	case nodeHints:
		return slices.Contains(c.place.ForNodes, r.node)
	case zoneHints:
		return slices.Contains(c.place.ForZones, r.zone)
	}
	return true
}

// seed takes over the slots in which a kernel has the endpoints of frontends, for a group that is new.
func (p *Plan) seed(c *chosen, frontends []frontend, policy policy) {
	for i := range frontends {
		r := p.installed[frontends[i].Frontend]
		switch {
		case r == nil:
		case r.Verdict == proxy.Split:
			c.cluster, c.local = r.Endpoints, r.Local
		case policy.internalLocal && !frontends[i].external:
			c.local = r.Endpoints
		case c.cluster == nil:
			c.cluster = r.Endpoints
		}
	}
}
