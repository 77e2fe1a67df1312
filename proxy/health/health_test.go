package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// quiet drops log lines.
var quiet = slog.New(slog.DiscardHandler)

// clock is a time that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// get asks over a connection of its own.
func get(t *testing.T, url string) (code int, header http.Header, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// start serves on a port of the loopback interface until the test ends, and returns the URL.
func start(t *testing.T, h http.Handler) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{Name: "the test", Address: "127.0.0.1:0", Handler: h, Log: quiet}
	at, done := l.Start(ctx)
	if at == nil {
		t.Fatal("nothing listens")
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + at.String()
}

func TestStatus(t *testing.T) {
	time0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := &clock{now: time0}
	var node *cluster.Node
	state := NewState(Options{
		Timeout: time.Minute, Families: []string{"IPv4"}, Waiting: []cluster.Kind{cluster.KindService, cluster.KindSlice},
		Node: func() *cluster.Node { return node }, Now: now.read,
	})
	codes := map[string]int{}
	status := &Status{
		State:   state,
		Healthz: func(code int) { codes[fmt.Sprint("healthz ", code)]++ },
		Livez:   func(code int) { codes[fmt.Sprint("livez ", code)]++ },
	}
	url := start(t, status.Handler())
	const times = `{"lastUpdated":"%s","currentTime":"%s",`
	for _, step := range []struct {
		name                string
		do                  func()
		healthz, livez      int
		updated, at, report string // as /healthz says it
	}{
		{"at the start", func() {}, 503, 200, "0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
			`"nodeEligible":false,"healthy":true,"waiting":"for all services, endpointslices to be known"}`},
		{"the API server is away", func() { state.Answered("connection refused") }, 503, 200, "0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
			`"nodeEligible":false,"healthy":true,"waiting":"for all services, endpointslices to be known","api":"no answer since 2026-01-01T00:00:00Z: connection refused"}`},
		{"all is known", func() {
			state.Answered("")
			state.Synced(cluster.KindService)
			state.Synced(cluster.KindSlice)
			state.Synced(cluster.KindNode)
			node = &cluster.Node{Name: "a"}
		}, 503, 200, "0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
			`"nodeEligible":true,"healthy":true,"waiting":"for the first routes to be in the kernel"}`},
		{"routes are there", state.Updated, 200, 200, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
			`"nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`},
		{"nothing happens for an hour", func() { now.move(time.Hour) }, 200, 200, "2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z",
			`"nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`},
		{"the API server is away again: routes stay", func() { state.Answered("i/o timeout") }, 200, 200, "2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z",
			`"nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}},"api":"no answer since 2026-01-01T01:00:00Z: i/o timeout"}`},
		{"the node leaves", func() { state.Answered(""); node = &cluster.Node{Name: "a", Leaving: true} }, 503, 200, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z",
			`"nodeEligible":false,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`},
		{"the node is gone", func() { node = nil }, 503, 200, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z",
			`"nodeEligible":false,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`},
		{"a change waits", func() { node = &cluster.Node{Name: "a"}; state.Queued(); now.move(59 * time.Second); state.Queued() }, 200, 200, "2026-01-01T01:00:59Z", "2026-01-01T01:00:59Z",
			`"nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`},
		{"for too long", func() { now.move(time.Second) }, 503, 503, "2026-01-01T00:00:00Z", "2026-01-01T01:01:00Z",
			`"nodeEligible":true,"healthy":false,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":false}}}`},
		{"it is there", state.Updated, 200, 200, "2026-01-01T01:01:00Z", "2026-01-01T01:01:00Z",
			`"nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T01:01:00Z","healthy":true}}}`},
	} {
		step.do()
		code, header, body := get(t, url+"/healthz")
		if want := fmt.Sprintf(times, step.updated, step.at) + step.report + "\n"; code != step.healthz || body != want {
			t.Errorf("%s: /healthz is %d\n%swant %d\n%s", step.name, code, body, step.healthz, want)
		}
		if header.Get("Content-Type") != "application/json" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the header is %v", step.name, header)
		}
		code, _, body = get(t, url+"/livez")
		if code != step.livez || strings.Contains(body, "nodeEligible") || !json.Valid([]byte(body)) {
			t.Errorf("%s: /livez is %d, %s; want %d", step.name, code, body, step.livez)
		}
	}
	if codes["healthz 200"] != 5 || codes["healthz 503"] != 6 || codes["livez 200"] != 10 || codes["livez 503"] != 1 {
		t.Errorf("the codes were %v", codes)
	}
}

// freePorts returns two ports that nothing listens on. They are not the same.
func freePorts(t *testing.T) (one, two uint16) {
	t.Helper()
	var all [2]uint16
	for i := range all {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once both are chosen
		all[i] = uint16(l.Addr().(*net.TCPAddr).Port)
	}
	return all[0], all[1]
}

