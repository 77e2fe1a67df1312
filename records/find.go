package records

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// found is what a question's name stands for.
type found struct {
	what  what
	entry *entry
	sel   selection
	exact bool       // sel selects all
	refs  []*ref     // of an address
	addr  netip.Addr // of a reverse name or a Pod name
}

// what is the kind of a name.
type what uint8

const (
	nothing     what = iota // no such name
	node                    // a name that only has others below it, or one without data
	arpaNode                // the same in a reverse zone, where it may fall through
	apex                    // the zone itself
	nsName                  // ns.dns.ZONE
	versionName             // dns-version.ZONE
	service                 // a Service or ServiceImport, its ports or its endpoints
	address                 // a reverse name
	pod                     // an address below a namespace's "pod"
)

// find decides what a name stands for. The labels are counted from the right, behind the zone.
func (z *Zone) find(q *message.Query, zone *zoneInfo) found {
	k := q.Labels() - zone.labels
	if k == 0 {
		return z.findApex(q)
	}
	last := q.Label(k - 1)
	if k == 1 {
		switch string(last) {
		case "svc", "pod":
			return found{what: node}
		case "dns-version":
			return found{what: versionName}
		}
	}
	if zone.labels > 0 && string(last) == "dns" { // the root zone has no ns.dns
		if k == 1 {
			return found{what: node}
		}
		if k == 2 && string(q.Label(0)) == "ns" {
			return found{what: nsName}
		}
	}
	if family := reverseOf(q); family != 0 {
		return z.findAddress(q, family)
	}
	switch string(last) {
	case "svc":
		return z.findService(q, zone, k)
	case "pod":
		return z.findPod(q, k)
	}
	return found{}
}

// findApex is the zone's own name, which in a zone made of a whole address is a reverse name too.
func (z *Zone) findApex(q *message.Query) found {
	if family := reverseOf(q); family != 0 {
		if f := z.findAddress(q, family); f.what == address {
			return f
		}
	}
	return found{what: apex}
}

// namespace reports whether the namespace of label i is there and served.
func (z *Zone) namespace(q *message.Query, i int) bool {
	if z.plan.Namespaces != nil && !z.plan.Namespaces[string(q.Label(i))] {
		return false
	}
	return z.namespaces.get(q.Lower()[q.Start(i):q.Start(i+1)]) != nil
}

// findService is a name that ends in "svc": [PORT.PROTOCOL.|ENDPOINT.]SERVICE.NAMESPACE.svc.ZONE, in a multicluster zone
// also ENDPOINT.CLUSTER.SERVICE, and where topology zones are on ZONE.pin._zone.SERVICE and ZONE.prefer._zone.SERVICE.
func (z *Zone) findService(q *message.Query, zone *zoneInfo, k int) found {
	if k == 1 || !z.namespace(q, k-2) {
		return found{}
	}
	if k == 2 {
		return found{what: node}
	}
	table := &z.services
	if zone.multicluster {
		table = &z.imports
	}
	e := table.get(q.Lower()[q.Start(k-3):q.Start(k-1)])
	if e == nil || e.kind == absent || e.kind == literal {
		return found{}
	}
	f := found{what: service, entry: e}
	switch extra := k - 3; {
	case extra == 0:
		f.exact = true
	case extra == 1:
		f.sel.host = q.Label(0)
		if zone.multicluster {
			f.sel.cluster = noCluster
		}
	case extra > 2 || string(q.Label(1)) == zoneAnchor && z.plan.Zonal:
		return z.findZonal(f, q, zone, k)
	case zone.multicluster && q.Label(0)[0] != '_' && q.Label(1)[0] != '_':
		f.sel.host, f.sel.cluster = q.Label(0), q.Label(1)
	default:
		f.sel.port, f.sel.protocol = bare(q.Label(0)), bare(q.Label(1))
		f.exact = len(f.sel.port)+len(f.sel.protocol) == 0
	}
	switch {
	case e.has(z.plan, &f):
		return f
	case k == 3 && z.plan.Zonal && e.kind == headless && !zone.multicluster:
		return found{what: node} // above the names of its topology zones
	}
	return found{what: z.between(e, &f)}
}

// noCluster selects the endpoints of slices that name no cluster.
var noCluster = []byte{}

