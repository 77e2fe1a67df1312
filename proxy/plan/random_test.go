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
		w.checkEmpty()
	}
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

// sortedRoutes are the kernel's routes as the model would have them.
func (k *kernel) sortedRoutes() string {
	var lines []string
	for _, r := range k.routes {
		sorted := *r
		sorted.Endpoints, sorted.Local = slices.Clone(r.Endpoints), slices.Clone(r.Local)
		slices.SortFunc(sorted.Endpoints, netip.AddrPort.Compare)
		slices.SortFunc(sorted.Local, netip.AddrPort.Compare)
		slices.SortFunc(sorted.Sources, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
		lines = append(lines, line(&sorted))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// checkEmpty takes everything away, and looks for what is remembered of it.
func (w *world) checkEmpty() {
	w.t.Helper()
	for kind := range w.objects {
		for _, object := range w.objects[kind] {
			w.put(object, nil)
		}
	}
	w.kernel.apply(w.plan.Take())
	for what, n := range w.plan.Sizes() {
		if n != 0 {
			w.t.Errorf("of an empty cluster the plan remembers %d %s", n, what)
		}
	}
	if k := w.kernel; len(k.routes)+len(k.hairpins)+len(k.clusterIPs)+len(k.health) > 0 {
		w.t.Errorf("of an empty cluster the kernel has %v, %v, %v, %v", k.routes, k.hairpins, k.clusterIPs, k.health)
	}
}

// checkAgainstFresh compares all that the kernel was given change by change with what a plan wants that knows no past.
func (w *world) checkAgainstFresh(o plan.Options) {
	w.t.Helper()
	for f, r := range w.kernel.routes {
		o.Installed = append(o.Installed, &proxy.Route{Frontend: f, Verdict: r.Verdict, Endpoints: r.Endpoints, Local: r.Local})
	}
	fresh := newWorld(w.t, o)
	if own := w.nodes[o.NodeName]; own != nil { // which may be gone, and is what it was
		fresh.plan.Apply([]cluster.Change{{New: own}, {Old: own}})
	}
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
