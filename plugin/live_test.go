package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/plugin/reload"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// live serves a Corefile until the test ends, and fails the test if an answer is missing then.
func live(t testing.TB, text string) *Live {
	t.Helper()
	l, err := newCompiler(t).Serve(t.Context(), parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		l.Stop()
	})
	return l
}

// at is where a listener is.
func (l *Live) at(listener string) netip.AddrPort { return l.servers[listener].Addr() }

func (l *Live) change(t testing.TB, text string) {
	t.Helper()
	if err := l.Replace(t.Context(), parse(t, text)); err != nil {
		t.Fatal(err)
	}
}

// exchange asks for addresses and returns the first, or the response code.
func exchange(network string, at netip.AddrPort, name string) (string, error) {
	client := &dns.Client{Net: network, Timeout: 30 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), at.String())
	switch {
	case err != nil:
		return "", err
	case len(reply.Answer) == 0:
		return dns.RcodeToString[reply.Rcode], nil
	}
	return reply.Answer[0].(*dns.A).A.String(), nil
}

const here = "dns://127.0.0.1:0"

// TestReplaceWaits: a query that waits for an upstream when the Corefile is replaced has its answer from there, though
// nothing is forwarded any more. Only then is the old forward ended, and the next reload can begin.
func TestReplaceWaits(t *testing.T) {
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		select {
		case asked <- struct{}{}:
		default: // it waits for long, and so it is sent again
		}
		<-answer
		upstreamtest.Answer(t, m.Question[0].Name+" 60 IN A 192.0.2.1")(w, m)
	})
	l := live(t, ".:0 {\nbind 127.0.0.1\nforward . "+origin.Addr.String()+" {\nmax_fails 0\nread_timeout 30s\n}\n}")
	at, former := l.at(here), l.setup
	got := make(chan string)
	go func() {
		text, err := exchange("udp", at, "www.example.")
		got <- fmt.Sprint(text, err)
	}()
	<-asked
	l.change(t, ".:0 {\nbind 127.0.0.1\nwhoami\n}")
	if text, err := exchange("udp", at, "www.example."); text != "NOERROR" || err != nil {
		t.Errorf("by the new Corefile: %s, %v", text, err)
	}
	select {
	case <-l.retired:
		t.Error("the old forward has ended while a query waits in it")
	default:
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Replace(ended, parse(t, ".:0 {\n}")); err != context.Canceled {
		t.Errorf("a second reload: %v", err)
	}
	close(answer)
	if text := <-got; text != "192.0.2.1<nil>" {
		t.Errorf("the query that waited: %s", text)
	}
	<-l.retired
	if p := former.parts[0]; p.running {
		t.Errorf("%T still runs", p.value)
	}
}

// TestReplaceKeepsReplies: what is in the cache of a block that stays is answered from there.
func TestReplaceKeepsReplies(t *testing.T) {
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		upstreamtest.Answer(t, m.Question[0].Name+" 300 IN A 192.0.2.1")(w, m)
	})
	text := ".:0 {\nbind 127.0.0.1\ncache 30\nforward . " + origin.Addr.String() + " {\nmax_fails 0\nread_timeout 30s\n}\n}\n"
	l := live(t, text)
	for i, next := range []string{text, "a.:0 {\nbind 127.0.0.1\nwhoami\n}\n" + text, strings.Replace(text, "30", "31", 1)} {
		if got, err := exchange("udp", l.at(here), "www.example."); got != "192.0.2.1" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		if n := origin.Requests.Count(); n != 1 {
			t.Errorf("after %d reloads the origin was asked %d times", i, n)
		}
		l.change(t, next)
	}
	if _, err := exchange("udp", l.at(here), "www.example."); origin.Requests.Count() != 2 || err != nil {
		t.Errorf("with another cache the origin was asked %d times in all, %v", origin.Requests.Count(), err)
	}
}

