package route

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nftables"
	"github.com/waypost/waypost/proxy/plan"
)

// nft runs the program in the namespace, as people do to look at what is there, or to meddle with it.
func (s *Space) nft(t *testing.T, arguments ...string) string {
	t.Helper()
	var out []byte
	err := s.Do(func() (err error) {
		out, err = exec.Command("nft", arguments...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// busy is a cluster with a bit of everything.
func busy() []cluster.Object {
	objects := world()
	objects = append(objects, with(service("web", externalLocal), "b", "c")...)
	return append(objects, with(service("api", func(s *cluster.Service) {
		s.Routing.AffinitySeconds = 300
		s.Routing.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24")}
		s.Routing.LoadBalancer = true
		s.Routing.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.30"), netip.MustParseAddr("fd00:113::30")}
	}), "b", "c")...)
}

// People can list what is there, and what is listed can be loaded again.
func TestNftListsTheRulesetAndReadsIt(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	l.A.Ask(cluster.TCP, netip.AddrPortFrom(address("api", 0), 80), Patience) // so that a client is remembered
	before := l.ruleset(t)
	for _, want := range []string{"table ip waypost {", "table ip6 waypost {", "10.96.0.10 . tcp . 80", "0.0.0.0 . udp . 30080", "goto sticky-tcp-80-10.96.0.11"} {
		if !strings.Contains(before, want) {
			t.Errorf("the ruleset lacks %q", want)
		}
	}
	file := t.TempDir() + "/ruleset"
	l.Node1.Do(func() error { return exec.Command("sh", "-c", "nft -s list ruleset > "+file).Run() })
	l.Node1.nft(t, "flush", "ruleset")
	l.Node1.nft(t, "-f", file)
	if d := difference(before, l.ruleset(t)); d != "" {
		t.Errorf("loaded again, the ruleset differs:\n%s", d)
	}
	l.check(t, "outside * node-1:30080 -> b sees outside")
}

// ruleset is what nft lists of node-1. While the kernel makes a set's hash table larger or smaller, which it does some time
// after a change, it may list an element twice or leave it out: what two lists in a row have alike is there.
func (l *Lab) ruleset(t *testing.T) string {
	t.Helper()
	list := func() string { return l.Node1.nft(t, "-s", "list", "ruleset") }
	last := list()
	for end := time.Now().Add(Patience); time.Now().Before(end); {
		now := list()
		if difference(last, now) == "" {
			return now
		}
		last = now
	}
	t.Fatalf("in %s, no two lists of the ruleset in a row are alike", Patience)
	return ""
}

// difference is what two rulesets do not have in common, line by line, whatever the order: the kernel tells elements in any.
func difference(before, after string) string {
	was, is := lines(before), lines(after)
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(was)) {
		if was[line] > is[line] {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(is)) {
		if is[line] > was[line] {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	return b.String()
}

// lines counts a ruleset's lines; each element is one.
func lines(ruleset string) map[string]int {
	count := map[string]int{}
	for line := range strings.Lines(strings.NewReplacer("elements = {", "", ",", "\n", "}", "").Replace(ruleset)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

func TestSessionAffinity(t *testing.T) {
	l := theLab(t)
	affine := func(seconds uint32) func(*cluster.Service) {
		return func(s *cluster.Service) { everywhere(s); s.Routing.AffinitySeconds = seconds }
	}
	for family := range 2 {
		t.Run([]string{"IPv4", "IPv6"}[family], func(t *testing.T) {
			r := l.router(t, plan.Options{Pods: pods()})
			web := service("web", affine(300))
			if err := r.Set(append(with(web, "b", "c", "node-2"), world()...)...); err != nil {
				t.Fatal(err)
			}
			cluster1 := netip.AddrPortFrom(address("web", family), 80)
			external := netip.AddrPortFrom(address("external", family), 80)
			node := netip.AddrPortFrom(address("node-1", family), 30080)
			who := func(s *Space, to netip.AddrPort) string {
				name, _, _ := strings.Cut(s.Ask(cluster.TCP, to, Patience), " sees ")
				return name
			}
			first := who(l.A, cluster1)
			for range 20 {
				for _, to := range []netip.AddrPort{cluster1, external, node} {
					if got := who(l.A, to); got != first {
						t.Fatalf("a is sent to %q at %s, and was sent to %q", got, to, first)
					}
				}
			}
			rest := slices.DeleteFunc([]string{"b", "c", "node-2"}, func(e string) bool { return e == first })
			if err := r.Set(endpointsOf("web", rest...)...); err != nil {
				t.Fatal(err)
			}
			second := who(l.A, cluster1)
			if !slices.Contains(rest, second) {
				t.Fatalf("after %q has left, a is sent to %q", first, second)
			}
			// The first endpoint comes back: a client that has found another one stays there.
			if err := r.Set(endpointsOf("web", "b", "c", "node-2")...); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if got := who(l.A, external); got != second {
					t.Fatalf("a is sent to %q, and was sent to %q", got, second)
				}
			}
			// A new process goes on where the old one ended.
			again := l.again(t, r, plan.Options{Pods: pods()})
			if err := again.Set(append(with(service("web", affine(300)), "b", "c", "node-2"), world()...)...); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if got := who(l.A, cluster1); got != second {
					t.Fatalf("after a restart, a is sent to %q, and was sent to %q", got, second)
				}
			}
		})
	}
}

// again is a router that follows one whose process ends.
func (l *Lab) again(t *testing.T, r *Router, o plan.Options) *Router {
	t.Helper()
	next, err := NewRouter(r.Space, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	return next
}

// The kernel forgets a client once no new connection of its has come for the time that the Service says.
func TestSessionAffinityEnds(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	web := service("web", func(s *cluster.Service) { s.Routing.AffinitySeconds = 2 })
	if err := r.Set(append(with(web, "b", "c"), world()...)...); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(address("web", 0), 80)
	remembered := func() bool {
		return strings.Contains(l.Node1.nft(t, "list", "set", "ip", "waypost", "affinity"), addresses["a"][0])
	}
	forgotten := func() bool { return !remembered() }
	first := ""
	const patience = 30 * time.Second // a slow machine may list the set when it is too late
	l.eventually(t, patience, "the client is remembered", func() bool {
		first = l.A.Ask(cluster.TCP, to, Patience)
		return remembered()
	})
	l.eventually(t, patience, "the client is forgotten", forgotten)
	other := false
	for range enough {
		l.eventually(t, patience, "the client is forgotten again", forgotten)
		if l.A.Ask(cluster.TCP, to, Patience) != first {
			other = true
			break
		}
	}
	if !other {
		t.Errorf("the client is sent to %q for ever", first)
	}
}

// eventually asks until something is so, for as long as it may take.
func (l *Lab) eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(within); !so(); <-ticks.C {
		if time.Now().After(end) {
			t.Fatalf("within %s: not true that %s", within, what)
		}
	}
}

// A restart finds everything right and leaves it so: not one element comes or goes.
func TestRestartChangesNothing(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	conn := l.hold(t, l.A, netip.AddrPortFrom(address("web", 0), 80), stop)
	before := l.ruleset(t)
	log := l.monitor(t)
	again := l.again(t, r, plan.Options{Pods: pods()})
	if err := again.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	for _, line := range log() {
		if strings.Contains(line, "element") {
			t.Errorf("an element changed: %s", line)
		}
	}
	if d := difference(before, l.ruleset(t)); d != "" {
		t.Errorf("the ruleset differs:\n%s", d)
	}
	close(stop)
	if err := <-conn; err != nil {
		t.Errorf("the connection did not last: %v", err)
	}
}

// monitor is what nft tells of changes from now on, until it is asked.
func (l *Lab) monitor(t *testing.T) (told func() []string) {
	t.Helper()
	cmd := exec.Command("nft", "monitor")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = l.Node1.Do(cmd.Start)
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	l.eventually(t, Patience, "nft monitor tells of something", func() bool {
		l.Node1.nft(t, "add table ip begin; delete table ip begin")
		select {
		case <-lines:
			return true
		default:
			return false
		}
	})
	return func() (all []string) {
		l.Node1.nft(t, "add table ip end; delete table ip end")
		for line := range lines {
			if all = append(all, line); strings.Contains(line, "table ip end") {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait() // it was killed
		return all
	}
}

// Whatever others do to the tables is noticed and repaired within a second, on a machine that has a processor to spare for it.
func TestOthersChangesAreRepaired(t *testing.T) {
	l := theLab(t)
	fastest := Patience
	for _, c := range []struct{ name, command string }{
		{"the ruleset flushed", "flush ruleset"},
		{"a table deleted", "delete table ip waypost"},
		{"a table emptied of its rules", "flush table ip6 waypost"},
		{"a table set dormant", "add table ip waypost { flags dormant; }"},
		{"a set emptied", "flush set ip waypost frontends"},
		{"an endpoint gone", "delete element ip waypost endpoints { 10.96.0.10 . tcp . 80 . 0 }"},
		{"a frontend gone", "delete element ip6 waypost frontends { fd00:10:96::10 . tcp . 80 }"},
		{"a frontend more", "add element ip waypost frontends { 10.96.0.77 . tcp . 80 }"},
		{"a rule more", "insert rule ip waypost services drop"},
		{"a chain and a set more", "add chain ip waypost x { type nat hook prerouting priority -110; policy drop; }; add set ip waypost y { type ipv4_addr; }"},
		{"a set of another kind", "flush chain ip waypost postrouting; delete set ip waypost hairpins; add set ip waypost hairpins { type mark; }"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.router(t, plan.Options{Pods: pods()})
			if err := r.Set(busy()...); err != nil {
				t.Fatal(err)
			}
			before := l.ruleset(t)
			repaired := l.repair(t, r)
			l.Node1.nft(t, c.command)
			start := time.Now()
			select {
			case err := <-repaired:
				if err != nil {
					t.Fatal(err)
				}
				fastest = min(fastest, time.Since(start))
			case <-time.After(Patience):
				t.Fatal("nobody noticed")
			}
			// Chains that nothing leads to are deleted later.
			if d := difference(before, l.ruleset(t)); c.name != "a chain and a set more" && d != "" {
				t.Errorf("the ruleset differs:\n%s", d)
			}
			l.check(t, `
				a tcp web:80 -> b sees a | c sees a
				outside tcp node-1:30080 -> b sees outside
				b tcp web:80 -> b sees gateway | c sees b
			`)
		})
	}
	if fastest > time.Second {
		t.Errorf("no repair took less than %s", fastest)
	}
}

// repair has the router watch and repair, once, and tells when that is done.
func (l *Lab) repair(t *testing.T, r *Router) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	repaired := make(chan error, 1)
	listening := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- r.Space.Do(func() error {
			w, err := r.Kernel.Listen()
			close(listening)
			if err != nil {
				return err
			}
			return w.Run(ctx, func(i nftables.Intrusion) {
				if !strings.HasPrefix(i.Process, "nft") {
					t.Errorf("%s: want nft", i)
				}
				select {
				case repaired <- r.Kernel.Sync(r.Plan.Wanted()):
				default:
				}
			})
		})
	}()
	<-listening
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return repaired
}

// Who begins to listen before the first Sync is told of what others do after it.
func TestListeningFromTheBeginning(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	told := l.repair(t, r)
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	l.Node1.nft(t, "flush set ip waypost frontends")
	if err := <-told; err != nil {
		t.Error(err)
	}
	l.check(t, "a tcp web:80 -> b sees a | c sees a")
}

// Our own changes are no intrusion.
func TestOwnChangesAreNotTold(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	told := l.repair(t, r)
	for i := range 20 {
		if err := r.Set(endpointsOf("web", []string{"b", "c"}[:1+i%2]...)...); err != nil {
			t.Fatal(err)
		}
	}
	l.Node1.nft(t, "add table ip somebody; add chain ip somebody c; delete table ip somebody")
	select {
	case <-told:
		t.Error("told of a change that was our own, or not of our tables")
	default:
	}
	l.Node1.nft(t, "flush set ip waypost frontends")
	if err := <-told; err != nil {
		t.Error(err)
	}
}

// A random life of a cluster ends with what a fresh start would make: the same routes, the same sets, nothing left over.
func TestRandomLifeEqualsAFreshStart(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(world()...); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 11))
	alive := map[string][]cluster.Object{}
	for step := range 600 {
		name := fmt.Sprintf("svc-%d", random.IntN(12))
		switch old, exists := alive[name]; {
		case exists && random.IntN(5) == 0:
			if err := r.Delete(old...); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			delete(alive, name)
		default:
			alive[name] = randomService(random, name)
			if err := r.Set(alive[name]...); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		if step%50 == 49 {
			l.sameAsFresh(t, step, r)
		}
	}
}

// sameAsFresh compares the kernel's state with what another kernel has after one Sync.
func (l *Lab) sameAsFresh(t *testing.T, step int, r *Router) {
	t.Helper()
	got, err := r.Installed()
	if err != nil {
		t.Fatal(err)
	}
	want := map[proxy.Frontend]*proxy.Route{}
	for _, route := range r.Plan.Wanted().Routes {
		kernels := *route
		kernels.Service, kernels.Serving = proxy.ServicePort{}, nil
		if len(kernels.Endpoints) == 0 {
			kernels.Affinity = 0 // to nobody
		}
		want[route.Frontend] = &kernels
	}
	for f, w := range want {
		if g := got[f]; !reflect.DeepEqual(g, w) {
			t.Errorf("step %d: wanted %v\ninstalled %v", step, w, g)
		}
	}
	for f, g := range got {
		if want[f] == nil {
			t.Errorf("step %d: left over: %v", step, g)
		}
	}
	// A Sync finds nothing to do: an element that is wrong, and not part of a route, would come or go. Chains that have
	// retired stay for a while, without rules.
	before := l.ruleset(t)
	if err := r.Kernel.Sync(r.Plan.Wanted()); err != nil {
		t.Fatal(err)
	}
	if d := difference(before, l.ruleset(t)); d != "" {
		t.Errorf("step %d: a Sync changed\n%s", step, d)
	}
}

func randomService(random *rand.Rand, name string) []cluster.Object {
	var number int
	fmt.Sscanf(name, "svc-%d", &number)
	s := &cluster.Service{Namespace: "prod", Name: name, Routing: &cluster.Routing{Created: int64(number)}, ClusterIPs: []netip.Addr{
		netip.AddrFrom4([4]byte{10, 96, 1, byte(number)}), netip.MustParseAddr(fmt.Sprintf("fd00:10:96::1:%x", number)),
	}}
	for _, p := range protocols("*")[:1+random.IntN(3)] {
		port := cluster.Port{Name: p.String(), Protocol: p, Number: uint16(80 + random.IntN(2))}
		if random.IntN(2) == 0 {
			port.NodePort = uint16(30000 + number)
		}
		s.Ports = append(s.Ports, port)
	}
	if random.IntN(2) == 0 {
		s.Routing.ExternalIPs = both("external")[:1+random.IntN(2)] // which the oldest of those that want it gets
	}
	if random.IntN(2) == 0 {
		s.Routing.LoadBalancer, s.Routing.LoadBalancerIPs = true, []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + number)})}
	}
	if random.IntN(2) == 0 {
		s.Routing.SourceRanges = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", random.IntN(3)))}
	}
	s.Routing.ExternalLocal, s.Routing.InternalLocal = random.IntN(2) == 0, random.IntN(4) == 0
	if random.IntN(3) == 0 {
		s.Routing.AffinitySeconds = uint32(1 + random.IntN(2)*100)
	}
	slice := &cluster.Slice{Namespace: "prod", Name: name + "-x", Service: name}
	for _, p := range protocols("*") {
		slice.Ports = append(slice.Ports, cluster.Port{Name: p.String(), Protocol: p, Number: 8080})
	}
	for range random.IntN(12) {
		e := cluster.Endpoint{
			Address: netip.AddrFrom4([4]byte{10, 244, byte(1 + random.IntN(2)), byte(random.IntN(30))}),
			State:   []cluster.State{cluster.Ready | cluster.Serving, cluster.Serving | cluster.Terminating, 0}[random.IntN(3)],
		}
		e.Place = &cluster.Place{Node: fmt.Sprintf("node-%d", e.Address.As4()[2])}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return []cluster.Object{s, slice}
}

// The kernel makes its tables larger or smaller some time after a change, and what it tells of them meanwhile is not all there
// is. What a start reads is.
func TestAStartReadsAllThatIsThere(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	objects := large(size{services: 4000, ports: 4000, endpoints: 100_000})
	keep := len(objects) / 4
	for range 2 {
		if err := r.Set(objects...); err != nil {
			t.Fatal(err)
		}
		l.readsAll(t, r)
		if err := r.Delete(objects[keep:]...); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			l.readsAll(t, r)
		}
	}
}

// readsAll has a router that follows read what the kernel has.
func (l *Lab) readsAll(t *testing.T, r *Router) {
	t.Helper()
	next, err := NewRouter(r.Space, plan.Options{Pods: pods()})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	has, err := next.Installed()
	if err != nil {
		t.Fatal(err)
	}
	lost, all := 0, r.Plan.Wanted().Routes
	for _, route := range all {
		if h := has[route.Frontend]; h == nil || !slices.Equal(h.Endpoints, route.Endpoints) {
			lost++
		}
	}
	if lost > 0 || len(has) != len(all) {
		t.Errorf("%d of %d routes are read as something else, and %d are there", lost, len(all), len(has))
	}
}