func newChecks(t *testing.T) (*Checks, *State) {
	state := NewState(Options{Timeout: time.Minute, Node: func() *cluster.Node { return nil }})
	c := NewChecks(state, quiet)
	c.Limit([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	t.Cleanup(c.Close)
	return c, state
}

func TestChecks(t *testing.T) {
	c, _ := newChecks(t)
	web := cluster.Key{Namespace: "prod", Name: "web"}
	one, two := freePorts(t)
	url := func(port uint16) string { return fmt.Sprintf("http://127.0.0.1:%d/", port) }

	c.Set([]proxy.HealthCheck{{Service: web, Port: one, Local: 2}})
	code, header, body := get(t, url(one)+"healthz")
	const want = "{\n\t\"service\": {\n\t\t\"namespace\": \"prod\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"
	if code != 200 || body != want {
		t.Errorf("with two endpoints: %d\n%s\nwant:\n%s", code, body, want)
	}
	if header.Get("X-Load-Balancing-Endpoint-Weight") != "2" || header.Get("Content-Type") != "application/json" {
		t.Errorf("the header is %v", header)
	}

	c.Set([]proxy.HealthCheck{{Service: web, Port: one}})
	if code, _, body := get(t, url(one)); code != 503 || !strings.Contains(body, `"localEndpoints": 0`) {
		t.Errorf("without an endpoint: %d\n%s", code, body)
	}

	c.Set([]proxy.HealthCheck{{Service: web, Port: two, Local: 1}})
	if code, _, _ := get(t, url(two)); code != 200 {
		t.Errorf("on another port: %d", code)
	}
	if _, err := http.Get(url(one)); err == nil {
		t.Error("the old port still answers")
	}

	// One Service's port becomes another's, whichever is told of first.
	api := cluster.Key{Namespace: "prod", Name: "api"}
	c.Set([]proxy.HealthCheck{{Service: api, Port: two, Local: 1}, {Service: web}})
	if _, _, body := get(t, url(two)); !strings.Contains(body, `"name": "api"`) {
		t.Errorf("the port's answer is\n%s", body)
	}

	c.Set([]proxy.HealthCheck{{Service: api}})
	if _, err := http.Get(url(two)); err == nil {
		t.Error("a port without a Service answers")
	}
}

func TestChecksOfAnUnhealthyProxy(t *testing.T) {
	now := &clock{}
	state := NewState(Options{Timeout: time.Minute, Node: func() *cluster.Node { return nil }, Now: now.read})
	c := NewChecks(state, quiet)
	defer c.Close()
	c.Limit([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	now.move(time.Hour)
	state.Queued()
	now.move(time.Hour)
	port, _ := freePorts(t)
	c.Set([]proxy.HealthCheck{{Service: cluster.Key{Namespace: "prod", Name: "web"}, Port: port, Local: 1}})
	code, _, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port))
	if code != 503 || !strings.Contains(body, `"localEndpoints": 1,`) || !strings.Contains(body, `"serviceProxyHealthy": false`) {
		t.Errorf("%d\n%s", code, body)
	}
}

// TestChecksOnNodePortAddresses: an address that NodePorts are not open on gives no answer, and the ranges may change.
func TestChecksOnNodePortAddresses(t *testing.T) {
	c, _ := newChecks(t)
	port, _ := freePorts(t)
	c.Limit([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
	c.Set([]proxy.HealthCheck{{Service: cluster.Key{Namespace: "prod", Name: "web"}, Port: port, Local: 1}})
	if code, _, _ := get(t, fmt.Sprintf("http://127.0.0.2:%d/", port)); code != 200 {
		t.Errorf("on an address in the ranges: %d", code)
	}
	if resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
		t.Errorf("on another address: %s", resp.Status)
	}
	c.Limit([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	if code, _, _ := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); code != 200 {
		t.Errorf("on an address that is in the ranges now: %d", code)
	}
}

// TestTakenPort: a port that somebody else has is taken as soon as it is free.
func TestTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tried := make(chan struct{}, 1)
	l := &Listener{
		Name: "the test", Address: taken.Addr().String(), Handler: http.NotFoundHandler(), Retry: time.Millisecond,
		Log: slog.New(tell{tried}),
	}
	at, done := l.Start(ctx)
	if at != nil {
		t.Fatalf("it listens on %s", at)
	}
	<-tried
	taken.Close()
	for code := 0; code != 404; {
		if resp, err := http.Get("http://" + l.Address); err == nil {
			code = resp.StatusCode
			resp.Body.Close()
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHardFail(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := &Listener{Name: "metrics", Address: taken.Addr().String(), HardFail: true, InUse: "is it B?", Log: quiet}
	_, done := l.Start(context.Background())
	want := fmt.Sprintf("serve metrics on %s: listen tcp %[1]s: bind: address already in use; is it B?", l.Address)
	if err := <-done; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// tell is a log handler that says when there was a line.
type tell struct{ line chan struct{} }

func (tell) Enabled(context.Context, slog.Level) bool { return true }
func (h tell) Handle(context.Context, slog.Record) error {
	select {
	case h.line <- struct{}{}:
	default:
	}
	return nil
}
func (h tell) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h tell) WithGroup(string) slog.Handler      { return h }