// TestReplaceKeepsEndpoints: /health, /ready and /metrics answer every request while the Corefile changes, and /ready for
// those directives that are in it by then.
func TestReplaceKeepsEndpoints(t *testing.T) {
	free := FreeAddresses(t, 3)
	health, ready, metrics := free[0], free[1], free[2]
	text := ".:0 {\nbind 127.0.0.1\nwhoami\nhealth " + health + "\nready " + ready + "\nprometheus " + metrics + "\n}\n"
	waiting := strings.Replace(text, "whoami", "kubernetes cluster.local {\nendpoint http://127.0.0.1:1\nstartup_timeout 0s\n}", 1)
	l := live(t, text)
	get := func(url string) string {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + url)
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		return response.Status
	}
	ending := make(chan struct{})
	var asking sync.WaitGroup
	var answers atomic.Int64
	for _, url := range []string{health + "/health", metrics + "/metrics"} {
		asking.Go(func() {
			for {
				if got := get(url); got != "200 OK" {
					t.Errorf("%s: %s", url, got)
				}
				answers.Add(1)
				select {
				case <-ending:
					return
				default:
				}
			}
		})
	}
	for i := range 10 {
		want := "200 OK"
		if i%2 == 0 {
			l.change(t, strings.Replace(waiting, "health "+health, "health "+health+" {\nlameduck 1s\n}", 1))
			want = "503 Service Unavailable"
		} else {
			l.change(t, text)
		}
		if got := get(ready + "/ready"); got != want {
			t.Errorf("/ready says %s, want %s", got, want)
		}
	}
	close(ending)
	asking.Wait()
	t.Logf("%d answers", answers.Load())
}

// TestReplaceWay: /metrics speaks TLS as soon as the Corefile says so, and nothing, rather than plain HTTP, while that names a file
// that is none.
func TestReplaceWay(t *testing.T) {
	identity, metrics := upstreamtest.NewIdentity(t), FreeAddresses(t, 1)[0]
	certificate, key, _ := identity.Files(t)
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("tls_server_config: {cert_file: "+certificate+", key_file: "+key+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := ".:0 {\nbind 127.0.0.1\nwhoami\nprometheus " + metrics + "\n}\n"
	secure := strings.Replace(text, metrics, metrics+" {\ntls "+file+"\n}", 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: identity.Roots}}}
	get := func(scheme string) string {
		response, err := client.Get(scheme + metrics + "/metrics")
		if err != nil {
			return "no answer"
		}
		defer response.Body.Close()
		return response.Status
	}
	l := live(t, text)
	for _, tt := range []struct{ name, text, http, https string }{
		{"plain", text, "200 OK", "no answer"},
		{"TLS", secure, "400 Bad Request", "200 OK"},
		{"another change", "example.org:0 {\nbind 127.0.0.1\nwhoami\n}\n" + secure, "400 Bad Request", "200 OK"},
		{"a file that is none", strings.Replace(secure, file, certificate, 1), "no answer", "no answer"},
		{"no file", strings.Replace(secure, file, "/nowhere", 1), "no answer", "no answer"},
		{"the first one says how", secure + strings.Replace(text, ".:0", "example.org:0", 1), "400 Bad Request", "200 OK"},
		{"plain again", text, "200 OK", "no answer"},
		{"plain, and no file", strings.Replace(secure, file, "/nowhere", 1), "no answer", "no answer"},
	} {
		for range 2 { // the second time begins when the endpoint before has ended
			l.change(t, tt.text)
		}
		if got := get("http://"); got != tt.http {
			t.Errorf("%s: http: %s, want %s", tt.name, got, tt.http)
		}
		if got := get("https://"); got != tt.https {
			t.Errorf("%s: https: %s, want %s", tt.name, got, tt.https)
		}
	}
}

