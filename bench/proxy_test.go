package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// routing are the figures of one proxy.
type routing struct {
	answers          time.Duration // from exec until all samples answered
	starts           latencies     // that of more starts, where there were some
	sync             time.Duration // what it says that its first full sync took
	atStart, most    int64         // bytes of memory: a minute after the start, and the most until then
	after            int64         // and after the changes
	children         int64         // the most memory of a program that it started
	idle             time.Duration // of processor time in a minute in which nothing changes
	changes          following
	few, many, plain *flow // connections beside 10 Services and beside all, and to a Pod's own address
}

// The changes of one endpoint that each proxy is to follow. kube-proxy takes some 10 s for one.
var (
	manyChanges = changes{from: 0, rounds: 10, each: 1000}
	fewChanges  = changes{from: 10_000, rounds: 1, each: 10}
)

// TestProxy prints the figures of kube-proxy in its nftables mode and of waypost-proxy.
func TestProxy(t *testing.T) {
	b := newProxyBench(t)
	b.load(usual, small.services, 0)
	few := b.beside10("kube-proxy", "waypost-proxy")
	b.load(usual, usual.services, small.services)
	floors, err := usual.measureFloors(t.Context(), b.control.APIServer)
	if err != nil {
		t.Fatal(err)
	}
	figures := map[string]*routing{}
	nodes := map[string]*node{}
	for i, name := range []string{"waypost-proxy", "kube-proxy"} {
		figures[name], nodes[name] = b.alone(name, usual, []changes{manyChanges, fewChanges}[i])
		figures[name].few = few[name]
	}
	// The routes are still there.
	type measured struct {
		program string
		plain   bool
	}
	ways := map[measured]way{}
	for name, v := range nodes {
		ways[measured{name, false}] = way{[]*node{v}, sample(1000, usual.services)}
		ways[measured{name, true}] = way{[]*node{v}, usual.pods(1000)}
	}
	all, err := flows(ways)
	b.must(err)
	for name, f := range figures {
		f.many, f.plain = all[measured{name, false}], all[measured{name, true}]
	}
	t.Log(routingTable(usual, floors, figures["kube-proxy"], figures["waypost-proxy"]))
}

// TestProxyLarge prints the figures of waypost-proxy at a size at which kube-proxy takes minutes.
func TestProxyLarge(t *testing.T) {
	b := newProxyBench(t)
	b.load(large, large.services, 0)
	floors, err := large.measureFloors(t.Context(), b.control.APIServer)
	if err != nil {
		t.Fatal(err)
	}
	starts := b.starts("waypost-proxy", large, 5)
	f, v := b.alone("waypost-proxy", large, manyChanges)
	f.starts = starts
	all, err := flows(map[string]way{"": {[]*node{v}, sample(1000, large.services)}})
	b.must(err)
	f.many = all[""]
	t.Log(largeTable(floors, f))
}

// proxyBench is a control plane and the network beside it.
type proxyBench struct {
	t       *testing.T
	peers   *peers.Peers
	control *lab.ControlPlane
	network *network
	nodes   int
}

