package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/plugin"
	"github.com/waypost/waypost/server"
)

// serving starts a Corefile of one listener.
func serving(t *testing.T, corefile string) *server.Server {
	t.Helper()
	setup, _, err := compile(t, corefile)
	if err != nil {
		t.Fatal(err)
	}
	return served(t, setup)[0]
}

// served starts a compiled Corefile with its servers, on ports that are free, and ends it with the test.
func served(t *testing.T, setup *plugin.Setup) []*server.Server {
	t.Helper()
	if err := setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(setup.Stop)
	var servers []*server.Server
	for _, l := range setup.Listeners {
		s, err := server.Listen(l.Server)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		servers = append(servers, s)
	}
	return servers
}

func ask(t *testing.T, s *server.Server, network, name string, typ uint16) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 20 * time.Second}
	request := new(dns.Msg).SetQuestion(name, typ)
	request.Id = 4711
	reply, _, err := client.Exchange(request, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// free is an address of the loopback interface that nothing listens on.
func free(t *testing.T) string {
	t.Helper()
	return plugin.FreeAddresses(t, 1)[0]
}

// patient is the block of a forward that waits for replies for longer than a slow machine takes.
const patient = " {\nread_timeout 30s\n}"

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode, " ", string(body))
}

// TestServed asks a whole Corefile over real sockets, and looks at every trace that the questions leave.
func TestServed(t *testing.T) {
	metrics := free(t)
	setup, out, err := compile(t, `
example.org:0 example.com:0 {
    bind 127.0.0.1
    prometheus `+metrics+`
    errors
    log
    whoami
}
nowhere.example.org:0 {
    bind 127.0.0.1
    prometheus `+metrics+`
    errors
    log
}
empty.example.org:0 {
    bind 127.0.0.1
}`)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	tests := []struct {
		network, name string
		rcode, extra  int
	}{
		{"udp", "Www.example.org.", dns.RcodeSuccess, 2},
		{"tcp", "example.com.", dns.RcodeSuccess, 2},
		{"udp", "a.nowhere.example.org.", dns.RcodeServerFailure, 0},
		{"udp", "empty.example.org.", dns.RcodeRefused, 0},
		{"udp", "example.net.", dns.RcodeRefused, 0},
	}
	for _, tt := range tests {
		m := ask(t, s, tt.network, tt.name, dns.TypeA)
		if m.Rcode != tt.rcode || len(m.Extra) != tt.extra {
			t.Errorf("%s: got %v", tt.name, m)
		}
	}

	printed := regexp.MustCompile(`127\.0\.0\.1:\d+|[0-9.]+s\b`).ReplaceAllString(out.text(), "X")
	want := `[WARNING] server block dns://nowhere.example.org.:0 has no last resort: what no directive answers under nowhere.example.org. is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:9)
[WARNING] server block dns://empty.example.org.:0 has no directive that answers: every query is REFUSED (Corefile:15)
[INFO] X - 4711 "A IN www.example.org. udp 33 false 512" NOERROR qr,aa,rd 103 X
[INFO] X - 4711 "A IN example.com. tcp 29 false 65535" NOERROR qr,aa,rd 91 X
[INFO] X - 4711 "A IN a.nowhere.example.org. udp 39 false 512" SERVFAIL qr,rd 39 X
[ERROR] plugin/errors: 2 a.nowhere.example.org. A: plugin/log: no next plugin found
`
	if printed != want {
		t.Errorf("printed:\n%swant:\n%s", printed, want)
	}

	got := regexp.MustCompile(`(?m)^coredns_(dns_responses_total|plugin_enabled).*\n`).FindAllString(fetch(t, "http://"+metrics+"/metrics"), -1)
	wantMetrics := `coredns_dns_responses_total{plugin="",rcode="REFUSED",server="dns://127.0.0.1:0",view="",zone="dropped"} 2
coredns_dns_responses_total{plugin="",rcode="SERVFAIL",server="dns://127.0.0.1:0",view="",zone="nowhere.example.org."} 1
coredns_dns_responses_total{plugin="errors",rcode="NOERROR",server="dns://127.0.0.1:0",view="",zone="example.com."} 1
coredns_dns_responses_total{plugin="errors",rcode="NOERROR",server="dns://127.0.0.1:0",view="",zone="example.org."} 1
coredns_plugin_enabled{name="errors",server="dns://127.0.0.1:0",view="",zone="example.org."} 1
coredns_plugin_enabled{name="errors",server="dns://127.0.0.1:0",view="",zone="nowhere.example.org."} 1
coredns_plugin_enabled{name="log",server="dns://127.0.0.1:0",view="",zone="example.org."} 1
coredns_plugin_enabled{name="log",server="dns://127.0.0.1:0",view="",zone="nowhere.example.org."} 1
coredns_plugin_enabled{name="prometheus",server="dns://127.0.0.1:0",view="",zone="example.org."} 1
coredns_plugin_enabled{name="prometheus",server="dns://127.0.0.1:0",view="",zone="nowhere.example.org."} 1
coredns_plugin_enabled{name="whoami",server="dns://127.0.0.1:0",view="",zone="example.org."} 1
`
	if strings.Join(got, "") != wantMetrics {
		t.Errorf("metrics:\n%swant:\n%s", strings.Join(got, ""), wantMetrics)
	}
}

