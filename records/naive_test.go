package records

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
)

// naive is the zone as the specification reads: maps of objects, and every question answered by walking all of them with
// string comparisons. It shares no code with the real one and knows nothing of its indexes.
type naive struct {
	config     Config
	zone       string
	imported   bool // what it has as Services are ServiceImports
	namespaces map[string]bool
	services   map[string]*cluster.Service // by "name.namespace"
	slices     map[string]*cluster.Slice   // by "name.namespace"
	pods       map[string]*cluster.Pod     // by "name.namespace"
	changed    bool
}

// The forward zones: that of Services, and that of ServiceImports.
const (
	naiveZone       = "cluster.local."
	naiveClusterset = "clusterset.local."
)

func newNaive(c Config, zone string) *naive {
	return &naive{
		config: c, zone: zone, imported: zone == naiveClusterset, namespaces: map[string]bool{}, services: map[string]*cluster.Service{}, slices: map[string]*cluster.Slice{},
		pods: map[string]*cluster.Pod{},
	}
}

func (n *naive) apply(c cluster.Change) {
	o := c.Object()
	key := o.Key().Name + "." + o.Key().Namespace
	switch o := o.(type) {
	case *cluster.Namespace:
		n.namespaces[o.Name] = c.New != nil
		return
	case *cluster.Service, *cluster.Import:
		svc, imported := asService(o)
		if imported != n.imported {
			return
		}
		n.services[key] = svc
		if c.New == nil {
			delete(n.services, key)
		}
	case *cluster.Slice:
		ours := (o.Multicluster != "") == n.imported
		n.slices[key] = o
		if c.New == nil || !ours {
			delete(n.slices, key)
		}
		if !ours {
			return
		}
	case *cluster.Pod:
		if n.imported {
			return
		}
		n.pods[key] = o
		if c.New == nil {
			delete(n.pods, key)
		}
	}
	n.changed = n.changed || !n.imported || c.Old != nil && c.New != nil
}

// allowed reports whether the option "namespaces" has a namespace, served whether it is there as well.
func (n *naive) allowed(namespace string) bool {
	return n.config.Namespaces == nil || n.config.Namespaces[namespace]
}

func (n *naive) served(namespace string) bool {
	return n.namespaces[namespace] && n.allowed(namespace)
}

// backend is an address of an endpoint, with the ports it listens on.
type backend struct {
	host    string
	addr    netip.Addr
	ports   []cluster.Port
	zone    string
	cluster string
}

// backends are the ready endpoints of a Service, slice by slice.
func (n *naive) backends(service, namespace string) []backend {
	var out []backend
	for _, key := range slices.Sorted(maps.Keys(n.slices)) {
		s := n.slices[key]
		if s.Namespace != namespace || s.Service+s.Multicluster != service {
			continue
		}
		for _, e := range s.Endpoints {
			if e.State&cluster.Ready == 0 {
				continue
			}
			ports := s.Ports
			if len(ports) == 0 {
				ports = []cluster.Port{{}}
			}
			out = append(out, backend{n.host(&e), e.Address, ports, e.Zone(), s.SourceCluster})
		}
	}
	return out
}

// host is the label that an endpoint has below its Service.
func (n *naive) host(e *cluster.Endpoint) string {
	switch {
	case e.Hostname != "":
		return e.Hostname
	case e.Pod != "" && n.config.PodNames:
		return e.Pod
	}
	host := strings.NewReplacer(".", "-", ":", "-").Replace(e.Address.String())
	if strings.HasSuffix(host, "-") {
		host += "0"
	}
	return host
}

func (n *naive) soa(zone string) string {
	serial := int64(0)
	if n.changed {
		serial = changedAt.Unix()
	}
	return fmt.Sprintf("authority: %s %d IN SOA ns.dns.%[1]s hostmaster.%[1]s %[3]d 7200 1800 86400 %[2]d", zone, n.config.TTL, serial)
}

func (n *naive) noData() []string   { return []string{"NOERROR aa", n.soa(n.zone)} }
func (n *naive) nxDomain() []string { return []string{"NXDOMAIN aa", n.soa(n.zone)} }

