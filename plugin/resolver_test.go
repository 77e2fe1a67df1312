package plugin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/server"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// TestResolver: a question goes through cache and forward to another server, over each transport; the second one does not.
func TestResolver(t *testing.T) {
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if m.Question[0].Qtype != dns.TypeA {
			upstreamtest.Rcode(dns.RcodeRefused)(w, m)
			return
		}
		upstreamtest.Answer(t, m.Question[0].Name+" 300 IN A 192.0.2.1")(w, m)
	})
	metrics := free(t)
	setup, out, err := compile(t, `
.:0 {
    bind 127.0.0.1
    prometheus `+metrics+`
    errors
    hosts {
        192.0.2.9 here.example.
        fallthrough
    }
    cache 30
    forward . `+origin.Addr.String()+patient+`
}`)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	for i, network := range []string{"udp", "tcp"} {
		name := fmt.Sprintf("www%d.example.", i)
		for range 3 {
			if reply := ask(t, s, network, name, dns.TypeA); len(reply.Answer) != 1 || reply.Answer[0].String() != name+"\t30\tIN\tA\t192.0.2.1" || !reply.RecursionAvailable {
				t.Errorf("%s: %v", network, reply)
			}
		}
	}
	if n := origin.Requests.Count(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	if reply := ask(t, s, "udp", "here.example.", dns.TypeA); len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "192.0.2.9") {
		t.Errorf("from hosts: %v", reply)
	}
	if reply := ask(t, s, "udp", "www.example.", dns.TypeMX); reply.Rcode != dns.RcodeRefused {
		t.Errorf("refused by the origin: %v", reply)
	}
	page := fetch(t, "http://"+metrics+"/metrics")
	for _, want := range []string{
		`coredns_cache_hits_total{server="` + setup.Listeners[0].Name + `",type="success",view="",zones="."} 4`,
		`coredns_cache_requests_total{server="` + setup.Listeners[0].Name + `",view="",zones="."} 8`,
		`coredns_proxy_request_duration_seconds_count{proxy_name="forward",rcode="NOERROR",to="` + origin.Addr.String() + `"} 2`,
		`coredns_forward_max_concurrent_rejects_total 0`,
		`coredns_forward_healthcheck_broken_total 0`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s in /metrics", want)
		}
	}
	if text := out.text(); text != "" {
		t.Errorf("said %q", text)
	}
}

// circle starts a server that forwards to itself, but for the names of hosts, and returns what it says, and how it would
// have ended the process.
func circle(t *testing.T, loop string) (*server.Server, *plugintest.Output, chan int) {
	t.Helper()
	exits := make(chan int, 100)
	addr := free(t)
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	file, err := config.Parse("Corefile", []byte(`
.:`+port+` {
    bind 127.0.0.1
    errors
    hosts {
        192.0.2.9 here.example.
        fallthrough
    }
    `+loop+`
    forward . `+addr+`
}`), config.Options{Directives: plugin.Names()})
	if err != nil {
		t.Fatal(err)
	}
	e, out := plugintest.Env(t, "", journal.Text)
	c, err := plugin.NewCompiler(plugin.Options{Journal: e.Journal, Exit: func(status int) { exits <- status }})
	if err != nil {
		t.Fatal(err)
	}
	setup, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return served(t, setup)[0], out, exits
}

// said waits until a line is there.
func said(t *testing.T, out *plugintest.Output, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	text := ""
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if text += out.Take(); strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q was not said, but %q", want, text)
		}
	}
}

// TestLoop: a server that forwards to itself finds that out; other names go on, and names that would go in a circle fail
// with a reason.
func TestLoop(t *testing.T) {
	s, out, exits := circle(t, "loop")
	said(t, out, `[ERROR] plugin/loop: Loop (127.0.0.1:`)
	if reply := ask(t, s, "udp", "here.example.", dns.TypeA); len(reply.Answer) != 1 {
		t.Errorf("other names: %v", reply)
	}
	request := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false)
	reply, _, err := (&dns.Client{Timeout: 20 * time.Second}).Exchange(request, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Rcode != dns.RcodeServerFailure || reply.IsEdns0() == nil || len(reply.IsEdns0().Option) != 1 ||
		!strings.HasSuffix(reply.IsEdns0().Option[0].String(), "is out of use: it sends questions back here)") {
		t.Errorf("a name that goes in a circle: %v", reply)
	}
	if len(exits) > 0 {
		t.Error("the process would have ended")
	}
}

// TestLoopExit: with the option the process ends.
func TestLoopExit(t *testing.T) {
	_, out, exits := circle(t, "loop exit")
	said(t, out, `[FATAL] plugin/loop: Loop (127.0.0.1:`)
	if status := <-exits; status != 1 {
		t.Errorf("status %d", status)
	}
}
