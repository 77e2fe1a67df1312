package bench

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// corefile is what both servers run: the zone, and what the usual Corefile has beside it.
const corefile = `
. {
    errors
    health {$HEALTH}
    ready {$READY}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
        ttl 30
    }
    prometheus {$METRICS}
    loadbalance
}
`

// figures are those of one server.
type figures struct {
	start         time.Duration // from exec to the first right answer
	idle, most    int64         // bytes of memory: after the start, and the most until then
	relist        int64         // the most while all is listed again
	load          loaded
	quiet         []loaded      // at quietRates
	beside        latencies     // of queries over TCP, beside the load
	answer, worst time.Duration // of changes: half and 99 of 100 of them
	lost          int
}

// TestDNS prints the figures of CoreDNS and Waypost.
func TestDNS(t *testing.T) {
	p, control := startControlPlane(t)
	loading := time.Now()
	if err := load(t.Context(), control.Client); err != nil {
		t.Fatal(err)
	}
	t.Logf("loaded %d Services with %d endpoints each in %.0f s", services, endpoints, time.Since(loading).Seconds())
	file, err := questions()
	if err != nil {
		t.Fatal(err)
	}
	floor := measureEcho(t, file)
	bench := &bench{t: t, peers: p, control: control, file: file, figures: map[string]*figures{"coredns": {}, "waypost": {}}}
	for _, name := range []string{"coredns", "waypost"} {
		bench.alone(name)
	}
	write := bench.together()
	t.Log(table(floor, write, bench.figures["coredns"], bench.figures["waypost"]))
}

type bench struct {
	t       *testing.T
	peers   *peers.Peers
	control *lab.ControlPlane
	file    string
	figures map[string]*figures
}

