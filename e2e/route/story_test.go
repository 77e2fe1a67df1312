package route

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// A story is told in lines such as
//
//	outside tcp node-1:30080 -> b sees gateway | c sees node-1
//
// who asks, over what, where, and what comes back; where several answers are given, each comes sooner or later. The names
// stand for addresses, of IPv4 first and then of IPv6; "*" is every protocol.
type story struct {
	name    string
	options plan.Options
	objects []cluster.Object
	asks    string
}

// places are all names that have addresses besides those of the Spaces.
func places() map[string][2]string {
	p := maps.Clone(addresses)
	maps.Copy(p, map[string][2]string{
		"gateway": {"10.244.1.1", "fd00:244:1::1"}, "localhost": {"127.0.0.1", "::1"},
		"web": {"10.96.0.10", "fd00:10:96::10"}, "api": {"10.96.0.11", "fd00:10:96::11"}, "nobody": {"10.96.0.99", "fd00:10:96::99"},
		"external": {"203.0.113.10", "fd00:113::10"}, "balancer": {"203.0.113.20", "fd00:113::20"},
	})
	return p
}

// address is the one of a name, for the family 0 or 1.
func address(name string, family int) netip.Addr {
	pair, ok := places()[name]
	if !ok {
		panic("no place is named " + name)
	}
	return netip.MustParseAddr(pair[family])
}

// both are a name's addresses.
func both(name string) []netip.Addr { return []netip.Addr{address(name, 0), address(name, 1)} }

// protocols are those that a word stands for.
func protocols(word string) []cluster.Protocol {
	if word == "*" {
		return []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP}
	}
	p, ok := cluster.ParseProtocol(strings.ToUpper(word))
	if !ok {
		panic("no protocol is named " + word)
	}
	return []cluster.Protocol{p}
}

// theLab is a lab whose Pods serve port 8080, and whose hosts do too.
func theLab(t *testing.T) *Lab {
	t.Helper()
	t.Parallel()
	return newLab(t)
}

// newLab is the same for a test that others wait for.
func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := NewLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range []*Space{l.B, l.C, l.Node1, l.Node2, l.Outside} {
		for _, p := range protocols("*") {
			stop, err := s.Serve(p, 8080)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
		}
	}
	return l
}

func (l *Lab) space(name string) *Space {
	i := slices.IndexFunc(l.spaces, func(s *Space) bool { return s.Name == name })
	if i < 0 {
		panic("no namespace is named " + name)
	}
	return l.spaces[i]
}

// tellAll has stories happen one after the other.
func (l *Lab) tellAll(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		l.tell(t, s)
	}
}

// tell has a story happen, for both families.
func (l *Lab) tell(t *testing.T, s story) {
	t.Helper()
	t.Run(s.name, func(t *testing.T) {
		r := l.router(t, s.options)
		if err := r.Set(append(s.objects, world()...)...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.forgetFlows(t) }) // a client may come by the port of one before it
		l.check(t, s.asks)
	})
}

// forgetFlows empties node-1's table of flows.
func (l *Lab) forgetFlows(t *testing.T) {
	t.Helper()
	if err := l.Node1.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
		t.Fatal(err)
	}
}

