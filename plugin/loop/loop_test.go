package loop

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

func parse(t testing.TB, header, lines string) (Options, error) {
	t.Helper()
	block := plugintest.Block(t, header+" {\n"+lines+"\n}\n")
	return Parse(block, block.Directive("loop"))
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ header, lines, want string }{
		{".:53", "loop", "{Zone:. Exit:false} <nil>"},
		{"b.example:53 a.example:53", "loop exit", "{Zone:b.example. Exit:true} <nil>"},
		{".:53", "loop stop", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'stop'"},
		{".:53", "loop exit now", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'now'"},
		{".:53", "loop\nloop", "this plugin can only be used once per Server Block"},
		{".:53", "loop {\nexit\n}", "Corefile:3 - Error during parsing: unknown property 'exit'"},
	} {
		o, err := parse(t, tt.header, tt.lines)
		if got := fmt.Sprintf("%+v %v", o, err); !strings.HasSuffix(got, tt.want) {
			t.Errorf("%q: got %s, want %s", tt.lines, got, tt.want)
		}
	}
}

// bench is a loop directive with one server behind it, which passes its questions on to the directive while leads is set.
type bench struct {
	loop   *Loop
	server *upstream.Server
	env    env.Env
	out    *plugintest.Output
	leads  atomic.Bool
	asked  chan string
	exits  atomic.Int64
}

func start(t *testing.T, header, lines string, route message.Name) *bench {
	t.Helper()
	o, err := parse(t, header, lines)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{asked: make(chan string, 1000)}
	var probes upstreamtest.Requests
	back := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if !probes.First(w, m) { // which says nothing of the rhythm, and may come when the reply has been taken
			return
		}
		b.asked <- dns.TypeToString[m.Question[0].Qtype] + " " + strings.ToLower(m.Question[0].Name)
		if b.leads.Load() {
			q := plugintest.Query(t, m)
			q.From, q.Listener = netip.MustParseAddrPort("192.0.2.9:5353"), "dns://:53"
			if v := b.loop.Serve(q, plugintest.Begin(q)); v != message.Done {
				t.Errorf("verdict %d for %v", v, m.Question)
			}
		}
		upstreamtest.Rcode(dns.RcodeServerFailure)(w, m)
	})
	b.server = upstream.New(upstream.Config{Addr: back.Addr, Read: 20 * time.Second, Expire: time.Minute})
	t.Cleanup(b.server.Close)
	e, out := plugintest.Env(t, "loop", journal.Text)
	b.env, b.out = e, out
	if b.loop, err = New(o, e, func() { b.exits.Add(1) }); err != nil {
		t.Fatal(err)
	}
	b.loop.rhythm = rhythm{tick: time.Millisecond, first: []time.Duration{5 * time.Millisecond, 10 * time.Millisecond}, again: 2 * time.Millisecond, most: 8 * time.Millisecond}
	b.loop.Watch(Route{Zone: route, Servers: func() []*upstream.Server { return []*upstream.Server{b.server} }})
	return b
}

func (b *bench) run(t *testing.T) {
	if err := b.loop.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.loop.Stop)
}

// once is a rhythm of one probe for each server that leads back: none is on its way when the loop ends or forgets the server.
var once = rhythm{tick: time.Millisecond, again: time.Hour, most: time.Hour}

// said waits until something is said, which may be a moment after it is so, and returns that.
func (b *bench) said(t testing.TB) (text string) {
	t.Helper()
	upstreamtest.Eventually(t, func() bool {
		text += b.out.Take()
		return strings.HasSuffix(text, "\n")
	})
	return text
}

const root = message.Root

