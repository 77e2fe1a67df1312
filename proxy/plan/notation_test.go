package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// The tests write objects one a line:
//
//	node NAME [ADDRESS|PREFIX|zone=Z|leaving]...
//	service NAMESPACE/NAME [CLUSTERIP|port=NAME:NUMBER/PROTOCOL[:NODEPORT]|external=IP|lb=IP|from=CIDR|...]...
//	slice NAMESPACE/NAME SERVICE [port=NAME:NUMBER/PROTOCOL|fqdn=NAME|ADDRESS[@NODE][,unready|,leaving|,dying|,further|,zone=Z|,node=N]...]...
//	range NAME PREFIX...
//
// A line that begins with "-" takes the object away. Endpoints are ready unless they say otherwise; "leaving" serves while
// it is being deleted, "dying" does not serve any more.

// parse reads objects in that notation.
func parse(t testing.TB, text string) (objects []cluster.Object, gone []bool) {
	t.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		minus := words[0] == "-"
		if minus {
			words = words[1:]
		}
		read := map[string]func([]string) (cluster.Object, error){
			"node": parseNode, "service": parseService, "slice": parseSlice, "range": parseRange,
		}[words[0]]
		if read == nil {
			t.Fatalf("no such object: %s", line)
		}
		o, err := read(words[1:])
		if err != nil {
			t.Fatalf("%s: %v", strings.TrimSpace(line), err)
		}
		objects, gone = append(objects, o), append(gone, minus)
	}
	return objects, gone
}

func parseNode(words []string) (cluster.Object, error) {
	n := &cluster.Node{Name: words[0]}
	for _, w := range words[1:] {
		if zone, ok := strings.CutPrefix(w, "zone="); ok {
			n.Zone = zone
		} else if prefix, err := netip.ParsePrefix(w); err == nil {
			n.PodCIDRs = append(n.PodCIDRs, prefix)
		} else if a, err := netip.ParseAddr(w); err == nil {
			n.Addresses = append(n.Addresses, a)
		} else if w == "leaving" {
			n.Leaving = true
		} else {
			return nil, fmt.Errorf("what is %q", w)
		}
	}
	return n, nil
}

func parseRange(words []string) (cluster.Object, error) {
	r := &cluster.Range{Name: words[0]}
	for _, w := range words[1:] {
		r.Prefixes = append(r.Prefixes, netip.MustParsePrefix(w))
	}
	return r, nil
}

