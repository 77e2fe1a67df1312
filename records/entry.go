package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// entry is all that is known under one "service.namespace": the Service or ServiceImport and its slices, either of which
// may come first, and the answers compiled of them. It never changes once it is in a Zone.
type entry struct {
	key     string // that of id, at hand for lookups: see pack
	kind    kind
	exists  bool       // the Service's own name does
	uniform bool       // all slices with ready endpoints have the same ports
	names   bool       // some endpoint is a name, not an address
	a, aaaa []byte     // for Reply.Addresses: of the endpoints where the kind is headless, else of the ClusterIPs
	packed  [64]byte   // key, a and aaaa, where there is room for them: see pack
	srv     srvSet     // of the same: all ports
	ports   []portSRV  // each named port
	ready   int        // ready addresses
	labels  []labelRef // the names of ready endpoints, by hash
	target  []byte     // ExternalName's target in wire form and its own letter case

	// What the above is compiled of.
	id       *ident
	service  *cluster.Service
	imported *cluster.Import  // in the table of imports, where service is nil
	slices   []*cluster.Slice // by name, so that answers have one order
}

// ident is what an entry or a namespace is called: it stays the same while entries replace each other.
type ident struct {
	key    string // "\x03web\x04prod": the two labels in wire form; a namespace has one
	prefix string // key and "\x03svc": what the names of the entry have before the zone
	bare   [refKinds]ref
}

// name implements keyed.
func (id *ident) name() string { return id.key }

// name implements keyed.
func (e *entry) name() string { return e.key }

// kind is what an entry's name stands for.
type kind uint8

const (
	absent    kind = iota // only slices are known
	clusterIP             // the addresses are the Service's own
	headless              // the addresses are the endpoints'
	external              // a CNAME
	literal               // ExternalName is an IP address: such a name does not exist
)

// labelRef is one ready endpoint under the hash of its label in lower case.
type labelRef struct {
	hash            uint32
	slice, endpoint uint16
}

// portSRV is the compiled SRV answer of one named port.
type portSRV struct {
	name     string
	protocol cluster.Protocol
	set      srvSet
}

// newIdent makes the key of a Service. It returns nil where the names are no DNS labels, which the API never sends.
func newIdent(namespace, name string) *ident {
	if !validLabel(name) || !validLabel(namespace) {
		return nil
	}
	prefix := wireLabel(name) + wireLabel(namespace) + svcLabel
	return makeIdent(prefix[:len(prefix)-len(svcLabel)], prefix)
}

func makeIdent(key, prefix string) *ident {
	id := &ident{key: key, prefix: prefix}
	for kind := range id.bare {
		id.bare[kind] = ref{kind: refKind(kind), id: id}
	}
	return id
}

// ref is a ref to what is called so.
func (id *ident) ref(kind refKind, host string) *ref {
	if host == "" {
		return &id.bare[kind]
	}
	return &ref{kind, id, host}
}

const svcLabel = "\x03svc"

func validLabel(s string) bool { return s != "" && len(s) <= message.MaxLabelLen }

// wireLabel is a label in wire form and lower case.
func wireLabel(s string) string { return string([]byte{byte(len(s))}) + strings.ToLower(s) }

// compile works out the answers of an entry.
func (e *entry) compile(p *plan) {
	e.kind, e.target = e.classify()
	e.compileLabels(p)
	e.exists = e.kind == external || e.kind == headless && e.ready > 0
	if e.kind != clusterIP && e.kind != headless {
		return
	}
	if e.kind == clusterIP && p.IgnoreEmpty && e.ready == 0 {
		e.kind = absent
		return
	}
	e.exists = e.exists || e.kind == clusterIP && len(e.ownPorts()) > 0
	all := gather(p, e, selection{})
	e.a, e.aaaa, e.srv = all.a, all.aaaa, all.srv
	e.pack()
	for _, port := range e.namedPorts() {
		of := gather(p, e, selection{port: []byte(strings.ToLower(port.Name)), protocol: []byte(port.Protocol.String())})
		set := of.srv
		if string(set.records) == string(e.srv.records) {
			set = e.srv
		}
		e.ports = append(e.ports, portSRV{port.Name, port.Protocol, set})
	}
}

// pack puts the key and the addresses into one piece of memory, that of the entry itself if they fit: a lookup compares the key
// and then copies the addresses, and among many Services each piece of memory is a wait for the cache.
func (e *entry) pack() {
	keyLen, aLen := len(e.key), len(e.a)
	block := e.packed[:0]
	if n := keyLen + aLen + len(e.aaaa); n > len(e.packed) {
		block = make([]byte, 0, n)
	}
	block = append(append(append(block, e.key...), e.a...), e.aaaa...)
	e.key = unsafe.String(&block[0], keyLen)
	e.a, e.aaaa = block[keyLen:keyLen+aLen:keyLen+aLen], block[keyLen+aLen:]
}