// answer is the reply to a question, as digest prints it.
func (n *naive) answer(name string, typ uint16) []string {
	if strings.HasSuffix(name, ".arpa.") {
		return n.reverse(name, typ)
	}
	base := strings.TrimSuffix(name, "."+n.zone)
	labels := strings.Split(base, ".")
	last := len(labels) - 1
	if labels[last] == "pod" {
		return n.pod(name, typ, labels[:last])
	}
	if labels[last] != "svc" {
		return n.nxDomain()
	}
	if last == 0 {
		return n.noData()
	}
	namespace := labels[last-1]
	if !n.served(namespace) {
		return n.nxDomain()
	}
	if last == 1 {
		return n.noData()
	}
	svc, ok := n.services[labels[last-2]+"."+namespace]
	if !ok {
		return n.nxDomain()
	}
	return n.service(name, typ, svc, labels[:last-2])
}

// service answers the names of one Service; extra are the labels before it.
func (n *naive) service(name string, typ uint16, svc *cluster.Service, extra []string) []string {
	if n.zonal(svc) && len(extra) > 0 && extra[len(extra)-1] == "_zone" {
		return n.inZone(name, typ, svc, extra[:len(extra)-1])
	}
	if len(extra) > 2 {
		return n.nxDomain()
	}
	port, protocol, host, source := "", "", "", ""
	switch {
	case len(extra) == 1:
		host = extra[0]
	case len(extra) == 2 && n.imported && extra[0][0] != '_' && extra[1][0] != '_':
		host, source = extra[0], extra[1]
	case len(extra) == 2:
		port, protocol = strings.TrimPrefix(extra[0], "_"), strings.TrimPrefix(extra[1], "_")
	}
	if svc.Type == cluster.ExternalName {
		if host == "_" { // _._.NAME is there
			return n.noData()
		}
		if host+port+protocol != "" {
			return n.nxDomain()
		}
		return n.externalName(name, typ, svc, map[string]bool{})
	}
	if svc.Type == cluster.ClusterIP && n.config.IgnoreEmpty && len(n.backends(svc.Name, svc.Namespace)) == 0 {
		return n.nxDomain()
	}
	matches := func(p cluster.Port) bool {
		return (port == "" || p.Name == port) && (protocol == "" || p.Protocol != 0 && p.Protocol.String() == protocol)
	}
	var found []backend // one port each
	if svc.Type == cluster.ClusterIP && host == "" {
		for _, p := range svc.Ports {
			for _, ip := range svc.ClusterIPs {
				if matches(p) {
					found = append(found, backend{"", ip, []cluster.Port{p}, "", ""})
				}
			}
		}
	} else {
		for _, b := range n.backends(svc.Name, svc.Namespace) {
			for _, p := range b.ports {
				if matches(p) && (host == "" || b.host == host && b.cluster == source) {
					found = append(found, backend{b.host, b.addr, []cluster.Port{p}, b.zone, b.cluster})
				}
			}
		}
	}
	if len(found) == 0 {
		if host != "" && source == "" && (n.hasProtocol(svc, strings.TrimPrefix(host, "_")) || n.hasCluster(svc, host)) {
			return n.noData()
		}
		if n.zonal(svc) && len(extra) == 0 { // it is above the names of zones
			return n.noData()
		}
		return n.nxDomain()
	}
	return n.records(name, typ, svc, found)
}

// records are what has been found of a Service, one port each.
func (n *naive) records(name string, typ uint16, svc *cluster.Service, found []backend) []string {
	own := svc.Name + "." + svc.Namespace + ".svc." + n.zone
	lines := map[string]bool{}
	for _, b := range found {
		n.record(lines, name, own, typ, b, max(1, 100/len(found)))
	}
	if len(lines) == 0 {
		return n.noData()
	}
	return append([]string{"NOERROR aa"}, slices.Sorted(maps.Keys(lines))...)
}

// record adds what one backend contributes.
func (n *naive) record(lines map[string]bool, name, own string, typ uint16, b backend, weight int) {
	family := familyOf(b.addr)
	if typ == family {
		lines[fmt.Sprintf("%s %d IN %s %s", name, n.config.TTL, dns.TypeToString[family], b.addr)] = true
	}
	if typ == dns.TypeSRV && b.ports[0].Number != 0 {
		target := own
		if b.cluster != "" {
			target = b.cluster + "." + target
		}
		if b.host != "" {
			target = b.host + "." + target
		}
		lines[fmt.Sprintf("%s %d IN SRV 0 %d %d %s", name, n.config.TTL, weight, b.ports[0].Number, target)] = true
		lines[fmt.Sprintf("additional: %s %d IN %s %s", target, n.config.TTL, dns.TypeToString[family], b.addr)] = true
	}
}

