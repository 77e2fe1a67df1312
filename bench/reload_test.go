package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// reloadCorefile is what is reloaded. CHANGING and TTL are what changes: the one is about forwarded names, and with the
// other each zone of the cluster is made anew. The second block's port comes and goes with OTHER.
const reloadCorefile = `
. {
    errors
    health {$HEALTH}
    ready {$READY}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
        ttl TTL
    }
    prometheus {$METRICS}
    forward . 127.0.0.1:10070 {
        max_concurrent CHANGING
    }
    cache 30
    loadbalance
}
OTHER`

// How the Corefile changes.
const (
	reloadEvery = 2 * time.Second
	reloadFor   = 60 * time.Second
)

// level is how much of the memory from before there may be afterwards, in the two ways that the Corefile changes: where a zone
// was made beside another one, the heap has gaps that only the next zone fills.
var level = [2]float64{1.1, 1.5}

// reloaded is what a server did while its Corefile changed under load.
type reloaded struct {
	loaded
	reloads       int
	before, after int64         // bytes of memory
	settled       time.Duration // until it was back at its level
	still         time.Duration // the longest time for which not even this program ran
}

// TestReload prints what is lost while the Corefile changes every two seconds under full load, and what is left in memory.
func TestReload(t *testing.T) {
	p, control := startControlPlane(t)
	if err := load(t.Context(), control.Client); err != nil {
		t.Fatal(err)
	}
	upstream, err := startUpstream(t.Context(), upstreamAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Stop)
	b := &reloadBench{t: t, peers: p, kubeconfig: control.Kubeconfig, file: mixed(t)}
	coredns := b.run("coredns", forwarding)
	waypost := b.run("waypost", forwarding, listing)
	t.Log(reloadTable(coredns[0], waypost[0], waypost[1]))
	for i, r := range waypost {
		if r.lost > 0 {
			t.Errorf("%d of %d queries were lost", r.lost, r.queries)
		}
		if float64(r.after) > float64(r.before)*level[i] {
			t.Errorf("%d MB of memory are %d MB after %d reloads", r.before>>20, r.after>>20, r.reloads)
		}
	}
}

// mixed writes the usual questions, and one in ten for names that are forwarded.
func mixed(t *testing.T) (file string) {
	t.Helper()
	cluster, err := questions()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cluster)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	i := 0
	for line := range strings.Lines(string(text)) {
		if i++; i%10 == 0 {
			line = fmt.Sprintf("name-%d.upstream.example. A\n", i)
		}
		out.WriteString(line)
	}
	file = filepath.Join(lab.Folder(), "mixed")
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// changing is the Corefile as it is for the nth time.
type changing func(n int) string

// forwarding changes what is said of forwarded names, and the second block.
func forwarding(n int) string {
	other := []string{"", "other.example:10099 {\n    forward . 127.0.0.1:10070\n}\n"}[n%2]
	return strings.NewReplacer("CHANGING", fmt.Sprint(1000+n%2), "TTL", "30", "OTHER", other).Replace(reloadCorefile)
}

// listing changes what is said of the cluster.
func listing(n int) string {
	return strings.NewReplacer("CHANGING", "1000", "TTL", fmt.Sprint(30-n%2), "OTHER", "").Replace(reloadCorefile)
}

type reloadBench struct {
	t                *testing.T
	peers            *peers.Peers
	kubeconfig, file string
}