// TestLoop: a server that leads back is out of use until it no longer does.
func TestLoop(t *testing.T) {
	b := start(t, ".:53", "loop", root)
	b.leads.Store(true)
	b.run(t)
	upstreamtest.Eventually(t, func() bool { return b.server.Down(0) })
	gauge := b.loop.disabled.WithLabelValues(b.server.String())
	upstreamtest.Eventually(t, func() bool { return testutil.ToFloat64(gauge) == 1 })
	if got, want := b.server.Disabled(), "upstream "+b.server.String()+" is out of use: it sends questions back here"; got != want {
		t.Errorf("disabled because %q, want %q", got, want)
	}
	for range 5 { // it is asked again, ever more seldom
		<-b.asked
	}
	want := regexp.MustCompile(`^\[ERROR\] plugin/loop: Loop \(192\.0\.2\.9:5353 -> :53\) detected for zone "\.": ` + b.server.String() +
		` sends questions back here\. Nothing is forwarded there until it no longer does; other names go on\. Query: "HINFO \d+\.\d+\."\n$`)
	if said := b.said(t); !want.MatchString(said) {
		t.Errorf("said %q", said)
	}
	b.leads.Store(false)
	upstreamtest.Eventually(t, func() bool { return !b.server.Down(0) })
	upstreamtest.Eventually(t, func() bool { return testutil.ToFloat64(gauge) == 0 })
	if said, want := b.said(t), "[INFO] plugin/loop: "+b.server.String()+" no longer sends questions back here and is forwarded to again\n"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	if b.exits.Load() != 0 {
		t.Error("the process would have ended")
	}
}

// TestNoLoop: a server that does not lead back is probed a few times and left in peace.
func TestNoLoop(t *testing.T) {
	b := start(t, ".:53", "loop", root)
	b.run(t)
	upstreamtest.Eventually(t, func() bool {
		b.loop.mu.Lock()
		defer b.loop.mu.Unlock()
		w := b.loop.states[b.server]
		return w != nil && !w.asking && w.next.IsZero()
	})
	if n := len(b.asked); n < 1 || n > 3 {
		t.Errorf("%d probes", n)
	}
	names := map[string]bool{}
	for len(b.asked) > 0 {
		name := <-b.asked
		if names[name] || !regexp.MustCompile(`^HINFO \d{15,19}\.\d{15,19}\.$`).MatchString(name) {
			t.Errorf("asked %q", name)
		}
		names[name] = true
	}
	if b.server.Down(0) || b.out.Take() != "" {
		t.Error("it is out of use, or something was said")
	}
}

// TestExit: with the option the process ends, with CoreDNS's line.
func TestExit(t *testing.T) {
	b := start(t, "example.org:53", "loop exit", root)
	b.loop.rhythm = once
	b.leads.Store(true)
	b.run(t)
	upstreamtest.Eventually(t, func() bool { return b.exits.Load() > 0 })
	want := regexp.MustCompile(`^\[FATAL\] plugin/loop: Loop \(192\.0\.2\.9:5353 -> :53\) detected for zone "example\.org\.", ` +
		`see https://coredns\.io/plugins/loop#troubleshooting\. Query: "HINFO \d+\.\d+\.example\.org\."\n`)
	if said := b.out.Take(); !want.MatchString(said) {
		t.Errorf("said %q", said)
	}
}

// TestZones: where the probes of a route have their names.
func TestZones(t *testing.T) {
	for _, tt := range []struct{ block, route, want string }{
		{".", ".", "."},
		{".", "example.org.", "example.org."},
		{"example.org.", ".", "example.org."},
		{"example.org.", "other.org.", "none"},
	} {
		zone, err := message.ParseName(tt.route)
		if err != nil {
			t.Fatal(err)
		}
		b := start(t, tt.block+":53", "loop", zone)
		got := "none"
		if name, ok := b.loop.zoneOf(b.loop.routes[0]); ok {
			got = name.String()
		}
		if got != tt.want {
			t.Errorf("block %s, forward %s: %s, want %s", tt.block, tt.route, got, tt.want)
		}
	}
}

// TestServe: nothing but a probe on its way is taken for one, least of all what a client makes up (CVE-2026-26018).
func TestServe(t *testing.T) {
	b := start(t, ".:53", "loop exit", root)
	for _, tt := range []struct {
		name string
		typ  uint16
	}{
		{"1.2.", dns.TypeHINFO}, {"4547991504243258144.3688648895315093531.", dns.TypeHINFO}, {".", dns.TypeHINFO}, {"www.example.", dns.TypeA},
	} {
		q := plugintest.Ask(t, tt.name, tt.typ)
		if v := b.loop.Serve(q, plugintest.Begin(q)); v != message.Next {
			t.Errorf("%s: verdict %d", tt.name, v)
		}
	}
	if b.exits.Load() != 0 || b.server.Down(0) {
		t.Error("a client ended the process, or took a server out of use")
	}
}

