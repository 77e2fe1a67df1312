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
	ttl        uint32
	podNames   bool
	namespaces map[string]bool
	services   map[string]*cluster.Service // by "name.namespace"
	slices     map[string]*cluster.Slice   // by "name.namespace"
	changed    bool
}

const naiveZone = "cluster.local."

func (n *naive) apply(c cluster.Change) {
	o := c.Object()
	key := o.Key().Name + "." + o.Key().Namespace
	switch o := o.(type) {
	case *cluster.Namespace:
		n.namespaces[o.Name] = c.New != nil
		return
	case *cluster.Service:
		n.services[key] = o
		if c.New == nil {
			delete(n.services, key)
		}
	case *cluster.Slice:
		n.slices[key] = o
		if c.New == nil {
			delete(n.slices, key)
		}
	}
	n.changed = true
}

// backend is an address of an endpoint, with the ports it listens on.
type backend struct {
	host  string
	addr  netip.Addr
	ports []cluster.Port
}

// backends are the ready endpoints of a Service, slice by slice.
func (n *naive) backends(service, namespace string) []backend {
	var out []backend
	for _, key := range slices.Sorted(maps.Keys(n.slices)) {
		s := n.slices[key]
		if s.Namespace != namespace || s.Service != service {
			continue
		}
		for _, e := range s.Endpoints {
			if e.State&cluster.Ready == 0 {
				continue
			}
			host := e.Hostname
			if host == "" && n.podNames {
				host = e.Pod
			}
			if host == "" {
				host = strings.NewReplacer(".", "-", ":", "-").Replace(e.Address.String())
				if strings.HasSuffix(host, "-") {
					host += "0"
				}
			}
			ports := s.Ports
			if len(ports) == 0 {
				ports = []cluster.Port{{}}
			}
			out = append(out, backend{host, e.Address, ports})
		}
	}
	return out
}

func (n *naive) soa() string {
	serial := int64(0)
	if n.changed {
		serial = changedAt.Unix()
	}
	return fmt.Sprintf("authority: cluster.local. %d IN SOA ns.dns.cluster.local. hostmaster.cluster.local. %d 7200 1800 86400 %d", n.ttl, serial, n.ttl)
}

func (n *naive) noData() []string   { return []string{"NOERROR aa", n.soa()} }
func (n *naive) nxDomain() []string { return []string{"NXDOMAIN aa", n.soa()} }

// answer is the reply to a question below cluster.local, as digest prints it.
func (n *naive) answer(name string, typ uint16) []string {
	base := strings.TrimSuffix(name, "."+naiveZone)
	labels := strings.Split(base, ".")
	last := len(labels) - 1
	if labels[last] == "pod" && last == 0 {
		return n.noData()
	}
	if labels[last] != "svc" {
		return n.nxDomain()
	}
	if last == 0 {
		return n.noData()
	}
	namespace := labels[last-1]
	if !n.namespaces[namespace] {
		return n.nxDomain()
	}
	if last == 1 {
		return n.noData()
	}
	svc, ok := n.services[labels[last-2]+"."+namespace]
	if !ok || last > 4 {
		return n.nxDomain()
	}
	return n.service(name, typ, svc, labels[:last-2])
}

// service answers the names of one Service; extra are the labels before it.
func (n *naive) service(name string, typ uint16, svc *cluster.Service, extra []string) []string {
	port, protocol, host := "", "", ""
	switch len(extra) {
	case 1:
		host = extra[0]
	case 2:
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
	own := svc.Name + "." + svc.Namespace + ".svc." + naiveZone
	matches := func(p cluster.Port) bool {
		return (port == "" || p.Name == port) && (protocol == "" || p.Protocol != 0 && p.Protocol.String() == protocol)
	}
	var found []backend // one port each
	if svc.Type == cluster.ClusterIP && host == "" {
		for _, p := range svc.Ports {
			for _, ip := range svc.ClusterIPs {
				if matches(p) {
					found = append(found, backend{"", ip, []cluster.Port{p}})
				}
			}
		}
	} else {
		for _, b := range n.backends(svc.Name, svc.Namespace) {
			for _, p := range b.ports {
				if matches(p) && (host == "" || b.host == host) {
					found = append(found, backend{b.host, b.addr, []cluster.Port{p}})
				}
			}
		}
	}
	if len(found) == 0 {
		if host != "" && n.hasProtocol(svc, strings.TrimPrefix(host, "_")) {
			return n.noData()
		}
		return n.nxDomain()
	}
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
	family := dns.TypeA
	if b.addr.Is6() {
		family = dns.TypeAAAA
	}
	if typ == family {
		lines[fmt.Sprintf("%s %d IN %s %s", name, n.ttl, dns.TypeToString[family], b.addr)] = true
	}
	if typ == dns.TypeSRV && b.ports[0].Number != 0 {
		target := own
		if b.host != "" {
			target = b.host + "." + own
		}
		lines[fmt.Sprintf("%s %d IN SRV 0 %d %d %s", name, n.ttl, weight, b.ports[0].Number, target)] = true
		lines[fmt.Sprintf("additional: %s %d IN %s %s", target, n.ttl, dns.TypeToString[family], b.addr)] = true
	}
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
	cname := fmt.Sprintf("%s %d IN CNAME %s", name, n.ttl, target)
	seen[name] = true
	if typ == dns.TypeCNAME || !strings.HasSuffix(target, "."+naiveZone) || seen[target] {
		return []string{"NOERROR aa", cname}
	}
	next, ok := n.services[strings.TrimSuffix(target, ".svc."+naiveZone)]
	var rest []string
	if ok && next.Type == cluster.ExternalName && n.namespaces[next.Namespace] {
		rest = n.externalName(target, typ, next, seen)
	} else {
		rest = n.answer(target, typ)
	}
	lines := append(slices.Clone(rest[1:]), cname)
	slices.Sort(lines)
	return append(rest[:1], slices.Compact(lines)...)
}

// world makes random objects and changes out of few names, so that they meet.
type world struct {
	rand    *rand.Rand
	current map[string]cluster.Object // by kind and key
}

func (w *world) pick(options ...string) string { return options[w.rand.IntN(len(options))] }

func (w *world) namespace() string { return w.pick("prod", "dev", "svc") }
func (w *world) name() string      { return w.pick("web", "db", "svc", "api", "docs") }

func (w *world) address() netip.Addr {
	if w.rand.IntN(4) == 0 {
		return netip.MustParseAddr(w.pick("fd00::1", "fd00::2", "fd00:1::", "2001:db8::a:b"))
	}
	return netip.AddrFrom4([4]byte{10, 244, byte(w.rand.IntN(2)), byte(w.rand.IntN(6))})
}

func (w *world) ports() []cluster.Port {
	all := []cluster.Port{httpPort, httpsPort, {Name: "dns", Protocol: cluster.UDP, Number: 53}, {Name: "dns-tcp", Protocol: cluster.TCP, Number: 53},
		{Protocol: cluster.TCP, Number: 8080}, {Name: "sig", Protocol: cluster.SCTP, Number: 80}, {Name: "all", Protocol: cluster.TCP}}
	w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:w.rand.IntN(4)]
}