func parseService(words []string) (cluster.Object, error) {
	s := &cluster.Service{Routing: &cluster.Routing{AllocatesNodePorts: true}}
	s.Namespace, s.Name, _ = strings.Cut(words[0], "/")
	for _, w := range words[1:] {
		if a, err := netip.ParseAddr(w); err == nil {
			s.ClusterIPs = append(s.ClusterIPs, a)
		} else if err := serviceWord(s, w); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func serviceWord(s *cluster.Service, w string) error {
	r := s.Routing
	key, value, _ := strings.Cut(w, "=")
	number, _ := strconv.Atoi(value)
	switch key {
	case "port":
		port, err := parsePort(value)
		s.Ports = append(s.Ports, port)
		return err
	case "external":
		r.ExternalIPs = append(r.ExternalIPs, netip.MustParseAddr(value))
	case "lb":
		r.LoadBalancerIPs = append(r.LoadBalancerIPs, netip.MustParseAddr(value))
		r.LoadBalancer = true
	case "from":
		r.SourceRanges = append(r.SourceRanges, netip.MustParsePrefix(value))
	case "affinity":
		r.AffinitySeconds = uint32(number)
	case "created":
		r.Created = int64(number)
	case "health":
		r.HealthCheckNodePort, r.LoadBalancer = uint16(number), true
	case "internal-local":
		r.InternalLocal = true
	case "external-local":
		r.ExternalLocal = true
	case "other-proxy":
		r.OtherProxy = true
	case "headless":
		s.Type = cluster.Headless
	case "external-name":
		s.Type = cluster.ExternalName
	default:
		return fmt.Errorf("what is %q", w)
	}
	return nil
}

// parsePort reads "NAME:NUMBER/PROTOCOL[:NODEPORT]".
func parsePort(text string) (cluster.Port, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return cluster.Port{}, fmt.Errorf("port %q has no name", text)
	}
	number, protocol, _ := strings.Cut(parts[1], "/")
	n, err := strconv.ParseUint(number, 10, 16)
	p := cluster.Port{Name: parts[0], Number: uint16(n)}
	p.Protocol, _ = cluster.ParseProtocol(strings.ToUpper(protocol))
	if err == nil && len(parts) > 2 {
		n, err = strconv.ParseUint(parts[2], 10, 16)
		p.NodePort = uint16(n)
	}
	return p, err
}

func parseSlice(words []string) (cluster.Object, error) {
	s := &cluster.Slice{Service: words[1]}
	s.Namespace, s.Name, _ = strings.Cut(words[0], "/")
	for _, w := range words[2:] {
		switch key, value, _ := strings.Cut(w, "="); {
		case key == "port":
			port, err := parsePort(value)
			if err != nil {
				return nil, err
			}
			s.Ports = append(s.Ports, port)
		case key == "triggered":
			n, _ := strconv.Atoi(value)
			s.Triggered = int64(n)
		case key == "fqdn":
			s.FQDNs = append(s.FQDNs, value)
			s.Endpoints = append(s.Endpoints, cluster.Endpoint{State: cluster.Ready | cluster.Serving})
		case w == "headless":
			s.HeadlessLabel = true
		default:
			e, err := parseEndpoint(w)
			if err != nil {
				return nil, err
			}
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	return s, nil
}

func parseEndpoint(w string) (cluster.Endpoint, error) {
	words := strings.Split(w, ",")
	address, node, placed := strings.Cut(words[0], "@")
	a, err := netip.ParseAddr(address)
	e := cluster.Endpoint{Address: a, State: cluster.Ready | cluster.Serving}
	place := &cluster.Place{Node: node}
	for _, w := range words[1:] {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "unready":
			e.State = 0
		case "leaving":
			e.State = cluster.Serving | cluster.Terminating
		case "dying":
			e.State = cluster.Terminating
		case "further":
			e.State |= cluster.Further
		case "zone":
			place.ForZones, placed = append(place.ForZones, value), true
		case "node":
			place.ForNodes, placed = append(place.ForNodes, value), true
		default:
			return e, fmt.Errorf("what is %q", w)
		}
	}
	if placed {
		e.Place = place
	}
	return e, err
}

// world is a cluster and the plan that was told of it.
type world struct {
	t       testing.TB
	plan    *plan.Plan
	objects [cluster.Kinds]map[cluster.Key]cluster.Object
	nodes   map[string]*cluster.Node // as they were last, also those that are gone
	kernel  *kernel
}

// newWorld returns an empty cluster whose lists have been told.
func newWorld(t testing.TB, o plan.Options) *world {
	w := &world{t: t, plan: plan.New(o), nodes: map[string]*cluster.Node{}, kernel: newKernel(t)}
	for kind := range w.objects {
		w.objects[kind] = map[cluster.Key]cluster.Object{}
		w.plan.Synced(cluster.Kind(kind))
	}
	return w
}

// tell makes the objects in text what they say there, as one batch, and gives the kernel what follows.
func (w *world) tell(text string) *proxy.Changes {
	w.t.Helper()
	objects, gone := parse(w.t, text)
	for i, o := range objects {
		if gone[i] {
			w.put(o, nil)
		} else {
			w.put(o, o)
		}
	}
	c := w.plan.Take()
	w.kernel.apply(c)
	return c
}

// put tells the plan that the object which named is has become o, or is gone.
func (w *world) put(named, o cluster.Object) {
	at := w.objects[named.Kind()]
	change := cluster.Change{Old: at[named.Key()], New: o}
	if o == nil {
		delete(at, named.Key())
	} else {
		at[named.Key()] = o
		if n, ok := o.(*cluster.Node); ok {
			w.nodes[n.Name] = n
		}
	}
	w.plan.Apply([]cluster.Change{change})
}

// routes are those the kernel has been given, one a line, sorted by frontend.
func (w *world) routes() string {
	var lines []string
	for _, r := range w.kernel.routes {
		lines = append(lines, r.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// kernel is a kernel that only remembers, and finds fault with changes that do not follow from what it has.
type kernel struct {
	t          testing.TB
	node       proxy.Node
	routes     map[proxy.Frontend]*proxy.Route
	hairpins   map[proxy.Hairpin]bool
	clusterIPs map[netip.Addr]bool
	health     map[cluster.Key]proxy.HealthCheck
	refused    []proxy.Refusal
}

func newKernel(t testing.TB) *kernel {
	return &kernel{
		t: t, routes: map[proxy.Frontend]*proxy.Route{}, hairpins: map[proxy.Hairpin]bool{}, clusterIPs: map[netip.Addr]bool{},
		health: map[cluster.Key]proxy.HealthCheck{},
	}
}

func (k *kernel) apply(c *proxy.Changes) {
	k.t.Helper()
	if c.Node != nil {
		if k.node.Equal(c.Node) {
			k.t.Errorf("the node's settings change to what they are: %+v", *c.Node)
		}
		k.node = *c.Node
	}
	named := map[proxy.Frontend]bool{}
	for _, change := range c.Routes {
		f := k.applyRoute(change)
		if named[f] {
			k.t.Errorf("%s changes twice at once", f)
		}
		named[f] = true
	}
	for _, h := range c.Hairpins {
		applyMember(k.t, k.hairpins, h.Hairpin, h.Gone)
	}
	for _, a := range c.ClusterIPs {
		applyMember(k.t, k.clusterIPs, a.Address, a.Gone)
	}
	for _, h := range c.Health {
		if k.health[h.Service] == h {
			k.t.Errorf("the health check of %s changes to what it is", h.Service)
		}
		if k.health[h.Service] = h; h.Port == 0 {
			delete(k.health, h.Service)
		}
	}
	k.refused = append(k.refused, c.Refused...)
}

func (k *kernel) applyRoute(c proxy.RouteChange) proxy.Frontend {
	k.t.Helper()
	var f proxy.Frontend
	if c.New != nil {
		f = c.New.Frontend
	} else {
		f = c.Old.Frontend
	}
	switch {
	case k.routes[f] != c.Old:
		k.t.Errorf("%s changes from %v, but it is %v", f, c.Old, k.routes[f])
	case c.New == nil:
		delete(k.routes, f)
		return f
	case c.Old != nil && c.Old.Equal(c.New):
		k.t.Errorf("%s changes to what it is", c.New)
	}
	k.routes[f] = c.New
	return f
}

func applyMember[K comparable](t testing.TB, set map[K]bool, k K, gone bool) {
	t.Helper()
	if set[k] != gone {
		t.Errorf("%v comes or goes twice", k)
	}
	if set[k] = true; gone {
		delete(set, k)
	}
}

// expect compares text with what is wanted, line by line without regard to indentation.
func expect(t testing.TB, what, got, want string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if want = strings.Join(lines, "\n"); got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}