// zoneAnchor is the label that sets a topology zone apart from the Service.
const zoneAnchor = "_zone"

// findZonal is ZONE.DIRECTIVE._zone.SERVICE..., where ZONE may be several labels. Such a name exists for every headless
// Service and every ZONE, with or without endpoints, and so do the two names above it.
func (z *Zone) findZonal(f found, q *message.Query, zone *zoneInfo, k int) found {
	if !z.plan.Zonal || zone.multicluster || f.entry.kind != headless || string(q.Label(k-4)) != zoneAnchor {
		return found{}
	}
	directive := string(q.Label(k - 5))
	if directive != "pin" && directive != "prefer" {
		return found{}
	}
	if k == 5 {
		return found{what: node}
	}
	f.sel.zone = dotted(q.Lower()[:q.Start(k-5)])
	if directive == "prefer" && !gather(z.plan, f.entry, f.sel).exists {
		f.sel.zone, f.exact = nil, true
	}
	if f.exact && f.entry.ready == 0 {
		return found{what: node}
	}
	return f
}

// dotted is the text of labels in wire form, joined by dots.
func dotted(wire []byte) []byte {
	var text []byte
	for len(wire) > 0 && wire[0] > 0 {
		if len(text) > 0 {
			text = append(text, '.')
		}
		text = append(text, wire[1:1+wire[0]]...)
		wire = wire[1+wire[0]:]
	}
	return text
}

// bare is a port or protocol label without its underscore, which is optional; the underscore alone takes any.
func bare(label []byte) []byte {
	if label[0] == '_' {
		return label[1:]
	}
	return label
}

// has reports whether the entry has what is selected.
func (e *entry) has(p *plan, f *found) bool {
	switch {
	case f.exact:
		return e.exists
	case e.kind == external:
		return false
	case f.sel.host != nil:
		return e.hasEndpoint(p, &f.sel)
	case e.kind == headless:
		return e.slicePort(&f.sel)
	}
	for _, port := range e.ownPorts() {
		if f.sel.takes(port) {
			return true
		}
	}
	return false
}

// hasEndpoint reports whether a ready endpoint has the selected label.
func (e *entry) hasEndpoint(p *plan, sel *selection) bool {
	for _, l := range e.named(sel.host) {
		if e.is(p, l, sel) {
			return true
		}
	}
	return false
}

// is reports whether an indexed endpoint is the one selected: the index knows but a hash.
func (e *entry) is(p *plan, l labelRef, sel *selection) bool {
	var buf [message.MaxLabelLen]byte
	s := e.slices[l.slice]
	return foldEqual(sel.host, string(endpointLabel(buf[:0], s, int(l.endpoint), p.PodNames))) &&
		(sel.cluster == nil || foldEqual(sel.cluster, s.SourceCluster))
}

// slicePort reports whether a slice with ready endpoints has a selected port.
func (e *entry) slicePort(sel *selection) bool {
	if set, ok := e.portSRV(sel); ok && len(set.records) > 0 { // which are of such slices
		return true
	}
	for _, s := range e.slices {
		for _, port := range portsOf(s) {
			if sel.takes(port) && slices.ContainsFunc(s.Endpoints, isReady) {
				return true
			}
		}
	}
	return false
}

func isReady(e cluster.Endpoint) bool { return e.Ready() }

// between is node where a name of one label before the Service's is on the way to names that exist: a protocol's, or "_"
// for any, to those of its ports, a cluster's to those of its endpoints, "_zone" to those of topology zones (RFC 8020).
//
//	dig _tcp.web.prod.svc.cluster.local   ; NOERROR, no answer
func (z *Zone) between(e *entry, f *found) what {
	label := f.sel.host
	if label == nil || len(f.sel.cluster) > 0 {
		return nothing
	}
	if z.plan.Zonal && e.kind == headless && e.imported == nil && string(label) == zoneAnchor {
		return node
	}
	ports := found{sel: selection{protocol: bare(label)}}
	ports.exact = len(ports.sel.protocol) == 0
	if e.has(z.plan, &ports) {
		return node
	}
	if e.imported != nil && slices.ContainsFunc(e.slices, func(s *cluster.Slice) bool {
		return foldEqual(label, s.SourceCluster) && slices.ContainsFunc(s.Endpoints, isReady)
	}) {
		return node
	}
	return nothing
}