// run measures a server while its Corefile changes in each of these ways.
func (b *reloadBench) run(name string, ways ...changing) []reloaded {
	b.t.Helper()
	d, err := lab.LaunchDNS(lab.DNSOptions{
		Name: name, Program: b.peers.Path(name), Before: []string{"taskset", "-c", serverCore}, Corefile: forwarding(0),
		Kubeconfig: b.kubeconfig, Port: 10053,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Stop()
	(&bench{t: b.t}).awaitRight(d)
	if _, err := measure(d.Process, d.Address, b.file, 10, atFullSpeed); err != nil {
		b.t.Fatal(err)
	}
	var all []reloaded
	for _, way := range ways {
		all = append(all, b.reload(d, name, way))
	}
	return all
}

// reload changes the Corefile again and again while the server is under load.
func (b *reloadBench) reload(d *lab.DNS, name string, way changing) (r reloaded) {
	b.t.Helper()
	const complete = "Reloading complete"
	done := strings.Count(d.Log(), complete)
	var err error
	if r.before, _, err = d.Memory(); err != nil {
		b.t.Fatal(err)
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		r.still = b.keepChanging(d, filepath.Join(lab.Folder(), name+".Corefile"), way, ending)
	}()
	r.loaded, err = measure(d.Process, d.Address, b.file, int(reloadFor.Seconds()), atFullSpeed)
	close(ending)
	<-ended
	if err != nil {
		b.t.Fatal(err)
	}
	r.reloads = strings.Count(d.Log(), complete) - done
	r.after, r.settled = b.settle(d, r.before)
	return r
}

// keepChanging changes the Corefile and sends SIGUSR1, every two seconds. It returns by how much it was late at most.
func (b *reloadBench) keepChanging(d *lab.DNS, file string, way changing, ending <-chan struct{}) (late time.Duration) {
	pace := time.NewTicker(reloadEvery)
	defer pace.Stop()
	last := time.Now()
	for n := 1; ; n++ {
		select {
		case <-ending:
			return late
		case <-pace.C:
		}
		late = max(late, time.Since(last)-reloadEvery)
		last = time.Now()
		if err := os.WriteFile(file, []byte(way(n)), 0o644); err != nil {
			b.t.Error(err)
		}
		if err := syscall.Kill(d.PID(), syscall.SIGUSR1); err != nil {
			b.t.Error(err)
		}
	}
}

// settle waits until the memory is back at its level, or no longer shrinks, and says how long that took.
func (b *reloadBench) settle(d *lab.DNS, level int64) (after int64, took time.Duration) {
	b.t.Helper()
	began := time.Now()
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for {
		now, _, err := d.Memory()
		if err != nil {
			b.t.Fatal(err)
		}
		if took = time.Since(began); now <= level*11/10 || took > 30*time.Second {
			return now, took
		}
		<-pace.C
	}
}

// reloadTable prints the figures as they are reported.
func reloadTable(coredns, forwarded, listed reloaded) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\nA Corefile that changes every %s, for %s under full load, over %d Services; one run, the server on one core\n\n",
		reloadEvery, reloadFor, services)
	fmt.Fprintln(&out, "| figure | CoreDNS 1.15.0 | Waypost | Waypost, the cluster's zone anew each time | bar |")
	fmt.Fprintln(&out, "|---|---|---|---|---|")
	row := func(name, format, bar string, of func(reloaded) any) {
		fmt.Fprintf(&out, "| %s | "+format+" | "+format+" | "+format+" | %s |\n", name, of(coredns), of(forwarded), of(listed), bar)
	}
	row("reloads", "%d", "", func(r reloaded) any { return r.reloads })
	row("queries", "%d", "", func(r reloaded) any { return r.queries })
	row("queries lost", "%d", "0", func(r reloaded) any { return r.lost })
	row("CPU per query", "%.2f us", "", func(r reloaded) any { return r.micros })
	row("memory before", "%d MB", "", func(r reloaded) any { return r.before >> 20 })
	row("memory under load, at the end", "%d MB", "", func(r reloaded) any { return r.memory >> 20 })
	row("memory afterwards", "%d MB", fmt.Sprintf("<= %.1f x, %.1f x", level[0], level[1]), func(r reloaded) any { return r.after >> 20 })
	row("the machine stood still for", "%.1f s", "< 1 s, or measure again", func(r reloaded) any { return r.still.Seconds() })
	row("until it was back", "%.1f s", "", func(r reloaded) any { return r.settled.Seconds() })
	return out.String()
}