// TestIdleMetrics: what CoreDNS counts without labels is shown from the start, also of directives that the Corefile has not.
func TestIdleMetrics(t *testing.T) {
	metrics := free(t)
	setup, _, err := compile(t, ".:0 {\nbind 127.0.0.1\nprometheus "+metrics+"\n}")
	if err != nil {
		t.Fatal(err)
	}
	served(t, setup)
	page := fetch(t, "http://"+metrics+"/metrics")
	for _, want := range []string{
		"coredns_forward_healthcheck_broken_total 0", "coredns_forward_max_concurrent_rejects_total 0",
		"coredns_health_request_duration_seconds_count 0", "coredns_health_request_failures_total 0", "coredns_hosts_reload_timestamp_seconds 0",
		"coredns_local_localhost_requests_total 0", "coredns_panics_total 0", "coredns_reload_failed_total 0",
	} {
		if !strings.Contains(page, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
}

// TestEnd: from the moment the process is told to end /ready says so, while /health and the names go on.
func TestEnd(t *testing.T) {
	free := plugin.FreeAddresses(t, 2)
	health, ready := free[0], free[1]
	setup, out, err := compile(t, ".:0 {\nbind 127.0.0.1\nwhoami\nready "+ready+"\nhealth "+health+" {\nlameduck 1h\n}\n}")
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	if got := fetch(t, "http://"+ready+"/ready"); got != "200 OK" {
		t.Errorf("before: /ready says %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		setup.Drain(ctx)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for fetch(t, "http://"+ready+"/ready") != "503 Shutting down" && time.Now().Before(deadline) {
	}
	select {
	case <-ended:
		t.Fatal("lameduck ended at once")
	default:
	}
	if got := fetch(t, "http://"+health+"/health"); got != "200 OK" {
		t.Errorf("draining: /health says %s", got)
	}
	if m := ask(t, s, "udp", "a.", dns.TypeA); len(m.Extra) != 2 {
		t.Errorf("draining: got %v", m)
	}
	cancel()
	<-ended
	if got, want := out.text(), "[INFO] plugin/health: Going into lameduck mode for 1h0m0s\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// TestLameduckOnce: health directives of several blocks wait at the same time, and of those at one address the longest
// counts.
func TestLameduckOnce(t *testing.T) {
	setup, _, err := compile(t, `
a {
    health :1 {
        lameduck 5s
    }
}
b {
    health :1 {
        lameduck 7s
    }
}
c {
    health :2 {
        lameduck 6s
    }
}`)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		setup.Drain(t.Context())
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("draining takes %s", took)
		}
	})
}

// TestFailedStart: what had been started is ended.
func TestFailedStart(t *testing.T) {
	ready := free(t)
	setup, _, err := compile(t, ". {\nready "+ready+"\nhealth 192.0.2.1:1\n}")
	if err != nil {
		t.Fatal(err)
	}
	if err := setup.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `"192.0.2.1:1"`) {
		t.Errorf("got %v", err)
	}
	if _, err := http.Get("http://" + ready + "/ready"); err == nil {
		t.Error("/ready is still served")
	}
}

func TestPanic(t *testing.T) {
	for _, lines := range []string{"errors", "errors {\nstacktrace\n}"} {
		metrics := free(t)
		setup, out, err := compile(t, ".:0 {\nbind 127.0.0.1\nprometheus "+metrics+"\nwhoami\n"+lines+"\n}")
		if err != nil {
			t.Fatal(err)
		}
		if err := setup.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		setup.Listeners[0].Server.Panic("oops", []byte("goroutine 1 [running]:"))
		want := "[ERROR] Recovered from panic in server: \"dns://127.0.0.1:0\" oops"
		if strings.Contains(lines, "stacktrace") {
			want += "\ngoroutine 1 [running]:"
		}
		if got := out.text(); got != want+"\n" {
			t.Errorf("printed %q, want %q", got, want)
		}
		if !strings.Contains(fetch(t, "http://"+metrics+"/metrics"), "\ncoredns_panics_total 1\n") {
			t.Error("the panic is not counted")
		}
		setup.Stop()
	}
}
