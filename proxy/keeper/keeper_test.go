package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/health"
	"github.com/waypost/waypost/proxy/metrics"
	"github.com/waypost/waypost/proxy/plan"
)

// memory is a kernel that only remembers, and notes each call.
type memory struct {
	flows  *flowMemory // who has to be told first, if anybody
	mu     sync.Mutex
	routes map[proxy.Frontend]*proxy.Route
	calls  []string
	fail   error         // of each call
	slow   time.Duration // each call takes so long
}

// Sync implements proxy.Kernel.
func (m *memory) Sync(w *proxy.Wanted) error {
	return m.call(fmt.Sprintf("sync %d", len(w.Routes)), func() {
		m.routes = map[proxy.Frontend]*proxy.Route{}
		for _, r := range w.Routes {
			m.routes[r.Frontend] = r
		}
	})
}

// Apply implements proxy.Kernel.
func (m *memory) Apply(c *proxy.Changes) error {
	if m.flows != nil && !m.flows.expects(c) {
		return m.call("apply what no flow is expected of", func() {})
	}
	return m.call(fmt.Sprintf("apply %d", len(c.Routes)), func() {
		for _, change := range c.Routes {
			if change.New == nil {
				delete(m.routes, change.Old.Frontend)
			} else {
				m.routes[change.New.Frontend] = change.New
			}
		}
	})
}

func (m *memory) call(what string, do func()) error {
	time.Sleep(m.slow) // of the test's own clock
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		m.calls = append(m.calls, what+" fails")
		return m.fail
	}
	m.calls = append(m.calls, what)
	do()
	return nil
}

// Read implements proxy.Kernel.
func (m *memory) Read() ([]*proxy.Route, error) { return nil, errors.ErrUnsupported }

// said returns the calls since it was last asked.
func (m *memory) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := strings.Join(m.calls, ", ")
	m.calls = nil
	return calls
}

func (m *memory) set(fail error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// desk is a keeper with all that is around it.
type desk struct {
	*Keeper
	t      *testing.T
	kernel *memory
	flows  *flowMemory
	log    *lines
	state  *health.State
	known  map[cluster.Key]*cluster.Service
}

// flowMemory notes what it was given.
type flowMemory struct {
	memory
	next *proxy.Changes // what Expect took last
}

func (m *flowMemory) Sync(installed []*proxy.Route, w *proxy.Wanted) {
	_ = m.call(fmt.Sprintf("sync %d after %d", len(w.Routes), len(installed)), func() {})
}

func (m *flowMemory) Expect(c *proxy.Changes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = c
}

func (m *flowMemory) expects(c *proxy.Changes) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next == c
}

func (m *flowMemory) Apply(c *proxy.Changes) {
	_ = m.call(fmt.Sprintf("apply %d", len(c.Routes)), func() {})
}

// lines is the log.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Level.String()+" "+r.Message)
	return nil
}

func (l *lines) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.Join(l.text, "\n")
	l.text = nil
	return text
}

// run has test work with a keeper that runs, in a bubble of its own time.
func run(t *testing.T, test func(d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		p := plan.New(plan.Options{NodeName: "a", Started: time.Now()})
		flows := &flowMemory{}
		d := &desk{
			t: t, kernel: &memory{flows: flows, slow: time.Millisecond}, flows: flows, log: &lines{}, known: map[cluster.Key]*cluster.Service{},
			state: health.NewState(health.Options{Timeout: time.Minute, Families: []string{"IPv4"}, Node: p.Node, Waiting: []cluster.Kind{cluster.KindService}}),
		}
		checks := health.NewChecks(d.state, slog.New(d.log))
		defer checks.Close()
		d.Keeper = New(Options{
			Plan: p, Kernel: d.kernel, State: d.state, Checks: checks, Metrics: metrics.New(p, []string{"IPv4"}), Log: slog.New(d.log), Flows: d.flows,
			Installed: make([]*proxy.Route, 7),
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		test(d)
		cancel()
		<-done
	})
}

// services tells that there are n Services, with an external IP or without.
func (d *desk) services(n int, external ...netip.Addr) {
	var changes []cluster.Change
	for i := range max(n, len(d.known)) {
		key := cluster.Key{Namespace: "prod", Name: fmt.Sprint("web-", i)}
		var c cluster.Change
		if old := d.known[key]; old != nil {
			c.Old = old
		}
		delete(d.known, key)
		if i < n {
			s := &cluster.Service{
				Namespace: key.Namespace, Name: key.Name, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(i)})},
				Ports: []cluster.Port{{Protocol: cluster.TCP, Number: 80}}, Routing: &cluster.Routing{ExternalIPs: external},
			}
			d.known[key], c.New = s, s
		}
		changes = append(changes, c)
	}
	d.Apply(changes)
}

func (d *desk) synced() {
	for _, kind := range []cluster.Kind{cluster.KindService, cluster.KindSlice, cluster.KindNode} {
		d.Synced(kind)
	}
}

