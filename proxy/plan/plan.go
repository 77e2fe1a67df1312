// Package plan makes the wanted routes of a node (package proxy) out of a cluster's Services, EndpointSlices and Nodes. It
// is pure: it does no I/O, and what it wants depends on what the cluster is, not on how it came to be so; only the slots in
// which endpoints sit tell of the past.
//
// A Plan is told of changes as a cluster.Sink, which costs next to nothing: they only mark Services. Take recomputes the
// marked Services and says what differs from when it was last called, so that changes which come faster than the kernel
// can take them become one, and those that cancel out become none.
package plan

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// Options are what a plan needs to know that the cluster does not tell.
type Options struct {
	// NodeName is the Node whose routes are wanted. Endpoints on it are local; its zone and addresses count.
	NodeName string
	// NodeIP, where it is valid, is the node's address of its family in place of what the Node object says.
	NodeIP netip.Addr
	// Pods recognises connections of Pods.
	Pods proxy.Detector
	// PodsOfNode makes the Node's Pod ranges Pods.Prefixes, as they are at any time.
	PodsOfNode bool
	// NodePorts are the ranges of local addresses on which NodePorts are open. A family without one means all of it.
	NodePorts []netip.Prefix
	// NodePortsPrimary opens NodePorts on the node's own addresses only, one a family: NodeIP or the Node's first. A family
	// without such an address has no NodePorts. NodePorts is not used then.
	NodePortsPrimary bool
	// MasqueradeAll masquerades every connection to a ClusterIP.
	MasqueradeAll bool
	// NoExternalIPs leaves spec.externalIPs out.
	NoExternalIPs bool
	// Protected are addresses that no external IP may have, as those under which Pods reach the cluster's DNS.
	Protected []netip.Addr
	// AllowNodeAddresses lets external IPs be addresses of Nodes.
	AllowNodeAddresses bool
	// Probed are the Services whose endpoints are left out while they give no answer (UseOnly): the cluster's DNS.
	Probed []cluster.Key
	// Installed is what a kernel had when the plan began: endpoints stay in the slots they have there.
	Installed []*proxy.Route
	// Started bounds Changes.Triggered: earlier times say nothing about this process.
	Started time.Time
}

// Plan is a cluster.Sink. Its methods may be called from several goroutines. The zero value is not usable; see New.
type Plan struct {
	options   Options
	installed map[proxy.Frontend]*proxy.Route // until the first Take

	mu        sync.Mutex
	synced    [cluster.Kinds]bool
	services  map[cluster.Key]*service
	dirty     []*service // in the order in which they were marked; each once
	nodes     nodes
	ranges    map[string]*cluster.Range
	answering map[netip.Addr]struct{} // endpoints of Options.Probed that give answers; none before that is known
	reprobe   bool                    // Probed may return others than before

	claims    map[proxy.Frontend]claim
	rivals    map[proxy.Frontend][]*service // of frontends that several Services want: all of them
	externals map[netip.Addr][]*service     // who wants an external IP
	touched   []proxy.Frontend              // whose claims may differ from what was told

	clusterIPs tally[netip.Addr]
	hairpins   tally[proxy.Hairpin]
	node       proxy.Node // as last told
	refusals   refusals
	health     []proxy.HealthCheck
	triggered  []proxy.Trigger
	stats      Stats
	taken      taken
	scratch    scratch
}

// service is what is known of a Service: itself, its slices, or both.
type service struct {
	key     cluster.Key
	value   *cluster.Service // nil where only slices are known
	slices  []*cluster.Slice // by name
	groups  []group          // as of the last Take, in the order of the Service's ports and IPv4 first
	lost    []proxy.Frontend // claimed, and another Service has them
	refused []proxy.Refusal
	health  proxy.HealthCheck // Port is 0 where there is none
	dirty   bool
}

// New returns the plan of an empty cluster.
func New(o Options) *Plan {
	p := &Plan{
		options:   o,
		services:  map[cluster.Key]*service{},
		ranges:    map[string]*cluster.Range{},
		claims:    map[proxy.Frontend]claim{},
		rivals:    map[proxy.Frontend][]*service{},
		externals: map[netip.Addr][]*service{},
		installed: make(map[proxy.Frontend]*proxy.Route, len(o.Installed)),
		scratch:   scratch{seen: map[proxy.Frontend]struct{}{}},
	}
	for _, r := range o.Installed {
		p.installed[r.Frontend] = r
	}
	p.options.Installed = nil
	p.nodes.facts = p.factsNow()
	return p
}