// start starts a server and waits for its first right answer.
func (b *bench) start(name, kubeconfig string, port uint16, before ...string) (*lab.DNS, time.Duration) {
	b.t.Helper()
	began := time.Now()
	d, err := lab.LaunchDNS(lab.DNSOptions{
		Name: name, Program: b.peers.Path(name), Before: before, Corefile: corefile, Kubeconfig: kubeconfig, Port: port,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(d.Stop)
	b.awaitRight(d)
	return d, time.Since(began)
}

// awaitRight waits until a headless Service, one of the last that were made, is answered with its addresses.
func (b *bench) awaitRight(d *lab.DNS) {
	b.t.Helper()
	question, err := new(dns.Msg).SetQuestion(fqdn(services-8), dns.TypeA).Pack()
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := ask.Dial(d.Address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	conn.Timeout, conn.Tries = 50*time.Millisecond, 1
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-pace.C {
		if has(conn, question, address(services-8, endpoints-1)) {
			return
		}
	}
	b.t.Fatalf("%s does not answer:\n%s", d.Name, d.LogEnd(20))
}

// starts is how often a server is started: the quickest start was disturbed the least.
const starts = 3

// alone measures a server by itself on one core: start, memory, load, and memory while it lists all again.
func (b *bench) alone(name string) {
	b.t.Helper()
	f := b.figures[name]
	api, err := b.control.AddAPIServer(b.t.Context(), 6444)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(api.Stop)
	var d *lab.DNS
	for n := range starts {
		if d != nil {
			d.Stop()
		}
		var took time.Duration
		if d, took = b.start(name, api.Kubeconfig, 10053, "taskset", "-c", serverCore); n == 0 || took < f.start {
			f.start = took
		}
	}
	<-time.After(calm)
	if f.idle, f.most, err = d.Memory(); err != nil {
		b.t.Fatal(err)
	}
	if f.load, err = measureBest(d.Process, d.Address, b.file); err != nil {
		b.t.Fatal(err)
	}
	if f.quiet, err = measureQuiet(d.Process, d.Address, b.file); err != nil {
		b.t.Fatal(err)
	}
	if f.beside, err = measureBeside(b.t.Context(), d.Process, d.Address, b.file); err != nil {
		b.t.Fatal(err)
	}
	f.relist = b.relist(d, api)
	d.Stop()
	api.Stop()
}

// relist makes the server list everything again, its API server having forgotten the past, and returns the most memory it
// had meanwhile.
func (b *bench) relist(d *lab.DNS, api *lab.APIServer) int64 {
	b.t.Helper()
	steady := func(err error) {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	steady(d.ResetPeak())
	api.Stop()
	c := change{service: 10, address: netip.MustParseAddr("10.201.0.1")}
	steady(c.write(b.t.Context(), b.control.Client))
	steady(b.control.Compact(b.t.Context()))
	steady(api.Start(b.t.Context()))
	for end := time.Now().Add(2 * time.Minute); !c.await(d.Address); {
		if time.Now().After(end) {
			b.t.Fatalf("%s does not follow the API server after a restart:\n%s", d.Name, d.LogEnd(20))
		}
	}
	_, peak, err := d.Memory()
	steady(err)
	steady(restore(b.t.Context(), b.control.Client))
	return peak
}

// together has both servers follow the same changes, and returns how long the writes alone took.
func (b *bench) together() latencies {
	b.t.Helper()
	servers := map[string]netip.AddrPort{}
	for i, name := range []string{"coredns", "waypost"} {
		d, _ := b.start(name, b.control.Kubeconfig, 10053+uint16(i))
		servers[name] = d.Address
	}
	p, err := changeAll(b.t.Context(), b.control.Client, servers)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, f := range b.figures {
		f.answer, f.worst, f.lost = p.answer[name].at(0.5), p.answer[name].at(0.99), p.lost[name]
		if f.lost > 0 && name == "waypost" {
			b.t.Errorf("%d changes were never answered by %s", f.lost, name)
		}
	}
	return p.write
}

// measureEcho is the load on a server that looks nothing up.
func measureEcho(t *testing.T, file string) loaded {
	t.Helper()
	program := filepath.Join(lab.Folder(), "echo")
	if out, err := exec.Command("go", "build", "-o", program, "./echo").CombinedOutput(); err != nil {
		t.Fatalf("build the echo server: %v\n%s", err, out)
	}
	address := netip.MustParseAddrPort("127.0.0.1:10060")
	p, err := lab.StartProcess("echo", os.Environ(), "taskset", "-c", serverCore, program, address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	l, err := measureBest(p, address, file)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// table prints the figures as they are reported.
func table(floor loaded, write latencies, coredns, waypost *figures) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\n%d Services, three in ten headless, %d endpoints; one run, the server on one core, %s\n\n", services, services*endpoints, bestOf)
	fmt.Fprintln(&out, "| figure | CoreDNS 1.15.0 | Waypost | ratio | bar | beside |")
	fmt.Fprintln(&out, "|---|---|---|---|---|---|")
	row := func(name, format string, a, b float64, bar, beside string) {
		fmt.Fprintf(&out, "| %s | "+format+" | "+format+" | %.2f | %s | %s |\n", name, a, b, b/a, bar, beside)
	}
	const mb = 1e6
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	row("CPU per query", "%.2f us", coredns.load.micros, waypost.load.micros, "<= 4 us", fmt.Sprintf("%.2f us for a loop that looks nothing up", floor.micros))
	row("queries per second, one core", "%.0f", coredns.load.perSecond, waypost.load.perSecond, "",
		fmt.Sprintf("%.0f for that loop; lost %d, %d, %d", floor.perSecond, coredns.load.lost, waypost.load.lost, floor.lost))
	for i, rate := range quietRates {
		a, b := coredns.quiet[i], waypost.quiet[i]
		row(fmt.Sprintf("CPU per query at %d a second", rate), "%.2f us", a.micros, b.micros, "", fmt.Sprintf("mean latency %.0f us and %.0f us", a.latency, b.latency))
	}
	row("TCP beside the full load, p50", "%.2f ms", millis(coredns.beside.at(0.5)), millis(waypost.beside.at(0.5)), "", "one connection, one query at a time")
	row("the same, p99", "%.2f ms", millis(coredns.beside.at(0.99)), millis(waypost.beside.at(0.99)), "", "")
	row("memory after the start", "%.0f MB", float64(coredns.idle)/mb, float64(waypost.idle)/mb, "<= 80 MB",
		fmt.Sprintf("at most %.0f MB and %.0f MB until then", float64(coredns.most)/mb, float64(waypost.most)/mb))
	row("memory under load", "%.0f MB", float64(coredns.load.memory)/mb, float64(waypost.load.memory)/mb, "<= 80 MB", "")
	row("most memory while listing again", "%.0f MB", float64(coredns.relist)/mb, float64(waypost.relist)/mb, "<= 1.25 x",
		fmt.Sprintf("%.2f x and %.2f x of that under load", float64(coredns.relist)/float64(coredns.load.memory), float64(waypost.relist)/float64(waypost.load.memory)))
	row("start to first right answer", "%.2f s", coredns.start.Seconds(), waypost.start.Seconds(), "<= 1 s", fmt.Sprintf("the best of %d", starts))
	row("API write to changed answer, p50", "%.2f ms", millis(coredns.answer), millis(waypost.answer), "<= CoreDNS", fmt.Sprintf("the write alone %.2f ms", millis(write.at(0.5))))
	row("the same, p99", "%.2f ms", millis(coredns.worst), millis(waypost.worst), "<= CoreDNS", fmt.Sprintf("the write alone %.2f ms", millis(write.at(0.99))))
	fmt.Fprintf(&out, "| changes that were never answered, of %d | %d | %d | | 0 | |\n", len(write), coredns.lost, waypost.lost)
	return out.String()
}