// TestReplaceProfiles: which waits of goroutines are recorded is what the Corefile says that is served, of several server
// blocks the last one, and the profiles are there all the while.
func TestReplaceProfiles(t *testing.T) {
	at := FreeAddresses(t, 1)[0]
	block := func(name, lines string) string { return name + ".:0 {\nbind 127.0.0.1\nwhoami\n" + lines + "}\n" }
	pprof := func(block string) string { return "pprof " + at + " {\n" + block + "}\n" }
	l := live(t, block("a", pprof("block\n")))
	if !recorded(t) {
		t.Error("at first: no wait is recorded")
	}
	for _, tt := range []struct {
		name, corefile string
		want           bool
	}{
		{"without block", block("a", pprof("")), false},
		{"with it again", block("a", pprof("block 1\n")), true},
		{"another server block has none", block("a", pprof("block\n")) + block("b", pprof("")), false},
		{"another server block has it", block("a", pprof("")) + block("b", pprof("block\n")), true},
		{"a rate that is none", block("a", pprof("block -1\n")), false},
		{"with it", block("a", pprof("block\n")), true},
	} {
		l.change(t, tt.corefile)
		if got := recorded(t); got != tt.want {
			t.Errorf("%s: recorded %t", tt.name, got)
		}
		response, err := http.Get("http://" + at + "/debug/pprof/block")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", tt.name, response.Status)
		}
	}
	l.change(t, block("a", ""))
	<-l.retired
	if _, err := http.Get("http://" + at + "/debug/pprof/block"); err == nil || recorded(t) {
		t.Errorf("without the directive: %v, recorded %t", err, recorded(t))
	}
}

// recorded has one of two goroutines wait for the other, and reports whether the process has a record of that.
func recorded(t *testing.T) bool {
	t.Helper()
	waits := func() (n int64) {
		records := make([]runtime.BlockProfileRecord, 1<<14)
		found, ok := runtime.BlockProfile(records)
		if !ok {
			t.Fatalf("%d kinds of waits", found)
		}
		for _, r := range records[:found] {
			for _, frame := range r.Stack() {
				if strings.HasSuffix(runtime.FuncForPC(frame).Name(), ".meet") {
					n += r.Count
				}
			}
		}
		return n
	}
	before := waits()
	meeting, met := make(chan bool), make(chan bool)
	go func() {
		meet(func() { meeting <- true })
		close(met)
	}()
	meet(func() { <-meeting })
	<-met
	return waits() > before
}

// meet is a function that can be told in a stack.
//
//go:noinline
func meet(other func()) { other() }

// FreeAddresses are some of the loopback interface that nothing listens on, no two of them the same. Tests of plugin_test use it
// too.
func FreeAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once all are chosen
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// corefiles are some that differ in everything that can be different, over one cluster and one upstream. The first
// listener is in all of them.
func corefiles(t testing.TB) []string {
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		upstreamtest.Answer(t, m.Question[0].Name+" 0 IN A 192.0.2.1")(w, m)
	})
	objects := filepath.Join(t.TempDir(), "objects.yaml")
	service := "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {clusterIP: 192.0.2.1, ports: [{port: 80}]}}\n"
	if err := os.WriteFile(objects, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: default}}\n---\n"+service), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := "kubernetes cluster.local {\nmanifests " + objects + "\n%s\n}\n"
	forward := "forward . " + origin.Addr.String() + " {\nmax_fails 0\nread_timeout 30s\n%s\n}\n"
	return []string{
		".:0 {\nbind 127.0.0.1\nerrors\nhealth 127.0.0.1:0\nready 127.0.0.1:0\nprometheus 127.0.0.1:0\ncache 30\nloop\n" +
			fmt.Sprintf(cluster+forward, "pods verified", "") + "}\n",
		".:0 {\nbind 127.0.0.1\nhosts /nonexistent {\nfallthrough\n}\nautopath @kubernetes\n" +
			fmt.Sprintf(cluster+forward, "pods verified\nttl 7", "expire 20s") + "}\n",
		".:0 {\nbind 127.0.0.1 127.0.0.2\ncache 30 {\nserve_stale\n}\n" + fmt.Sprintf(cluster+forward, "", "force_tcp") + "}\n",
	}
}