// expect waits until all is quiet and compares what was said.
func (d *desk) expect(when, kernel, flows, log string) {
	d.t.Helper()
	synctest.Wait()
	for _, c := range []struct{ what, got, want string }{
		{"the kernel was told", d.kernel.said(), kernel}, {"flows were told", d.flows.said(), flows}, {"the log is", d.log.said(), log},
	} {
		if c.got != c.want {
			d.t.Errorf("%s: %s %q, want %q", when, c.what, c.got, c.want)
		}
	}
}

// expectCalls is expect of the kernel alone.
func (d *desk) expectCalls(when, want string) {
	d.t.Helper()
	synctest.Wait()
	if got := d.kernel.said(); got != want {
		d.t.Errorf("%s: the kernel was told %q, want %q", when, got, want)
	}
}

// gauge is the value of a metric in a scrape.
func gauge(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

func TestNothingIsTouchedBeforeAllIsKnown(t *testing.T) {
	run(t, func(d *desk) {
		d.services(2)
		d.Synced(cluster.KindService)
		time.Sleep(time.Hour)
		d.expect("without slices", "", "", "")
		if r := d.state.Report(); !r.Healthy || r.Waiting == "" {
			t.Errorf("the state is %+v", r)
		}
		d.synced()
		time.Sleep(time.Second)
		d.expect("with all", "sync 2", "sync 2 after 7", "INFO routes are in the kernel: 2, after 1ms")
		if r := d.state.Report(); !r.Healthy || r.Waiting != "" {
			t.Errorf("the state is %+v", r)
		}
	})
}

func TestChangesAreAppliedTogether(t *testing.T) {
	run(t, func(d *desk) {
		d.services(1)
		d.synced()
		time.Sleep(time.Second)
		d.expect("at the start", "sync 1", "sync 1 after 7", "INFO routes are in the kernel: 1, after 1ms")
		d.services(2)
		synctest.Wait() // the kernel is at it
		d.services(3)
		d.services(5)
		d.services(4)
		time.Sleep(time.Second)
		d.expect("while the kernel works", "apply 1, apply 2", "apply 1, apply 2", "")
		d.services(5)
		d.services(4)
		time.Sleep(time.Second)
		d.services(4)
		time.Sleep(time.Second)
		if calls := d.kernel.said(); strings.Contains(calls, "sync") {
			t.Errorf("the kernel was told %q", calls)
		}
	})
}

func TestFailures(t *testing.T) {
	run(t, func(d *desk) {
		d.synced()
		time.Sleep(time.Second)
		d.kernel.said()
		d.flows.said()
		d.log.said()
		d.kernel.set(errors.New("no buffer space"))
		d.services(2)
		time.Sleep(650 * time.Millisecond) // 0, 100, 300 and 700 ms are the times
		d.expect("while it fails", "apply 2 fails, sync 2 fails, sync 2 fails", "", "ERROR routes are not up to date: no buffer space; trying again, at most 30s apart")
		d.services(3)
		time.Sleep(40 * time.Millisecond)
		d.expect("a change is a try too", "sync 3 fails", "", "")
		time.Sleep(2 * time.Minute)
		d.kernel.said()
		if r := d.state.Report(); r.Healthy {
			t.Errorf("after two minutes the state is %+v", r)
		}
		d.kernel.set(nil)
		time.Sleep(30 * time.Second)
		d.expect("then", "sync 3", "sync 3 after 0", "INFO routes are up to date again")
		if r := d.state.Report(); !r.Healthy {
			t.Errorf("then the state is %+v", r)
		}
		d.services(4)
		time.Sleep(time.Second)
		d.expect("and from then on", "apply 1", "apply 1", "")
		d.kernel.set(errors.New("no buffer space"))
		d.services(5)
		time.Sleep(50 * time.Millisecond)
		d.expect("another time", "apply 1 fails", "", "ERROR routes are not up to date: no buffer space; trying again, at most 30s apart")
	})
}

func TestRepair(t *testing.T) {
	run(t, func(d *desk) {
		d.services(2)
		d.synced()
		time.Sleep(time.Second)
		d.kernel.said()
		d.flows.said()
		d.log.said()
		d.Touched("nft (pid 7) has flushed the table ip waypost")
		time.Sleep(time.Second)
		d.expect("once touched", "sync 2", "sync 2 after 0", "WARN nft (pid 7) has flushed the table ip waypost; putting it right")
	})
}

// Two proxies on a node, each of which puts right what the other has put right, do not keep both busy.
func TestRepairsOfAFight(t *testing.T) {
	run(t, func(d *desk) {
		d.services(2)
		d.synced()
		time.Sleep(time.Second)
		d.kernel.said()
		start := time.Now()
		for time.Since(start) < 59*time.Second+500*time.Millisecond { // between two tries
			d.Touched("somebody has changed it")
			time.Sleep(time.Millisecond)
		}
		if n := strings.Count(d.kernel.said(), "sync 2"); n < 70 || n > 82 {
			t.Errorf("it was put right %d times in a minute, not some 20 and once a second", n)
		}
		d.services(3)
		time.Sleep(10 * time.Millisecond)
		d.expectCalls("a change does not wait", "apply 1")
		time.Sleep(2 * time.Second)
		d.expectCalls("the last one is seen to", "sync 3")
		time.Sleep(time.Minute)
		d.Touched("somebody has changed it")
		time.Sleep(10 * time.Millisecond)
		d.expectCalls("after a minute of rest", "sync 3")
	})
}

// Slices that belong to no route are changes, too, and no sign of a proxy that is behind.
func TestNothingToDo(t *testing.T) {
	run(t, func(d *desk) {
		d.synced()
		time.Sleep(time.Hour)
		d.Apply([]cluster.Change{{New: &cluster.Slice{Namespace: "prod", Name: "x"}}})
		time.Sleep(time.Second)
		text := scrape(t, d.o.Metrics)
		queued := gauge(t, text, `kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}`)
		synced := gauge(t, text, `kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"}`)
		if queued > synced {
			t.Errorf("queued %f, synced %f", queued, synced)
		}
	})
}

// What the kernel refuses is pending, however often it was tried.
func TestPendingWhileTheKernelRefuses(t *testing.T) {
	run(t, func(d *desk) {
		d.synced()
		time.Sleep(time.Second)
		d.kernel.set(errors.New("no"))
		d.services(5)
		time.Sleep(10 * time.Minute)
		if text := scrape(t, d.o.Metrics); !strings.Contains(text, "kubeproxy_sync_proxy_rules_service_changes_pending 5\n") {
			t.Errorf("the 5 changes are not pending:\n%s", text)
		}
		d.kernel.set(nil)
		time.Sleep(time.Minute)
		if text := scrape(t, d.o.Metrics); !strings.Contains(text, "kubeproxy_sync_proxy_rules_service_changes_pending 0\n") {
			t.Errorf("the 5 changes are pending:\n%s", text)
		}
	})
}

func TestRefusalsAreLogged(t *testing.T) {
	run(t, func(d *desk) {
		d.services(1, netip.MustParseAddr("10.96.0.0"))
		d.synced()
		time.Sleep(time.Second)
		d.expect("one", "sync 1", "sync 1 after 7", "WARN Service prod/web-0: external IP 10.96.0.0 is refused: it is a ClusterIP\nINFO routes are in the kernel: 1, after 1ms")
		d.services(30, netip.MustParseAddr("10.96.0.0"))
		time.Sleep(time.Second)
		if text := strings.Split(d.log.said(), "\n"); len(text) != 21 || text[20] != "WARN 9 more things that Services ask for are refused" {
			t.Errorf("many: %d lines, the last %q", len(text), text[len(text)-1])
		}
	})
}

// TestMetrics looks at what a scrape says after one change, one refusal, one failure and one repair.
func TestMetrics(t *testing.T) {
	run(t, func(d *desk) {
		d.synced()
		time.Sleep(time.Second)
		d.services(2, netip.MustParseAddr("10.96.0.0"))
		time.Sleep(time.Second)
		d.kernel.set(errors.New("no"))
		d.services(1)
		time.Sleep(50 * time.Millisecond)
		d.kernel.set(nil)
		d.Touched("somebody")
		time.Sleep(time.Second)
		d.o.Metrics.Healthz(503)
		d.o.Metrics.Flows("IPv4", time.Millisecond, 3)
		text := scrape(t, d.o.Metrics)
		for _, want := range []string{
			`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 3`,
			`kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 2`,
			`kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1`,
			`kubeproxy_sync_partial_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 0.001`,
			`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 1`,
			`kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv4"} 0`,
			`kubeproxy_sync_proxy_rules_service_changes_total 4`,
			`kubeproxy_sync_proxy_rules_service_changes_pending 0`,
			`kubeproxy_sync_proxy_rules_endpoint_changes_total 0`,
			`kubeproxy_sync_proxy_rules_endpoint_changes_pending 0`,
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} 0`,
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 0`,
			`kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 9.4668480`, // the bubble's time begins in 2000
			`kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"} 9.4668480`,
			`kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family="IPv4"} 1`,
			`kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 3`,
			`kubeproxy_proxy_healthz_total{code="503"} 1`,
			`waypost_proxy_route_changes_total{change="added"} 2`,
			`waypost_proxy_refusals_total{reason="cluster_ip"} 2`,
			`waypost_proxy_refusals_total{reason="node_address"} 0`,
			`waypost_proxy_repairs_total 1`,
			`waypost_proxy_apply_seconds_count 3`,
			`waypost_proxy_change_to_kernel_seconds_count 2`,
			`waypost_proxy_routes{verdict="reject"} 1`,
			`waypost_proxy_routes{verdict="forward"} 0`,
			`waypost_proxy_endpoints 0`,
		} {
			if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.HasPrefix(line, want) }) {
				t.Errorf("the metrics lack %s", want)
			}
		}
		if t.Failed() {
			t.Log(text)
		}
	})
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