// TestTakesItsTime: a probe that comes back after its reply counts too.
func TestTakesItsTime(t *testing.T) {
	b := start(t, ".:53", "loop", root)
	b.loop.rhythm.first = []time.Duration{0}
	b.loop.rhythm.again = time.Hour
	b.run(t)
	name := strings.TrimPrefix(<-b.asked, "HINFO ")
	upstreamtest.Eventually(t, func() bool {
		b.loop.mu.Lock()
		defer b.loop.mu.Unlock()
		return !b.loop.states[b.server].asking
	})
	q := plugintest.Ask(t, name, dns.TypeHINFO)
	if v := b.loop.Serve(q, plugintest.Begin(q)); v != message.Done || !b.server.Down(0) {
		t.Errorf("verdict %d, out of use %v", v, b.server.Down(0))
	}
	b.loop.mu.Lock()
	defer b.loop.mu.Unlock()
	if w := b.loop.states[b.server]; w.next.Before(time.Now()) {
		t.Errorf("probed again at %v", w.next)
	}
}

// TestGone: a server that is not forwarded to any more is forgotten.
func TestGone(t *testing.T) {
	b := start(t, ".:53", "loop", root)
	b.loop.rhythm = once
	b.leads.Store(true)
	var gone atomic.Bool
	b.loop.routes[0].Servers = func() []*upstream.Server {
		if gone.Load() {
			return nil
		}
		return []*upstream.Server{b.server}
	}
	b.run(t)
	upstreamtest.Eventually(t, func() bool { return b.server.Down(0) })
	gone.Store(true)
	upstreamtest.Eventually(t, func() bool {
		b.loop.mu.Lock()
		defer b.loop.mu.Unlock()
		return len(b.loop.states) == 0
	})
	if n := testutil.CollectAndCount(b.loop.disabled); n != 0 {
		t.Errorf("%d servers are shown", n)
	}
}

// TestStop: what was out of use is not shown any more once nobody watches it. Over a reload that is when the successor has
// begun, which may have found the same.
func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name  string
		found bool // by the successor too
		want  int  // series once there is only that
	}{{"mended", false, 0}, {"as before", true, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, ".:53", "loop", root)
			next, err := New(Options{Zone: "."}, b.env, nil)
			if err != nil {
				t.Fatal(err)
			}
			server := upstream.New(upstream.Config{Addr: b.server.Addr(), Read: 20 * time.Second, Expire: time.Minute})
			t.Cleanup(server.Close)
			next.Watch(Route{Zone: root, Servers: func() []*upstream.Server { return []*upstream.Server{server} }})
			b.loop.rhythm = once
			next.rhythm = b.loop.rhythm
			back := func(l *Loop) {
				t.Helper()
				q := plugintest.Ask(t, strings.TrimPrefix(<-b.asked, "HINFO "), dns.TypeHINFO)
				if v := l.Serve(q, plugintest.Begin(q)); v != message.Done {
					t.Errorf("verdict %d", v)
				}
			}
			b.run(t)
			back(b.loop)
			expect := func(series int, when string) {
				t.Helper()
				want := strings.Repeat(fmt.Sprintf("coredns_loop_disabled_upstreams{to=%q} 1\n", b.server), series)
				if want != "" {
					want = "# HELP coredns_loop_disabled_upstreams 1 for each upstream server that is out of use because it sends questions back. Waypost's own.\n" +
						"# TYPE coredns_loop_disabled_upstreams gauge\n" + want
				}
				if err := testutil.CollectAndCompare(next.disabled, strings.NewReader(want)); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			expect(1, "found")
			if err := next.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			if tt.found {
				back(next)
			} else {
				<-b.asked
			}
			expect(1, "both")
			b.loop.Stop()
			expect(tt.want, "the successor alone")
			next.Stop()
			expect(0, "none")
		})
	}
}

// TestStopLate: a probe that comes back after the end changes nothing.
func TestStopLate(t *testing.T) {
	b := start(t, ".:53", "loop", root)
	b.run(t)
	<-b.asked
	b.loop.mu.Lock()
	w := b.loop.states[b.server]
	b.loop.mu.Unlock()
	b.loop.Stop()
	b.loop.found(w, plugintest.Ask(t, "1.2.", dns.TypeHINFO))
	if n := testutil.CollectAndCount(b.loop.disabled); n != 0 || b.server.Down(0) || b.out.Take() != "" {
		t.Errorf("%d servers are shown, out of use %v", n, b.server.Down(0))
	}
}