func newProxyBench(t *testing.T) *proxyBench {
	t.Helper()
	b := &proxyBench{t: t}
	b.peers, b.control = startControlPlane(t)
	b.control.Controllers.Stop() // the bench writes all objects itself, and they would follow each change beside the proxy
	var err error
	b.must(loadNamespaces(t.Context(), b.control.Client))
	b.network, err = newNetwork()
	b.must(err)
	t.Cleanup(func() {
		if err := b.network.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *proxyBench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// load writes Services of a cluster, up to a number, from another on.
func (b *proxyBench) load(s size, upTo, from int) {
	b.t.Helper()
	start := time.Now()
	part := s
	part.services, part.ports = upTo, s.ports-s.services+upTo
	b.must(part.load(b.t.Context(), b.control, from))
	b.t.Logf("loaded %d Services in %.0f s", upTo-from, time.Since(start).Seconds())
}

// start starts a proxy on a new node.
func (b *proxyBench) start(program string) *companion {
	b.t.Helper()
	b.nodes++
	v, err := b.network.newNode(b.nodes)
	b.must(err)
	b.t.Cleanup(func() {
		if err := v.Close(); err != nil {
			b.t.Error(err)
		}
	})
	c, err := startCompanion(b.t.Context(), program, v, b.peers, b.control)
	b.must(err)
	b.t.Cleanup(c.process.Stop)
	return c
}

// starts measures several starts of a proxy, each on a node of its own. What the API server does meanwhile makes one take
// twice as long as another.
func (b *proxyBench) starts(program string, s size, n int) latencies {
	b.t.Helper()
	all := make(latencies, n)
	for i := range all {
		c := b.start(program)
		all[i], _ = b.settled(c, s)
		c.process.Stop()
	}
	slices.Sort(all)
	return all
}

// settled waits until all samples answer and the proxy has said how long its first full sync took.
func (b *proxyBench) settled(c *companion, s size) (answers, sync time.Duration) {
	b.t.Helper()
	const patience = 5 * time.Minute
	answers, err := c.awaitAll(sample(20, s.services), patience)
	b.must(err)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-pace.C {
		full, err := c.timing("kubeproxy_sync_full_proxy_rules_duration_seconds", `{ip_family="IPv4"}`)
		b.must(err)
		if full.count > 0 {
			return answers, full.since(timing{})
		}
	}
	b.t.Fatalf("%s does not tell of its first sync:\n%s", c.process.Name, c.process.LogEnd(20))
	return 0, 0
}

// alone measures a proxy by itself and ends it. The node keeps the routes.
func (b *proxyBench) alone(program string, s size, all changes) (*routing, *node) {
	b.t.Helper()
	f := &routing{}
	c := b.start(program)
	counting, stop := context.WithCancel(b.t.Context())
	children := make(chan int64, 1)
	go func() { children <- c.children(counting) }()
	f.answers, f.sync = b.settled(c, s)
	<-time.After(calm)
	var err error
	f.atStart, f.most, err = c.process.Memory()
	b.must(err)
	f.changes, err = s.changeEach(b.t.Context(), b.control.Client, c, all)
	b.must(err)
	f.after, _, err = c.process.Memory()
	b.must(err)
	f.idle = b.idle(c)
	stop()
	f.children = <-children
	c.process.Stop()
	return f, c.node
}

// idle is the processor time of a minute in which nothing changes.
func (b *proxyBench) idle(c *companion) time.Duration {
	b.t.Helper()
	<-time.After(calm)
	before, err := c.ran()
	b.must(err)
	<-time.After(time.Minute)
	after, err := c.ran()
	b.must(err)
	return after - before
}

// beside10 are connections through the proxies while there are ten Services only.
func (b *proxyBench) beside10(programs ...string) map[string]*flow {
	b.t.Helper()
	ways := map[string]way{}
	for range 4 {
		for _, program := range programs {
			c := b.start(program)
			b.settled(c, small)
			c.process.Stop()
			ways[program] = way{append(ways[program].nodes, c.node), sample(small.services, small.services)}
		}
	}
	all, err := flows(ways)
	b.must(err)
	return all
}

// routingTable prints the figures as they are reported.
func routingTable(s size, floor floors, old, own *routing) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\n%s; one run, each proxy by itself\n\n", s)
	fmt.Fprintln(&out, "| figure | kube-proxy 1.36.3, nftables | waypost-proxy | bar | beside |")
	fmt.Fprintln(&out, "|---|---|---|---|---|")
	row := func(name string, a, b any, bar, beside string) {
		fmt.Fprintf(&out, "| %s | %v | %v | %s | %s |\n", name, a, b, bar, beside)
	}
	row("first full sync, by its own metric", round(old.sync), round(own.sync), "<= 0.5 s", fmt.Sprintf("%s for the kernel to take the same elements, bare", round(floor.kernel)))
	row("start until 20 of the ClusterIPs answer", round(old.answers), round(own.answers), "",
		fmt.Sprintf("%s for the API server to send the lists", round(floor.list)))
	k, w := old.changes.best(), own.changes.best()
	row("one endpoint changed, received to kernel, mean", round(k.apply), round(w.apply), "<= 1 ms", "by its own metric")
	row(fmt.Sprintf("API write to kernel, p50 of %d and %d", len(k.kernel), len(w.kernel)), round(k.kernel.at(0.5)), round(w.kernel.at(0.5)), "<= 4 ms",
		fmt.Sprintf("the write alone %s", round(w.write.at(0.5))))
	row("the same, p99", round(k.kernel.at(0.99)), round(w.kernel.at(0.99)), "<= 10 ms", beside99(own.changes))
	row("API server's answer to kernel, p99", round(k.behind.at(0.99)), round(w.behind.at(0.99)), "", "0 where the kernel has it before the answer")
	row("memory at the start", mega(old.atStart), mega(own.atStart), "<= 120 MB", fmt.Sprintf("at most %s and %s until then", mega(old.most), mega(own.most)))
	row("memory after the changes", mega(old.after), mega(own.after), "<= 120 MB", fmt.Sprintf("and of programs that it runs %s and %s", mega(old.children), mega(own.children)))
	row("processor time of an idle minute", round(old.idle), round(own.idle), "none", "")
	row("connections a second, 10 Services", old.few.perSecond(), own.few.perSecond(), ">= kube-proxy's", "")
	row("connections a second, all Services", old.many.perSecond(), own.many.perSecond(), ">= kube-proxy's, flat",
		fmt.Sprintf("%s without a Service", own.plain.perSecond()))
	row("time to first byte, 10 Services, p50", round(old.few.byte1.at(0.5)), round(own.few.byte1.at(0.5)), "<= kube-proxy's", "")
	row("time to first byte, all Services, p50", round(old.many.byte1.at(0.5)), round(own.many.byte1.at(0.5)), "<= kube-proxy's, flat",
		fmt.Sprintf("%s without a Service", round(own.plain.byte1.at(0.5))))
	row("the same, p99", round(old.many.byte1.at(0.99)), round(own.many.byte1.at(0.99)), "", fmt.Sprintf("%s without a Service", round(own.plain.byte1.at(0.99))))
	return out.String()
}

// largeTable prints the figures at the large size.
func largeTable(floor floors, own *routing) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\n%s\n\n| figure | waypost-proxy | bar | beside |\n|---|---|---|---|\n", large)
	row := func(name string, v any, bar, beside string) {
		fmt.Fprintf(&out, "| %s | %v | %s | %s |\n", name, v, bar, beside)
	}
	row(fmt.Sprintf("start until 20 of the ClusterIPs answer, median of %d", len(own.starts)), round(own.starts.at(0.5)), "<= 3 s",
		fmt.Sprintf("from %s to %s; %s for the API server to send the lists", round(own.starts[0]), round(own.starts[len(own.starts)-1]), round(floor.list)))
	row("first full sync, by its own metric", round(own.sync), "", fmt.Sprintf("%s for the kernel to take the same elements, bare", round(floor.kernel)))
	w := own.changes.best()
	row("one endpoint changed, received to kernel, mean", round(w.apply), "", "")
	row(fmt.Sprintf("API write to kernel, p50 of %d", len(w.kernel)), round(w.kernel.at(0.5)), "", fmt.Sprintf("the write alone %s", round(w.write.at(0.5))))
	row("the same, p99", round(w.kernel.at(0.99)), "", beside99(own.changes))
	row("memory at the start", mega(own.atStart), "", fmt.Sprintf("at most %s until then", mega(own.most)))
	row("memory after the changes", mega(own.after), "", "")
	row("processor time of an idle minute", round(own.idle), "none", "")
	row("connections a second", own.many.perSecond(), "", "")
	row("time to first byte, p50", round(own.many.byte1.at(0.5)), "", "")
	return out.String()
}

// beside99 tells how much of the slowest hundredth is the API server's, and of all rounds.
func beside99(f following) string {
	best := f.best()
	return fmt.Sprintf("the write alone %s; best of %d rounds, the worst %s, the write alone %s", round(best.write.at(0.99)), len(f),
		round(f.worst().kernel.at(0.99)), round(f.worst().write.at(0.99)))
}

func mega(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

// round keeps three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
