package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// naive says where a cluster's frontends lead, as directly as the rules can be written down: for each frontend anew, out of
// all objects. It returns one line for each, endpoints sorted.
type naive struct {
	options  plan.Options
	services []*cluster.Service
	slices   []*cluster.Slice
	nodes    []*cluster.Node
	ranges   []*cluster.Range
}

func (w *world) naive(o plan.Options) *naive {
	n := &naive{options: o}
	for _, objects := range w.objects {
		for _, object := range objects {
			switch o := object.(type) {
			case *cluster.Service:
				if o.Type == cluster.ClusterIP && len(o.ClusterIPs) > 0 && !o.Routing.OtherProxy {
					n.services = append(n.services, o)
				}
			case *cluster.Slice:
				n.slices = append(n.slices, o)
			case *cluster.Node:
				n.nodes = append(n.nodes, o)
			case *cluster.Range:
				n.ranges = append(n.ranges, o)
			}
		}
	}
	slices.SortFunc(n.slices, func(a, b *cluster.Slice) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(n.services, func(a, b *cluster.Service) int {
		if a.Routing.Created != b.Routing.Created {
			return int(a.Routing.Created - b.Routing.Created)
		}
		return strings.Compare(a.Key().String(), b.Key().String())
	})
	return n
}

func (n *naive) routes() string {
	all := map[proxy.Frontend]string{}
	for _, s := range n.services {
		for _, port := range s.Ports {
			for f := range 2 {
				if slices.ContainsFunc(s.ClusterIPs, ofFamily(f)) {
					n.add(all, s, port, f)
				}
			}
		}
	}
	var lines []string
	for _, line := range all {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func ofFamily(f int) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a.Is6() == (f == 1) }
}

func (n *naive) add(all map[proxy.Frontend]string, s *cluster.Service, port cluster.Port, f int) {
	r := s.Routing
	put := func(a netip.Addr, number uint16, external bool, from []netip.Prefix) {
		frontend := proxy.Frontend{Address: a, Protocol: port.Protocol, Port: number}
		if all[frontend] == "" {
			all[frontend] = n.line(frontend, s, port, external, from).String()
		}
	}
	for _, a := range s.ClusterIPs {
		if ofFamily(f)(a) {
			put(a, port.Number, false, nil)
		}
	}
	for _, a := range r.LoadBalancerIPs {
		if ofFamily(f)(a) && n.mayBeExternal(a) {
			put(a, port.Number, true, n.from(r, f))
		}
	}
	for _, a := range r.ExternalIPs {
		if ofFamily(f)(a) && n.mayBeExternal(a) {
			put(a, port.Number, true, nil)
		}
	}
	if port.NodePort != 0 {
		put([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[f], port.NodePort, true, nil)
	}
}

func (n *naive) mayBeExternal(a netip.Addr) bool {
	for _, s := range n.services {
		if slices.Contains(s.ClusterIPs, a) {
			return false
		}
	}
	for _, node := range n.nodes {
		if slices.Contains(node.Addresses, a) {
			return false
		}
	}
	for _, r := range n.ranges {
		for _, p := range r.Prefixes {
			if p.Contains(a) {
				return false
			}
		}
	}
	return true
}

func (n *naive) own() *cluster.Node {
	for _, node := range n.nodes {
		if node.Name == n.options.NodeName {
			return node
		}
	}
	return &cluster.Node{}
}

func (n *naive) from(r *cluster.Routing, f int) []netip.Prefix {
	var from, own []netip.Prefix
	for _, p := range r.SourceRanges {
		if !ofFamily(f)(p.Addr()) {
			continue
		}
		if p.Bits() == 0 {
			return nil
		}
		from = append(from, p)
		if i := slices.IndexFunc(n.own().Addresses, ofFamily(f)); i >= 0 && p.Contains(n.own().Addresses[i]) && own == nil {
			for _, a := range r.LoadBalancerIPs {
				if ofFamily(f)(a) {
					own = append(own, netip.PrefixFrom(a, a.BitLen()))
				}
			}
		}
	}
	from = append(from, own...)
	slices.SortFunc(from, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(from)
}

// line is a route as the model sees it: endpoints are sorted.
func (n *naive) line(f proxy.Frontend, s *cluster.Service, port cluster.Port, external bool, from []netip.Prefix) *proxy.Route {
	r := &proxy.Route{
		Frontend: f, Service: proxy.ServicePort{Namespace: s.Namespace, Name: s.Name, Port: port.Name},
		Sources: from,
	}
	all := n.endpoints(s, port, f.Address)
	near := filter(all, func(e cluster.Endpoint) bool { return e.Place != nil && e.Place.Node == n.options.NodeName })
	anywhere, here := n.usable(n.hinted(all), all), n.usable(near, near)
	switch {
	case len(n.usable(all, all)) == 0:
		r.Verdict = proxy.Reject
	case external && s.Routing.ExternalLocal:
		r.Verdict, r.Endpoints, r.Local = proxy.Split, anywhere, here
	case external:
		r.Verdict, r.Endpoints, r.Masquerade = proxy.Forward, anywhere, proxy.Always
	case s.Routing.InternalLocal && len(here) == 0:
		r.Verdict = proxy.Drop
	case s.Routing.InternalLocal:
		r.Verdict, r.Endpoints = proxy.Forward, here
	default:
		r.Verdict, r.Endpoints = proxy.Forward, anywhere
	}
	if r.Verdict == proxy.Forward || r.Verdict == proxy.Split {
		r.Affinity = s.Routing.AffinitySeconds
	}
	if len(n.own().PodCIDRs) > 0 && r.Verdict == proxy.Forward && !external &&
		slices.ContainsFunc(n.own().PodCIDRs, func(p netip.Prefix) bool { return ofFamily(1)(p.Addr()) == f.Address.Is6() }) {
		r.Masquerade = proxy.Foreign
	}
	return r
}

// endpoints returns those of a Service port in a's family. An address is told of once: the best that is said of it.
func (n *naive) endpoints(s *cluster.Service, port cluster.Port, a netip.Addr) map[netip.AddrPort]cluster.Endpoint {
	all := map[netip.AddrPort]cluster.Endpoint{}
	for _, slice := range n.slices {
		if slice.Namespace != s.Namespace || slice.Service != s.Name || slice.HeadlessLabel {
			continue
		}
		for _, p := range slice.Ports {
			for _, e := range slice.Endpoints {
				at := netip.AddrPortFrom(e.Address, p.Number)
				known, again := all[at]
				if p.Name == port.Name && p.Protocol == port.Protocol && p.Number != 0 && e.State&cluster.Further == 0 &&
					e.Address.Is6() == a.Is6() && !e.Address.IsLoopback() && (!again || believed(e) > believed(known)) {
					all[at] = e
				}
			}
		}
	}
	return all
}

func believed(e cluster.Endpoint) string {
	return fmt.Sprint(e.State&cluster.Terminating == 0, e.Ready(), e.State&cluster.Serving != 0)
}

// usable returns the ready ones of some, or else those of all that serve while they are being deleted.
func (n *naive) usable(some, all map[netip.AddrPort]cluster.Endpoint) []netip.AddrPort {
	ready := func(e cluster.Endpoint) bool { return e.Ready() }
	chosen := filter(some, ready)
	if len(filter(all, ready)) == 0 {
		chosen = filter(all, func(e cluster.Endpoint) bool {
			return e.State&cluster.Serving != 0 && e.State&cluster.Terminating != 0
		})
	}
	var sorted []netip.AddrPort
	for a := range chosen {
		sorted = append(sorted, a)
	}
	slices.SortFunc(sorted, netip.AddrPort.Compare)
	return sorted
}

// hinted returns those of all that the hints leave to us.
func (n *naive) hinted(all map[netip.AddrPort]cluster.Endpoint) map[netip.AddrPort]cluster.Endpoint {
	ready := filter(all, func(e cluster.Endpoint) bool { return e.Ready() })
	for _, hints := range []struct {
		us string
		of func(*cluster.Place) []string
	}{
		{n.options.NodeName, func(p *cluster.Place) []string { return p.ForNodes }},
		{n.own().Zone, func(p *cluster.Place) []string { return p.ForZones }},
	} {
		has := filter(ready, func(e cluster.Endpoint) bool { return e.Place != nil && len(hints.of(e.Place)) > 0 })
		ours := filter(has, func(e cluster.Endpoint) bool { return slices.Contains(hints.of(e.Place), hints.us) })
		if len(has) == len(ready) && len(ours) > 0 {
			return ours
		}
	}
	return all
}

func filter[K comparable, V any](m map[K]V, keep func(V) bool) map[K]V {
	kept := map[K]V{}
	for k, v := range m {
		if keep(v) {
			kept[k] = v
		}
	}
	return kept
}

// sortedRoutes are the kernel's routes as the model would have them.
func (k *kernel) sortedRoutes() string {
	var lines []string
	for _, r := range k.routes {
		sorted := *r
		sorted.Endpoints, sorted.Local = slices.Clone(r.Endpoints), slices.Clone(r.Local)
		slices.SortFunc(sorted.Endpoints, netip.AddrPort.Compare)
		slices.SortFunc(sorted.Local, netip.AddrPort.Compare)
		slices.SortFunc(sorted.Sources, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
		lines = append(lines, sorted.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// randomEvent is a line of the tests' notation.
func randomEvent(random *rand.Rand) string {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	service := pick("w", "x", "y", "z")
	some := func(n int, words ...string) (text string) {
		for range random.IntN(n + 1) {
			text += " " + pick(words...)
		}
		return text
	}
	minus := pick("", "", "", "- ")
	switch random.IntN(10) {
	case 0:
		return minus + "node " + pick("a", "b") + some(1, "zone=z1", "zone=z2") + some(3, "192.0.2.1", "192.0.2.2", "2001:db8::1", "10.1.0.0/16", "fd01::/64")
	case 1:
		return minus + "range " + pick("k", "l") + " " + pick("10.96.0.0/30", "10.96.0.4/30")
	case 2, 3, 4:
		return minus + "service n/" + service + some(2, "10.96.0.1", "10.96.0.2", "10.96.0.6", "fd00::"+service[:0]+"1") +
			" port=http:80/tcp" + some(1, ":30080", ":30081") + some(1, "port=dns:80/udp", "port=dns:53/udp:30053") +
			some(2, "external=192.0.2.1", "external=10.96.0.1", "external=192.0.2.9", "external=2001:db8::9") +
			some(2, "lb=203.0.113.1", "lb=192.0.2.2", "lb=192.0.2.9") + some(2, "from=192.0.2.0/24", "from=10.0.0.0/8", "from=0.0.0.0/0", "from=fd00::/8") +
			some(3, "external-local", "internal-local", "affinity=60", "created=1", "created=2", "health=31000", "other-proxy", "headless")
	}
	endpoint := func() string {
		return pick("10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "fd01::1", "fd01::2", "127.0.0.1") + pick("", "@a", "@b") +
			pick("", "", "", ",unready", ",leaving", ",dying", ",further") + pick("", ",zone=z1", ",zone=z2") + pick("", ",node=a", ",node=b")
	}
	text := minus + "slice n/" + service + pick("-1", "-2") + " " + service + some(1, "headless") + some(2, "port=http:8080/tcp", "port=http:9090/tcp", "port=dns:53/udp")
	for range random.IntN(8) {
		text += " " + endpoint()
	}
	return text
}

// TestRandomEvents tells of random events and asks a naive model, and a plan that begins with the outcome, what they make of
// it.
func TestRandomEvents(t *testing.T) {
	o := plan.Options{NodeName: "a", PodsOfNode: true}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t, o)
		var told []string
		for step := range 250 {
			batch := ""
			for range 1 + random.IntN(3) {
				batch += randomEvent(random) + "\n"
			}
			told = append(told, batch)
			w.tell(strings.ReplaceAll(batch, " :300", ":300"))
			got, want := w.kernel.sortedRoutes(), w.naive(o).routes()
			if got != want || t.Failed() {
				t.Fatalf("seed %d, step %d, after\n%s\n%s\nwant:\n%s", seed, step, strings.Join(told[max(0, len(told)-3):], ""), got, want)
			}
		}
		w.checkAgainstFresh(o)
	}
}

// checkAgainstFresh compares all that the kernel was given change by change with what a plan wants that knows no past.
func (w *world) checkAgainstFresh(o plan.Options) {
	w.t.Helper()
	for f, r := range w.kernel.routes {
		o.Installed = append(o.Installed, &proxy.Route{Frontend: f, Verdict: r.Verdict, Endpoints: r.Endpoints, Local: r.Local})
	}
	fresh := newWorld(w.t, o)
	for kind := range w.objects {
		for _, object := range w.objects[kind] {
			fresh.plan.Apply([]cluster.Change{{New: object}})
		}
	}
	fresh.kernel.apply(fresh.plan.Take())
	if got, want := fresh.kernel.sortedRoutes(), w.kernel.sortedRoutes(); got != want {
		w.t.Fatalf("a fresh plan wants:\n%s\nthe kernel has:\n%s", got, want)
	}
	for f, r := range w.kernel.routes {
		if now := fresh.kernel.routes[f]; !slices.Equal(now.Endpoints, r.Endpoints) || !slices.Equal(now.Local, r.Local) {
			w.t.Errorf("a fresh plan moves endpoints: %v to %v", r, now)
		}
	}
	w.compareSets(fresh)
	wanted := w.plan.Wanted()
	if len(wanted.Routes) != len(w.kernel.routes) || len(wanted.Hairpins) != len(w.kernel.hairpins) || len(wanted.ClusterIPs) != len(w.kernel.clusterIPs) {
		w.t.Errorf("wanted are %d routes, %d hairpins, %d ClusterIPs; the kernel has %d, %d, %d", len(wanted.Routes), len(wanted.Hairpins),
			len(wanted.ClusterIPs), len(w.kernel.routes), len(w.kernel.hairpins), len(w.kernel.clusterIPs))
	}
	for _, r := range wanted.Routes {
		if w.kernel.routes[r.Frontend] != r {
			w.t.Errorf("wanted is %v, the kernel has %v", r, w.kernel.routes[r.Frontend])
		}
	}
}

func (w *world) compareSets(fresh *world) {
	w.t.Helper()
	a, b := w.kernel, fresh.kernel
	for _, differ := range []string{
		mapDiff("hairpins", a.hairpins, b.hairpins), mapDiff("ClusterIPs", a.clusterIPs, b.clusterIPs), mapDiff("health checks", a.health, b.health),
	} {
		if differ != "" {
			w.t.Error(differ)
		}
	}
	x, y := w.plan.Stats(), fresh.plan.Stats()
	if x.Routes != y.Routes || x.Endpoints != y.Endpoints || x.NoLocalInternal != y.NoLocalInternal || x.NoLocalExternal != y.NoLocalExternal {
		w.t.Errorf("counted are %+v, and %+v for a fresh plan", x, y)
	}
	if !a.node.Equal(&b.node) {
		w.t.Errorf("the node is %+v, and %+v for a fresh plan", a.node, b.node)
	}
}

func mapDiff[K, V comparable](what string, a, b map[K]V) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%s: %v, and %v for a fresh plan", what, a, b)
	}
	for k, v := range a {
		if b[k] != v {
			return fmt.Sprintf("%s: %v, and %v for a fresh plan", what, a, b)
		}
	}
	return ""
}
