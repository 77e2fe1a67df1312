package records

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// selection narrows an entry's answers to what a longer name than the Service's asks for. Texts are in lower case; the
// zero value selects all.
type selection struct {
	host     []byte // the endpoints with this label
	cluster  []byte // and of this cluster, in a multicluster zone
	port     []byte // the ports of this name
	protocol []byte // the ports of this protocol, "tcp"
	zone     []byte // the endpoints in this topology zone
}

// answers is what an entry has for a selection.
type answers struct {
	exists  bool // something is selected, be it without an address
	a, aaaa []byte
	srv     srvSet
	names   []string // the targets of selected endpoints that are names, not addresses
}

// gather collects the answers of a ClusterIP or headless entry, the only place that decides which they are. It is meant
// for the time of writing; a query takes this way only where its name has no compiled answer.
func gather(p *plan, e *entry, sel selection) answers {
	g := gatherer{plan: p, entry: e, sel: sel}
	if e.kind == clusterIP && sel.host == nil {
		g.services()
	} else {
		g.endpoints()
	}
	g.out.srv = g.compileSRV()
	return g.out
}

type gatherer struct {
	plan  *plan
	entry *entry
	sel   selection
	out   answers

	total   int // how many pairs of address and port there are, duplicates and all: the divisor of SRV weights
	srv     []srvRecord
	seen    map[netip.Addr]bool
	targets map[string]int      // host -> its first record in srv
	pairs   map[srvTarget]bool  // which SRV records there are
	glued   map[srvAddress]bool // which addresses their targets have
}

type srvRecord struct {
	srvTarget
	glue []netip.Addr // of the first record of a target only
}

type srvTarget struct {
	host string // the labels before the Service's own, in wire form; "" for the Service itself
	port uint16
}

type srvAddress struct {
	host string
	addr netip.Addr
}

// services takes the addresses of the Service itself, each under every selected port.
func (g *gatherer) services() {
	for _, port := range g.entry.ownPorts() {
		if !g.sel.takes(port) {
			continue
		}
		g.out.exists = true
		for _, ip := range g.entry.ownIPs() {
			g.address(ip)
			g.pair("", ip, port)
		}
	}
}

// endpoints takes the ready endpoints, by their index where a label is selected.
func (g *gatherer) endpoints() {
	if g.sel.host != nil {
		for _, l := range g.entry.named(g.sel.host) {
			if g.entry.is(g.plan, l, &g.sel) {
				g.endpoint(g.entry.slices[l.slice], int(l.endpoint))
			}
		}
		return
	}
	for _, s := range g.entry.slices {
		for i := range s.Endpoints {
			if e := &s.Endpoints[i]; e.Ready() && (len(g.sel.zone) == 0 || foldEqual(g.sel.zone, e.Zone())) {
				g.endpoint(s, i)
			}
		}
	}
}

// portsOf are the ports of a slice. One that lists none has a port without name, protocol and number: its endpoints have
// addresses and no SRV records.
func portsOf(s *cluster.Slice) []cluster.Port {
	if len(s.Ports) == 0 {
		return noPorts
	}
	return s.Ports
}

var noPorts = []cluster.Port{{}}

func (g *gatherer) endpoint(s *cluster.Slice, i int) {
	var buf [message.MaxLabelLen]byte
	label := endpointLabel(buf[:0], s, i, g.plan.PodNames)
	host := hostLabels(string(label), s)
	for _, port := range portsOf(s) {
		switch {
		case !g.sel.takes(port):
		case s.FQDNs != nil:
			g.out.exists = true
			if !slices.Contains(g.out.names, s.FQDNs[i]) {
				g.out.names = append(g.out.names, s.FQDNs[i])
			}
		default:
			g.out.exists = true
			g.address(s.Endpoints[i].Address)
			if host != "" {
				g.pair(host, s.Endpoints[i].Address, port)
			}
		}
	}
}

// hostLabels is what stands before the Service's labels in an endpoint's name: its label and, in a multicluster zone,
// the cluster's.
func hostLabels(label string, s *cluster.Slice) string {
	if label == "" {
		return ""
	}
	host := string([]byte{byte(len(label))}) + label
	if s.Multicluster != "" && validLabel(s.SourceCluster) {
		host += wireLabel(s.SourceCluster)
	}
	return host
}

func (g *gatherer) address(ip netip.Addr) {
	if g.seen == nil {
		g.seen = make(map[netip.Addr]bool)
	}
	if g.seen[ip] {
		return
	}
	g.seen[ip] = true
	if ip = ip.Unmap(); ip.Is4() {
		g.out.a = message.AppendAddress(g.out.a, ip.AsSlice(), g.plan.TTL)
	} else {
		g.out.aaaa = message.AppendAddress(g.out.aaaa, ip.AsSlice(), g.plan.TTL)
	}
}

// pair notes an SRV record, and the address of its target. Records with the same target and port are one, as CoreDNS has
// it, even where the protocols differ; the weight counts them all.
func (g *gatherer) pair(host string, ip netip.Addr, port cluster.Port) {
	if g.pairs == nil {
		g.pairs, g.glued, g.targets = make(map[srvTarget]bool), make(map[srvAddress]bool), make(map[string]int)
	}
	g.total++
	if port.Number == 0 {
		return
	}
	target := srvTarget{host, port.Number}
	if !g.pairs[target] {
		g.pairs[target] = true
		if _, ok := g.targets[host]; !ok {
			g.targets[host] = len(g.srv)
		}
		g.srv = append(g.srv, srvRecord{srvTarget: target})
	}
	if !g.glued[srvAddress{host, ip}] {
		g.glued[srvAddress{host, ip}] = true
		first := &g.srv[g.targets[host]]
		first.glue = append(first.glue, ip.Unmap())
	}
}

func (g *gatherer) compileSRV() srvSet {
	if len(g.srv) == 0 {
		return srvSet{}
	}
	weight := uint16(max(1, 100/g.total))
	var records []byte
	for i := range g.srv {
		records = g.srv[i].append(records, weight)
	}
	return srvSet{records}
}

// takes reports whether a port is selected. A port without a protocol is that of a slice which lists none.
func (sel *selection) takes(p cluster.Port) bool {
	return (len(sel.port) == 0 || foldEqual(sel.port, p.Name)) &&
		(len(sel.protocol) == 0 || p.Protocol != 0 && string(sel.protocol) == p.Protocol.String())
}

// foldEqual compares a text in lower case with one in any.
func foldEqual(lower []byte, s string) bool {
	return len(lower) == len(s) && strings.EqualFold(string(lower), s)
}