func familyOf(addr netip.Addr) uint16 {
	if addr.Is6() {
		return dns.TypeAAAA
	}
	return dns.TypeA
}

func (n *naive) hasProtocol(svc *cluster.Service, protocol string) bool {
	ports := svc.Ports
	if svc.Type == cluster.Headless {
		ports = nil
		for _, b := range n.backends(svc.Name, svc.Namespace) {
			ports = append(ports, b.ports...)
		}
	}
	return slices.ContainsFunc(ports, func(p cluster.Port) bool {
		return protocol == "" || p.Protocol != 0 && p.Protocol.String() == protocol
	})
}

// externalName is the CNAME and what its target has, in the zone.
func (n *naive) externalName(name string, typ uint16, svc *cluster.Service, seen map[string]bool) []string {
	target := svc.ExternalName + "."
	cname := fmt.Sprintf("%s %d IN CNAME %s", name, n.config.TTL, target)
	seen[name] = true
	if typ == dns.TypeCNAME || !strings.HasSuffix(target, "."+naiveZone) || seen[target] {
		return []string{"NOERROR aa", cname}
	}
	next, ok := n.services[strings.TrimSuffix(target, ".svc."+naiveZone)]
	var rest []string
	if ok && next.Type == cluster.ExternalName && n.served(next.Namespace) {
		rest = n.externalName(target, typ, next, seen)
	} else {
		rest = n.answer(target, typ)
	}
	lines := append(slices.Clone(rest[1:]), cname)
	slices.Sort(lines)
	return append(rest[:1], slices.Compact(lines)...)
}

// TestRandomChanges plays random changes to the store and to the model, and asks both the same questions after each.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(20) {
		c := testConfig()
		c.Zones, c.Multicluster = append(c.Zones, names(naiveClusterset)...), names(naiveClusterset)
		c.PodNames, c.Pods, c.IgnoreEmpty, c.Zonal = seed%2 == 1, PodMode(seed%3), seed%5 < 2, seed%7 < 3
		if seed%4 == 3 {
			c.Namespaces = map[string]bool{"prod": true, "svc": true, "none": true}
		}
		s := NewStore(c)
		s.Synced()
		local, clusterset := newNaive(c, naiveZone), newNaive(c, naiveClusterset)
		w := &world{rand: rand.New(rand.NewPCG(seed, 1)), current: map[string]cluster.Object{}}
		for range 150 {
			var batch []cluster.Change
			for range 1 + w.rand.IntN(5) {
				if c, ok := w.change(); ok {
					batch = append(batch, c)
					local.apply(c)
					clusterset.apply(c)
				}
			}
			s.Apply(batch, changedAt)
			if err := s.Zone().Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for range 60 {
				name, typ := w.question()
				n := local
				if strings.HasSuffix(name, naiveClusterset) {
					n = clusterset
				}
				got, want := ask(t, s.Zone(), name, typ), strings.Join(n.answer(name, typ), "\n")
				if got != want {
					t.Fatalf("seed %d: %s %s\ngot:\n%s\nwant:\n%s", seed, name, dns.TypeToString[typ], got, want)
				}
			}
		}
	}
}

// TestSnapshotsStay asks a zone again after later changes: it must not have moved.
func TestSnapshotsStay(t *testing.T) {
	w := &world{rand: rand.New(rand.NewPCG(7, 7)), current: map[string]cluster.Object{}}
	s := NewStore(testConfig())
	s.Synced()
	type snapshot struct {
		zone *Zone
		asks map[string]string
	}
	var snapshots []snapshot
	for range 60 {
		if c, ok := w.change(); ok {
			s.Apply([]cluster.Change{c}, changedAt)
		}
		shot := snapshot{s.Zone(), map[string]string{}}
		for range 20 {
			name, _ := w.question()
			shot.asks[name] = ask(t, shot.zone, name, dns.TypeSRV)
		}
		snapshots = append(snapshots, shot)
	}
	for i, shot := range snapshots {
		if err := shot.zone.Check(); err != nil {
			t.Fatalf("snapshot %d: %v", i, err)
		}
		for name, want := range shot.asks {
			if got := ask(t, shot.zone, name, dns.TypeSRV); got != want {
				t.Errorf("snapshot %d: %s\ngot:\n%s\nwant:\n%s", i, name, got, want)
			}
		}
	}
}
