package plan

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// nodes is what is known of Nodes. There may be only one, our own.
type nodes struct {
	byName    map[string]*cluster.Node
	own       *cluster.Node // nil while there is none
	last      *cluster.Node // own, or what it was before it went: routes of a Node that is to be registered anew stay
	facts     facts
	addresses map[netip.Addr]int // how many Nodes have it
}

func (p *Plan) applyNode(name string, value *cluster.Node) {
	n := &p.nodes
	if n.byName == nil {
		n.byName, n.addresses = map[string]*cluster.Node{}, map[netip.Addr]int{}
	}
	old := n.byName[name]
	if value != nil {
		n.byName[name] = value
	} else {
		delete(n.byName, name)
	}
	p.countAddresses(value, 1)
	p.countAddresses(old, -1)
	if name != p.options.NodeName {
		return
	}
	if n.own = value; value == nil {
		return
	}
	before := n.facts
	if p.options.PodsOfNode && (n.last == nil || !slices.Equal(n.last.PodCIDRs, value.PodCIDRs)) {
		defer p.markAllExternals() // which may be in the Pods' ranges now, or be no more
	}
	n.last = value
	if n.facts = p.factsNow(); n.facts != before {
		p.markAll()
	}
}

// facts are what every route may depend on.
type facts struct {
	zone string
	ips  [2]netip.Addr
	pods [2]bool // whether Pods can be recognised, by family
}

func (p *Plan) factsNow() facts {
	f := facts{ips: p.nodeIPs()}
	if p.nodes.last != nil {
		f.zone = p.nodes.last.Zone
	}
	pods := p.pods()
	for i, a := range unspecified {
		f.pods[i] = pods.Knows(a)
	}
	return f
}

func (p *Plan) countAddresses(n *cluster.Node, by int) {
	if n == nil {
		return
	}
	for _, a := range n.Addresses {
		was := p.nodes.addresses[a]
		if p.nodes.addresses[a] = was + by; was+by == 0 {
			delete(p.nodes.addresses, a)
		}
		if was == 0 || was+by == 0 {
			p.markExternals(a)
		}
	}
}

// Node returns our own Node as it was last told; nil while there is none, or no more.
func (p *Plan) Node() *cluster.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes.own
}

// isHere reports whether a place is on our own node.
func (p *Plan) isHere(place *cluster.Place) bool {
	return place != nil && place.Node != "" && place.Node == p.options.NodeName
}

// nodeIPs returns the node's IPv4 and its IPv6 address: of the Node's, internal ones before external ones, the first of
// each family, unless the configuration names another. Either may be the zero Addr.
func (p *Plan) nodeIPs() [2]netip.Addr {
	var ips [2]netip.Addr
	if p.nodes.last != nil {
		for _, a := range p.nodes.last.Addresses {
			if i := family(a); !ips[i].IsValid() {
				ips[i] = a
			}
		}
	}
	if a := p.options.NodeIP; a.IsValid() && !a.IsUnspecified() {
		ips[family(a)] = a
	}
	return ips
}

// family is 0 for IPv4 and 1 for IPv6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// unspecified stands for any local address in the frontends of NodePorts, by family.
var unspecified = [2]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}

// pods is how Pods are recognised now.
func (p *Plan) pods() proxy.Detector {
	if !p.options.PodsOfNode {
		return p.options.Pods
	}
	var d proxy.Detector
	if p.nodes.last != nil {
		for _, r := range p.nodes.last.PodCIDRs {
			if !d.Knows(r.Addr()) {
				d.Prefixes = append(d.Prefixes, r)
			}
		}
	}
	return d
}

// settings is what all routes have in common now.
func (p *Plan) settings() proxy.Node {
	n := proxy.Node{Pods: p.pods(), NodePorts: p.nodePorts()}
	for _, r := range p.ranges {
		n.ServiceRanges = append(n.ServiceRanges, r.Prefixes...)
	}
	slices.SortFunc(n.ServiceRanges, comparePrefixes)
	n.ServiceRanges = slices.Compact(n.ServiceRanges)
	return n
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func (p *Plan) nodePorts() []netip.Prefix {
	var ranges []netip.Prefix
	if p.options.NodePortsPrimary {
		for _, a := range p.nodeIPs() {
			if a.IsValid() && !a.IsLoopback() {
				ranges = append(ranges, netip.PrefixFrom(a, a.BitLen()))
			}
		}
		return ranges
	}
	for f, any := range unspecified {
		before := len(ranges)
		for _, r := range p.options.NodePorts {
			if family(r.Addr()) == f {
				ranges = append(ranges, r)
			}
		}
		if len(ranges) == before {
			ranges = append(ranges, netip.PrefixFrom(any, 0))
		}
	}
	return ranges
}

// applyRange takes a range of ClusterIPs: external IPs may be in it now, or be no more.
func (p *Plan) applyRange(name string, value *cluster.Range) {
	if value != nil {
		p.ranges[name] = value
	} else {
		delete(p.ranges, name)
	}
	p.markAllExternals()
}

func (p *Plan) markAllExternals() {
	for a := range p.externals {
		p.markExternals(a)
	}
}