func (w *world) object() cluster.Object {
	switch w.rand.IntN(8) {
	case 0:
		return &cluster.Namespace{Name: w.namespace()}
	case 1, 2, 3:
		s := &cluster.Service{Namespace: w.namespace(), Name: w.name(), Ports: w.ports()}
		switch w.rand.IntN(3) {
		case 0:
			s.Type = cluster.Headless
		case 1:
			s.ClusterIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(w.rand.IntN(9))})}
			if w.rand.IntN(2) == 0 {
				s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr("fd00:10:96::1"))
			}
		case 2:
			s.Type, s.Ports = cluster.ExternalName, nil
			s.ExternalName = w.pick("www.example.com", "web.prod.svc.cluster.local", "docs.dev.svc.cluster.local", "docs.prod.svc.cluster.local", "no.where.svc.cluster.local")
		}
		return s
	default:
		s := &cluster.Slice{Namespace: w.namespace(), Name: w.pick("one", "two", "three", "four"), Service: w.pick("web", "db", "svc", "api", ""), Ports: w.ports()}
		for range w.rand.IntN(5) {
			e := cluster.Endpoint{Address: w.address(), Hostname: w.pick("", "", "a", "b"), Pod: w.pick("", "pod-1", "pod-2")}
			if w.rand.IntN(4) > 0 {
				e.State = cluster.Ready
			}
			s.Endpoints = append(s.Endpoints, e)
		}
		return s
	}
}

// change replaces, adds or removes an object.
func (w *world) change() (cluster.Change, bool) {
	o := w.object()
	key := o.Kind().String() + o.Key().String()
	old, there := w.current[key]
	switch {
	case there && w.rand.IntN(3) == 0:
		delete(w.current, key)
		return cluster.Change{Old: old}, true
	case there:
		w.current[key] = o
		return cluster.Change{Old: old, New: o}, true
	}
	w.current[key] = o
	return cluster.Change{New: o}, true
}

// question is a name that may exist, and a type.
func (w *world) question() (string, uint16) {
	name := w.name() + "." + w.namespace() + ".svc." + naiveZone
	switch w.rand.IntN(6) {
	case 0:
		name = w.pick("a", "b", "pod-1", "10-244-0-1", "10-244-1-3", "fd00--1", "fd00-1--0", "_tcp", "udp", "_", "nosuch") + "." + name
	case 1, 2:
		name = w.pick("_http", "_dns", "http", "_", "_all", "_no") + "." + w.pick("_tcp", "_udp", "tcp", "_", "_sctp") + "." + name
	case 3:
		name = w.pick("svc.", "prod.svc.", "no.svc.", "x.y.z.web.prod.svc.", "foo.") + naiveZone
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeCNAME, dns.TypeMX, dns.TypeSOA, dns.TypeHTTPS}
	return name, types[w.rand.IntN(len(types))]
}

// TestRandomChanges plays random changes to the store and to the model, and asks both the same questions after each.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(20) {
		c := testConfig()
		c.PodNames = seed%2 == 1
		s := NewStore(c)
		s.Synced()
		n := &naive{ttl: c.TTL, podNames: c.PodNames, namespaces: map[string]bool{}, services: map[string]*cluster.Service{}, slices: map[string]*cluster.Slice{}}
		w := &world{rand: rand.New(rand.NewPCG(seed, 1)), current: map[string]cluster.Object{}}
		for range 150 {
			var batch []cluster.Change
			for range 1 + w.rand.IntN(5) {
				if c, ok := w.change(); ok {
					batch = append(batch, c)
					n.apply(c)
				}
			}
			s.Apply(batch, changedAt)
			if err := s.Zone().Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for range 60 {
				name, typ := w.question()
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
