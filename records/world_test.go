package records

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
)

// world makes random objects and changes out of few names, so that they meet.
type world struct {
	rand    *rand.Rand
	current map[string]cluster.Object // by kind and key
}

func (w *world) pick(options ...string) string { return options[w.rand.IntN(len(options))] }

// The names that there are.
var (
	worldNamespaces = []string{"prod", "dev", "svc"}
	worldNames      = []string{"web", "db", "svc", "api", "docs"}
)

func (w *world) namespace() string { return w.pick(worldNamespaces...) }
func (w *world) name() string      { return w.pick(worldNames...) }

func (w *world) address() netip.Addr {
	switch w.rand.IntN(16) {
	case 0: // a Service's, if any
		return netip.AddrFrom4([4]byte{10, 96, byte(w.rand.IntN(15)), byte(w.rand.IntN(3))})
	case 1, 2, 3, 4:
		return netip.MustParseAddr(w.pick("fd00::1", "fd00::2", "fd00:1::", "2001:db8::a:b"))
	}
	return netip.AddrFrom4([4]byte{10, 244, byte(w.rand.IntN(2)), byte(w.rand.IntN(6))})
}

// clusterIPs are addresses of a Service, which no other has: the API server sees to that.
func (w *world) clusterIPs(s *cluster.Service) []netip.Addr {
	own := byte(len(worldNames)*slices.Index(worldNamespaces, s.Namespace) + slices.Index(worldNames, s.Name))
	ips := []netip.Addr{netip.AddrFrom4([4]byte{10, 96, own, byte(w.rand.IntN(3))})}
	if w.rand.IntN(2) == 0 {
		ips = append(ips, netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x10, 15: own}))
	}
	return ips
}

func (w *world) ports() []cluster.Port {
	all := []cluster.Port{httpPort, httpsPort, {Name: "dns", Protocol: cluster.UDP, Number: 53}, {Name: "dns-tcp", Protocol: cluster.TCP, Number: 53},
		{Protocol: cluster.TCP, Number: 8080}, {Name: "sig", Protocol: cluster.SCTP, Number: 80}, {Name: "all", Protocol: cluster.TCP}}
	w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:w.rand.IntN(4)]
}

func (w *world) object() cluster.Object {
	switch w.rand.IntN(10) {
	case 0:
		return &cluster.Namespace{Name: w.namespace()}
	case 1, 2, 3:
		s := &cluster.Service{Namespace: w.namespace(), Name: w.name(), Ports: w.ports()}
		switch w.rand.IntN(3) {
		case 0:
			s.Type = cluster.Headless
		case 1:
			s.ClusterIPs = w.clusterIPs(s)
		case 2:
			s.Type, s.Ports = cluster.ExternalName, nil
			s.ExternalName = w.pick("www.example.com", "web.prod.svc.cluster.local", "docs.dev.svc.cluster.local", "docs.prod.svc.cluster.local", "no.where.svc.cluster.local")
		}
		return s
	case 4:
		p := &cluster.Pod{Namespace: w.namespace(), Name: w.pick("pod-1", "pod-2", "pod-3"), IPs: []netip.Addr{w.address()}}
		if ip := w.address(); ip.Is4() != p.IPs[0].Is4() {
			p.IPs = append(p.IPs, ip)
		}
		return p
	case 5:
		i := &cluster.Import{Namespace: w.namespace(), Name: w.name(), Ports: w.ports()}
		if i.Headless = w.rand.IntN(2) == 0; !i.Headless {
			i.IPs = []netip.Addr{w.address()}
		}
		return i
	default:
		s := &cluster.Slice{Namespace: w.namespace(), Name: w.pick("one", "two", "three", "four"), Service: w.pick("web", "db", "svc", "api", ""), Ports: w.ports()}
		for range w.rand.IntN(5) {
			e := cluster.Endpoint{Address: w.address(), Hostname: w.pick("", "", "a", "b"), Pod: w.pick("", "pod-1", "pod-2")}
			if w.rand.IntN(4) > 0 {
				e.State = cluster.Ready
			}
			if zone := w.pick("", "zone-a", "Zone-B", "c.d"); zone != "" {
				e.Place = &cluster.Place{Zone: zone}
			}
			s.Endpoints = append(s.Endpoints, e)
		}
		if w.rand.IntN(4) == 0 { // of a ServiceImport
			s.Service, s.Multicluster, s.SourceCluster = "", w.name(), w.pick("", "east", "west")
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
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeCNAME, dns.TypeMX, dns.TypeSOA, dns.TypeHTTPS}
	typ := types[w.rand.IntN(len(types))]
	name := w.name() + "." + w.namespace() + ".svc." + naiveZone
	switch w.rand.IntN(10) {
	case 0:
		name = w.pick("a", "b", "pod-1", "10-244-0-1", "10-244-1-3", "fd00--1", "fd00-1--0", "_tcp", "udp", "_", "nosuch") + "." + name
	case 1, 2:
		name = w.pick("_http", "_dns", "http", "_", "_all", "_no") + "." + w.pick("_tcp", "_udp", "tcp", "_", "_sctp") + "." + name
	case 3:
		name = w.pick("svc.", "prod.svc.", "no.svc.", "x.y.z.web.prod.svc.", "foo.") + naiveZone
	case 4:
		name = w.podName()
	case 6:
		name = w.pick("", "a.", "east.", "a.east.", "b.west.", "10-244-0-1.east.", "pod-1.east.", "a.no.", "x.a.east.", "_tcp.", "_http._tcp.", "_dns._udp.", "http.tcp.", "_http.tcp.", "http._tcp.", "_.") +
			w.name() + "." + w.namespace() + ".svc." + naiveClusterset
	case 7:
		name = w.pick("zone-a.", "zone-b.", "c.d.", "d.", "nowhere.", "") + w.pick("pin.", "prefer.", "other.", "") + "_zone." + name
	case 5:
		if name = w.reverseName(); w.rand.IntN(4) > 0 {
			typ = dns.TypePTR
		}
	}
	return name, typ
}

// podName is a name below "pod" that may exist.
func (w *world) podName() string {
	namespace := w.pick(append([]string{"no"}, worldNamespaces...)...) + ".pod." + naiveZone
	label := strings.NewReplacer(".", "-", ":", "-").Replace(w.address().String())
	switch w.rand.IntN(8) {
	case 0:
		return w.pick("pod."+naiveZone, namespace)
	case 1:
		return w.pick("web", "1-2-3", "10-244-0-01", "10-244-0-256", "fd00-0-0-0-0-0-0-1", "fd00---1") + "." + namespace
	case 2:
		return w.pick("a.", "a.b.", "a.b.c.") + label + "." + namespace
	}
	return label + "." + namespace
}

// reverseName is a reverse name that may exist, or one above or below it.
func (w *world) reverseName() string {
	ip := w.address()
	if w.rand.IntN(2) == 0 {
		ips := w.clusterIPs(&cluster.Service{Namespace: w.namespace(), Name: w.name()})
		ip = ips[len(ips)-1]
	}
	name := reverseAddr(ip)
	switch w.rand.IntN(6) {
	case 0:
		labels := dns.SplitDomainName(name)
		return strings.Join(labels[1+w.rand.IntN(len(labels)-3):], ".") + "."
	case 1:
		return w.pick("x.", "1.", "0.0.0.0.", "07.") + strings.TrimPrefix(name, w.pick("1.", "2.", ""))
	}
	return name
}