// Apply implements cluster.Sink.
func (p *Plan) Apply(changes []cluster.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range changes {
		switch o := c.Object().(type) {
		case *cluster.Service:
			p.applyService(o.Key(), as[*cluster.Service](c.New))
		case *cluster.Slice:
			p.applySlice(as[*cluster.Slice](c.Old), as[*cluster.Slice](c.New))
		case *cluster.Node:
			p.applyNode(o.Name, as[*cluster.Node](c.New))
		case *cluster.Range:
			p.applyRange(o.Name, as[*cluster.Range](c.New))
		}
	}
}

// as returns o as a T, nil where o is nil.
func as[T cluster.Object](o cluster.Object) T {
	t, _ := o.(T)
	return t
}

// Synced implements cluster.Sink.
func (p *Plan) Synced(kind cluster.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced[kind] = true
}

// Ready reports whether enough is known for the first Take: all Services, slices and Nodes that exist. Before, routes
// would be taken away that are only not known yet.
func (p *Plan) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready()
}

func (p *Plan) ready() bool {
	return p.synced[cluster.KindService] && p.synced[cluster.KindSlice] && p.synced[cluster.KindNode]
}

// Take returns what differs from what it told before, the first time from nothing; nil before the plan is Ready.
func (p *Plan) Take() *proxy.Changes {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready() {
		return nil
	}
	p.recomputeAll()
	p.installed = nil
	p.taken = taken{p.stats.PendingServices, p.stats.PendingSlices}
	c := &proxy.Changes{Refused: p.refusals.take(), Health: p.health, Triggered: p.triggered}
	p.health, p.triggered = nil, nil
	if node := p.settings(); !node.Equal(&p.node) {
		p.node = node
		c.Node = &node
	}
	c.Routes = p.takeRoutes()
	p.clusterIPs.take(func(a netip.Addr, gone bool) {
		c.ClusterIPs = append(c.ClusterIPs, proxy.AddressChange{Address: a, Gone: gone})
	})
	p.hairpins.take(func(h proxy.Hairpin, gone bool) {
		c.Hairpins = append(c.Hairpins, proxy.HairpinChange{Hairpin: h, Gone: gone})
	})
	return c
}

func (p *Plan) recomputeAll() {
	for i := 0; i < len(p.dirty); i++ { // more may be marked meanwhile
		s := p.dirty[i]
		s.dirty = false
		p.recompute(s)
		if s.value == nil && len(s.slices) == 0 {
			delete(p.services, s.key)
		}
	}
	clear(p.dirty)
	p.dirty = p.dirty[:0]
	if cap(p.dirty) > keptScratch {
		p.dirty = nil
	}
}

// keptScratch bounds, in elements, what a buffer may keep for the next time.
const keptScratch = 1024

// takeRoutes tells of the frontends whose route differs from what was told, each once.
func (p *Plan) takeRoutes() []proxy.RouteChange {
	var changes []proxy.RouteChange
	for _, f := range p.touched {
		c := p.claims[f]
		if c.told != c.route {
			changes = append(changes, proxy.RouteChange{Old: c.told, New: c.route})
			c.told = c.route
			p.claims[f] = c
		}
		if c.owner == nil {
			delete(p.claims, f)
		}
	}
	if p.touched = p.touched[:0]; cap(p.touched) > keptScratch {
		p.touched = nil
	}
	return changes
}

// Wanted returns all that the last Take told of, with what is told of earlier ones.
func (p *Plan) Wanted() *proxy.Wanted {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &proxy.Wanted{Node: p.node, Routes: make([]*proxy.Route, 0, len(p.claims))}
	for _, s := range p.inOrder() {
		for i := range s.groups {
			w.Routes = append(w.Routes, s.groups[i].routes...)
		}
	}
	w.ClusterIPs = p.clusterIPs.told()
	w.Hairpins = p.hairpins.told()
	return w
}

// inOrder returns the Services with a port of DNS first: everything else in the cluster waits for names. Within both
// halves they are sorted by namespace and name.
func (p *Plan) inOrder() []*service {
	all := make([]*service, 0, len(p.services))
	for _, s := range p.services {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *service) int {
		if x, y := a.servesDNS(), b.servesDNS(); x != y {
			if x {
				return -1
			}
			return 1
		}
		return compareKeys(a.key, b.key)
	})
	return all
}

func (s *service) servesDNS() bool {
	return s.value != nil && slices.ContainsFunc(s.value.Ports, func(p cluster.Port) bool { return p.Number == 53 })
}