// TestReplaceWithoutTheCluster: a zone that knows nothing, as the API server is away, does not replace one that does. One that
// knows nothing either may.
func TestReplaceWithoutTheCluster(t *testing.T) {
	known := "kubernetes cluster.local {\nmanifests ../testdata/demo\n}"
	unknown := "kubernetes cluster.local {\nendpoint http://127.0.0.1:1\nstartup_timeout 0s\n%s}"
	corefile := func(directive string) string { return ".:0 {\nbind 127.0.0.1\n" + directive + "\n}" }
	const name = "web.default.svc.cluster.local."
	l := live(t, corefile(known))
	l.settling = 50 * time.Millisecond
	was, err := exchange("udp", l.at(here), name)
	if err != nil || !netip.MustParseAddr(was).IsValid() {
		t.Fatal(was, err)
	}
	err = l.Replace(t.Context(), parse(t, corefile(fmt.Sprintf(unknown, ""))))
	if !errors.Is(err, reload.ErrNotYet) {
		t.Errorf("the error is %v", err)
	}
	if got, err := exchange("udp", l.at(here), name); got != was {
		t.Errorf("then %s is %s, %v", name, got, err)
	}
	l.change(t, corefile(known+"\nlog"))
	l.change(t, corefile("log"))
	l.change(t, corefile(fmt.Sprintf(unknown, "")))
	l.change(t, corefile(fmt.Sprintf(unknown, "ttl 7\n")))
	if got, err := exchange("udp", l.at(here), name); got != "SERVFAIL" {
		t.Errorf("at last %s is %s, %v", name, got, err)
	}
}

// TestReplaceUnderLoad replaces the Corefile again and again while clients ask over UDP and TCP, for names of the cluster
// and for forwarded ones. Each of them gets each of its answers.
func TestReplaceUnderLoad(t *testing.T) {
	texts := corefiles(t)
	l := live(t, texts[0])
	at := l.at(here)
	var asked atomic.Int64
	ending := make(chan struct{})
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"web.default.svc.cluster.local.", "www.example."} {
			for range 4 {
				clients.Go(func() {
					for asked.Add(1); ; asked.Add(1) {
						if got, err := exchange(network, at, name); err != nil || got != "192.0.2.1" {
							t.Errorf("%s, %s: %s, %v", network, name, got, err)
							return
						}
						select {
						case <-ending:
							return
						default:
						}
					}
				})
			}
		}
	}
	const reloads = 30
	for i := range reloads {
		for before := asked.Load(); asked.Load() < before+50 && !t.Failed(); { // so that each Corefile is asked
			runtime.Gosched()
		}
		l.change(t, texts[(i+1)%len(texts)])
	}
	close(ending)
	clients.Wait()
	t.Logf("%d questions over %d reloads", asked.Load(), reloads)
}

// TestReplaceLeavesNothing: after many reloads there are no more goroutines than after the first few, and of the Setups that
// were replaced nothing is left in memory. The Corefiles share nothing but a listener. Goroutines are counted while one is served
// that leaves them as they are: the first has a health, which opens a connection to itself after a second.
func TestReplaceLeavesNothing(t *testing.T) {
	texts := corefiles(t)
	texts = append(texts[1:], texts[0])
	l := live(t, texts[0])
	var former []weak.Pointer[Setup]
	rounds := func(n int) {
		for i := range n * len(texts) {
			former = append(former, weak.Make(l.setup))
			l.change(t, texts[(i+1)%len(texts)])
			for _, name := range []string{"web.default.svc.cluster.local.", "www.example."} {
				if got, err := exchange("udp", l.at(here), name); err != nil || got != "192.0.2.1" {
					t.Errorf("%s: %s, %v", name, got, err)
				}
			}
			<-l.retired
		}
	}
	rounds(2)
	goroutines := runtime.NumGoroutine()
	rounds(20)
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > goroutines && time.Now().Before(deadline) { // closed connections take a moment
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before\n%s", n, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	for range 3 { // what is pooled needs two
		runtime.GC()
	}
	left := 0
	for _, p := range former {
		if p.Value() != nil {
			left++
		}
	}
	if left > 0 {
		t.Errorf("%d of %d Setups are left", left, len(former))
	}
}