func (e *entry) classify() (kind, []byte) {
	switch {
	case e.imported != nil && e.imported.Headless:
		return headless, nil
	case e.imported != nil:
		return clusterIP, nil
	case e.service == nil:
		return absent, nil
	case e.service.Type == cluster.Headless:
		return headless, nil
	case e.service.Type == cluster.ClusterIP:
		return clusterIP, nil
	}
	if a, err := netip.ParseAddr(e.service.ExternalName); err == nil && a.Zone() == "" {
		return literal, nil
	}
	target, err := message.PackName(e.service.ExternalName)
	if err != nil {
		return literal, nil
	}
	return external, target
}

// compileLabels indexes the ready endpoints by the hash of their labels.
func (e *entry) compileLabels(p *plan) {
	count := 0
	for _, s := range e.slices {
		for i := range s.Endpoints {
			if s.Endpoints[i].Ready() {
				count++
			}
		}
	}
	e.ready, e.uniform = count, true
	e.labels = make([]labelRef, 0, count)
	var first *cluster.Slice
	var buf [message.MaxLabelLen]byte
	for i, s := range e.slices {
		before := len(e.labels)
		e.names = e.names || s.FQDNs != nil
		for j := range s.Endpoints {
			if label := endpointLabel(buf[:0], s, j, p.PodNames); s.Endpoints[j].Ready() {
				e.labels = append(e.labels, labelRef{labelHash(label), uint16(i), uint16(j)})
			}
		}
		if len(e.labels) == before {
			continue
		}
		if first == nil {
			first = s
		}
		e.uniform = e.uniform && slices.Equal(first.Ports, s.Ports)
	}
	slices.SortStableFunc(e.labels, func(x, y labelRef) int { return cmp.Compare(x.hash, y.hash) })
}

// namedPorts lists the distinct named ports, of the Service or of its slices.
func (e *entry) namedPorts() []cluster.Port {
	var named []cluster.Port
	add := func(ports []cluster.Port) {
		for _, p := range ports {
			known := slices.ContainsFunc(named, func(q cluster.Port) bool { return q.Name == p.Name && q.Protocol == p.Protocol })
			if p.Name != "" && !known {
				named = append(named, p)
			}
		}
	}
	if e.kind == clusterIP {
		add(e.ownPorts())
		return named
	}
	for _, s := range e.slices {
		add(s.Ports)
	}
	return named
}

// ownPorts are the ports that the Service or ServiceImport lists.
func (e *entry) ownPorts() []cluster.Port {
	if e.imported != nil {
		return e.imported.Ports
	}
	return e.service.Ports
}

// ownIPs are the ClusterIPs of the Service, or the IPs of the ServiceImport.
func (e *entry) ownIPs() []netip.Addr {
	if e.imported != nil {
		return e.imported.IPs
	}
	return e.service.ClusterIPs
}

// named returns the endpoints whose label may be the given one, by hash.
func (e *entry) named(label []byte) []labelRef {
	hash := labelHash(label)
	from, _ := slices.BinarySearchFunc(e.labels, hash, func(l labelRef, h uint32) int { return cmp.Compare(l.hash, h) })
	to := from
	for to < len(e.labels) && e.labels[to].hash == hash {
		to++
	}
	return e.labels[from:to]
}

// labelHash is FNV-1a over the label in lower case. Nothing but speed rests on it: a hit is compared letter by letter.
func labelHash(label []byte) uint32 {
	hash := uint32(2166136261)
	for _, c := range label {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		hash = (hash ^ uint32(c)) * 16777619
	}
	return hash
}

// endpointLabel appends the label that endpoint i of a slice has: its hostname, else with podNames the name of its Pod
// where that fits a label, else its address with dashes. An IPv6 address that ends in a colon gets a final 0, since a
// label may not end in a dash. What fits no label is empty.
//
//	dig 10-244-1-10.web.prod.svc.cluster.local
func endpointLabel(buf []byte, s *cluster.Slice, i int, podNames bool) []byte {
	e := &s.Endpoints[i]
	switch {
	case e.Hostname != "":
		buf = append(buf, e.Hostname...)
	case podNames && e.Pod != "" && len(e.Pod) <= message.MaxLabelLen:
		buf = append(buf, e.Pod...)
	case s.FQDNs != nil:
		buf = dashed(append(buf, s.FQDNs[i]...))
	default:
		buf = dashed(e.Address.AppendTo(buf))
	}
	if len(buf) > message.MaxLabelLen {
		return buf[:0]
	}
	return buf
}

// dashed turns the dots or, without any, the colons of an address into dashes.
func dashed(b []byte) []byte {
	separator := byte(':')
	if slices.Contains(b, '.') {
		separator = '.'
	}
	for i, c := range b {
		if c == separator {
			b[i] = '-'
		}
	}
	if separator == ':' && len(b) > 0 && b[len(b)-1] == '-' {
		b = append(b, '0')
	}
	return b
}