// router is a new one on node-1, whose routes go away with the test.
func (l *Lab) router(t *testing.T, o plan.Options) *Router {
	t.Helper()
	r, err := NewRouter(l.Node1, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := r.Kernel.RemoveOwn(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// check asks all lines at once: much of the time, clients wait for nothing.
func (l *Lab) check(t *testing.T, asks string) {
	t.Helper()
	var asking sync.WaitGroup
	defer asking.Wait()
	for line := range strings.Lines(asks) {
		question, answers, ok := strings.Cut(strings.TrimSpace(line), "->")
		words := strings.Fields(question)
		if len(words) == 0 {
			continue
		}
		if !ok || len(words) != 3 {
			t.Fatalf("not a question with an answer: %q", line)
		}
		for family := range 2 {
			for _, p := range protocols(words[1]) {
				asking.Go(func() { l.ask(t, family, l.space(words[0]), p, words[2], strings.Split(answers, "|")) })
			}
		}
	}
}

// enough is how often something is asked until each of several answers has come: of two equal ones, one stays away once in
// a thousand million million times.
const enough = 50

func (l *Lab) ask(t *testing.T, family int, from *Space, p cluster.Protocol, to string, answers []string) {
	t.Helper()
	name, port, _ := strings.Cut(to, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		panic(err)
	}
	target := netip.AddrPortFrom(address(name, family), uint16(number))
	missing := map[string]bool{}
	for _, a := range answers {
		missing[expected(strings.TrimSpace(a), family)] = true
	}
	want, patience := slices.Sorted(maps.Keys(missing)), Patience
	if missing["silent"] {
		patience = Silence
	}
	for i := 0; i == 0 || len(missing) > 0 && i < enough; i++ {
		got := from.Ask(p, target, patience)
		if !slices.Contains(want, got) {
			t.Errorf("%s asks %s of %s (%s): got %q, want %q", from.Name, p, to, target, got, want)
			return
		}
		delete(missing, got)
	}
	if len(missing) > 0 {
		t.Errorf("%s asks %s of %s (%s): never got %q", from.Name, p, to, target, slices.Sorted(maps.Keys(missing)))
	}
}

// expected is an answer with the address in place of the name.
func expected(answer string, family int) string {
	who, whom, ok := strings.Cut(answer, " sees ")
	if !ok {
		return answer
	}
	return who + " sees " + address(whom, family).String()
}

// world is what every cluster has.
func world() []cluster.Object {
	return []cluster.Object{
		&cluster.Node{Name: "node-1", Addresses: both("node-1")},
		&cluster.Node{Name: "node-2", Addresses: both("node-2")},
		&cluster.Range{Name: "kubernetes", Prefixes: serviceRanges},
	}
}

// pods is the detector of most clusters.
func pods() proxy.Detector { return proxy.Detector{Prefixes: podRanges} }

// service is a Service with port 80 of all protocols.
func service(name string, with func(*cluster.Service)) *cluster.Service {
	s := &cluster.Service{Namespace: "prod", Name: name, ClusterIPs: both(name), Routing: &cluster.Routing{}}
	for _, p := range protocols("*") {
		s.Ports = append(s.Ports, cluster.Port{Name: p.String(), Protocol: p, Number: 80})
	}
	if with != nil {
		with(s)
	}
	return s
}

// nodePorts gives each port of a Service the same NodePort.
func nodePorts(s *cluster.Service) {
	for i := range s.Ports {
		s.Ports[i].NodePort = 30080
	}
}

// endpointsOf are a Service's slices, of IPv4 and of IPv6, with endpoints on port 8080.
func endpointsOf(name string, endpoints ...string) []cluster.Object {
	var slices []cluster.Object
	for family, suffix := range [2]string{"four", "six"} {
		s := &cluster.Slice{Namespace: "prod", Name: name + "-" + suffix, Service: name}
		for _, p := range protocols("*") {
			s.Ports = append(s.Ports, cluster.Port{Name: p.String(), Protocol: p, Number: 8080})
		}
		for _, word := range endpoints {
			s.Endpoints = append(s.Endpoints, endpoint(word, family))
		}
		slices = append(slices, s)
	}
	return slices
}

// endpoint is one by its name and, behind a slash, its state: "b/terminating" still serves, "b/unready" does not.
func endpoint(word string, family int) cluster.Endpoint {
	name, state, _ := strings.Cut(word, "/")
	e := cluster.Endpoint{Address: address(name, family), Place: &cluster.Place{Node: "node-1"}, State: cluster.Ready | cluster.Serving}
	if name == "c" || name == "d" || name == "node-2" {
		e.Place = &cluster.Place{Node: "node-2"}
	}
	switch state {
	case "":
	case "terminating":
		e.State = cluster.Serving | cluster.Terminating
	case "unready":
		e.State = 0
	default:
		panic(fmt.Sprintf("no endpoint is %q", state))
	}
	return e
}

// with is a Service's objects.
func with(s *cluster.Service, endpoints ...string) []cluster.Object {
	return append([]cluster.Object{s}, endpointsOf(s.Name, endpoints...)...)
}
