package forward

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// silent is a server that reads questions and counts them, each once, though it is sent again after a while.
type silent struct {
	*upstreamtest.Liar
	counts chan int // of questions, when a mark is read
}

func startSilent(t testing.TB) *silent {
	heard, counts := map[string]bool{}, make(chan int, 1)
	return &silent{counts: counts, Liar: upstreamtest.StartLiar(t, func(_ *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		if len(packet) > 0 {
			heard[from.String()+string(packet)] = true
			return
		}
		counts <- len(heard)
		clear(heard)
	})}
}

// asked is how many questions have been sent to it since the last call: all that come before a mark, which is an empty datagram.
func (s *silent) asked() int {
	s.Send(nil, s.Addr)
	return <-s.counts
}

// closed is an address where nobody listens.
func closed(t testing.TB) netip.AddrPort {
	l := upstreamtest.StartLiar(t, func(*upstreamtest.Liar, []byte, netip.AddrPort) {})
	l.Close()
	return l.Addr
}

func TestFailures(t *testing.T) {
	good := server(t, "192.0.2.1")
	quiet := startSilent(t)
	for _, tt := range []struct {
		name  string
		lines string
		want  string // of an error, its end
		asked int    // how often the silent server was asked
	}{
		{"nobody listens", "forward . " + closed(t).String(), ": read: connection refused", 0},
		{"nobody answers", "forward . " + quiet.Addr.String() + " {\nread_timeout 100ms\n}", "->" + quiet.Addr.String() + ": i/o timeout", 2},
		{"nobody answers, one attempt", "forward . " + quiet.Addr.String() + " {\nread_timeout 100ms\nmax_connect_attempts 1\n}", ": i/o timeout", 1},
		{"nobody answers, five attempts", "forward . " + quiet.Addr.String() + " {\nread_timeout 100ms\nmax_connect_attempts 5\n}", ": i/o timeout", 5},
		{"the next one answers", "forward . " + quiet.Addr.String() + " " + good.Addr.String() + " {\nread_timeout 1s\npolicy sequential\n}", "NOERROR 192.0.2.1", 1},
		{"the third one answers", "forward . " + closed(t).String() + " " + quiet.Addr.String() + " " + good.Addr.String() + " {\nread_timeout 1s\npolicy sequential\n}", "NOERROR 192.0.2.1", 1},
		{"the third one would answer", "forward . " + closed(t).String() + " " + quiet.Addr.String() + " " + good.Addr.String() + " {\nread_timeout 100ms\npolicy sequential\nmax_connect_attempts 2\n}", ": i/o timeout", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, strings.Replace(tt.lines, "{\n", "{\nmax_fails 0\n", 1))
			got := b.ask(t, "www.example.")
			if !strings.HasSuffix(got, tt.want) || strings.HasPrefix(tt.want, "N") != strings.HasPrefix(got, "N") {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if n := quiet.asked(); n != tt.asked {
				t.Errorf("the silent server was asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// TestExtendedErrors: a client with EDNS hears what kind of failure it was.
func TestExtendedErrors(t *testing.T) {
	b := start(t, "forward . "+closed(t).String()+" {\nmax_fails 0\n}")
	request := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false)
	if got := b.send(t, plugintest.Query(t, request)).wait(); !strings.HasPrefix(got, "SERVFAIL 23 (Network Error)") {
		t.Errorf("got %s", got)
	}
	for _, server := range b.steps[0].servers.all() {
		server.Disable("it leads back")
	}
	if got, want := b.send(t, plugintest.Query(t, request)).wait(), "SERVFAIL 0 (Other): (it leads back): it leads back"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNextAndFailover(t *testing.T) {
	one, nx, failing, refusing := server(t, "192.0.2.1"), rcode(t, dns.RcodeNameError), rcode(t, dns.RcodeServerFailure), rcode(t, dns.RcodeRefused)
	empty := rcode(t, dns.RcodeSuccess)
	for _, tt := range []struct{ name, lines, want string }{
		{"next", lines(".", upstreams{nx}, "next SERVFAIL NXDOMAIN") + "\n" + lines(".", upstreams{one}), "NOERROR 192.0.2.1"},
		{"next, for another code", lines(".", upstreams{nx}, "next SERVFAIL") + "\n" + lines(".", upstreams{one}), "NXDOMAIN"},
		{"next, without one", lines(".", upstreams{nx}, "next NXDOMAIN"), "NXDOMAIN"},
		{"next, and the last one too", lines(".", upstreams{nx}, "next NXDOMAIN") + "\n" + lines(".", upstreams{refusing}, "next REFUSED"), "REFUSED"},
		{"next_on_nodata", lines(".", upstreams{empty}, "next_on_nodata") + "\n" + lines(".", upstreams{one}), "NOERROR 192.0.2.1"},
		{"without next_on_nodata", lines(".", upstreams{empty}) + "\n" + lines(".", upstreams{one}), "NOERROR"},
		{"next_on_nodata, with data", lines(".", upstreams{one}, "next_on_nodata") + "\n" + lines(".", upstreams{nx}), "NOERROR 192.0.2.1"},
		{"failover", lines(".", upstreams{failing, one}, "failover SERVFAIL", "policy sequential"), "NOERROR 192.0.2.1"},
		{"failover, for another code", lines(".", upstreams{failing, one}, "failover REFUSED", "policy sequential"), "SERVFAIL"},
		{"failover, twice", lines(".", upstreams{failing, refusing, one}, "failover SERVFAIL REFUSED", "policy sequential"), "NOERROR 192.0.2.1"},
		{"failover, and nobody is better", lines(".", upstreams{failing, refusing}, "failover SERVFAIL REFUSED", "policy sequential"), "REFUSED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := start(t, tt.lines).ask(t, "www.example."); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	var all upstreams
	for i := range 4 {
		all = append(all, server(t, fmt.Sprintf("192.0.2.%d", i)))
	}
	const rounds = 400
	for _, tt := range []struct {
		policy string
		least  int // each server is asked at least and at most so often
		most   int
	}{{"random", 50, 150}, {"round_robin", 100, 100}} {
		counts := map[string]int{}
		b := start(t, lines(".", all, "policy "+tt.policy))
		for range rounds {
			counts[b.ask(t, "www.example.")]++
		}
		for answer, n := range counts {
			if n < tt.least || n > tt.most {
				t.Errorf("%s: %s %d times of %d", tt.policy, answer, n, rounds)
			}
		}
		if len(counts) != len(all) {
			t.Errorf("%s: %v", tt.policy, counts)
		}
	}
	b := start(t, lines(".", all, "policy sequential"))
	for range 20 {
		if got := b.ask(t, "www.example."); got != "NOERROR 192.0.2.0" {
			t.Errorf("sequential: %s", got)
		}
	}
}

// TestSuspects: where the order is left to chance, a server that failed is not asked first again before it has replied to
// a probe; in sequence it is.
func TestSuspects(t *testing.T) {
	for _, tt := range []struct {
		policy string
		asked  int
	}{{"random", 1}, {"round_robin", 1}, {"sequential", 11}} {
		gone := closed(t).String()
		b := start(t, "forward . "+gone+" "+server(t, "192.0.2.1").Addr.String()+" {\nread_timeout 30s\nmax_fails 100000\nhealth_check 1h\npolicy "+tt.policy+"\n}")
		for b.steps[0].servers.all()[0].Suspect() == false {
			if got := b.ask(t, "www.example."); got != "NOERROR 192.0.2.1" {
				t.Fatalf("%s: got %s", tt.policy, got)
			}
		}
		for range 10 {
			b.ask(t, "www.example.")
		}
		opened := testutil.ToFloat64(b.steps[0].metrics.servers.Misses.WithLabelValues("forward", gone, "udp"))
		if int(opened) != tt.asked { // each question has a port, which its failure closes; a probe is not counted
			t.Errorf("%s: the server that failed was asked %v times, want %d", tt.policy, opened, tt.asked)
		}
	}
}

// TestOutOfUse: a server whose probes fail is not asked, as long as there is another one; when all are, any is tried, or
// with failfast none.
func TestOutOfUse(t *testing.T) {
	gone, good := closed(t), server(t, "192.0.2.1").Addr
	for _, tt := range []struct {
		name   string
		lines  string
		want   string
		asked  int // of the questions, how many went to the server that is out of use
		broken int
	}{
		{"another one is there", fmt.Sprintf("forward . %s %s {\npolicy sequential\nhealth_check 1ms\n}", gone, good), "NOERROR 192.0.2.1", 0, 0},
		{"none is there", fmt.Sprintf("forward . %s {\nhealth_check 1ms\n}", gone), "SERVFAIL: read udp", 1, 1},
		{"none is there, failfast", fmt.Sprintf("forward . %s {\nhealth_check 1ms\nfailfast_all_unhealthy_upstreams\n}", gone), "SERVFAIL: no healthy proxies", 0, 1},
		{"max_fails 0", fmt.Sprintf("forward . %s %s {\npolicy sequential\nhealth_check 1ms\nmax_fails 0\n}", gone, good), "NOERROR 192.0.2.1", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, tt.lines)
			f := b.steps[0]
			f.servers.all()[0].Check()
			upstreamtest.Eventually(t, func() bool { return f.servers.all()[0].Down(2) })
			if got := b.ask(t, "www.example."); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			opened := testutil.ToFloat64(f.metrics.servers.Misses.WithLabelValues("forward", gone.String(), "udp"))
			if int(opened) != tt.asked {
				t.Errorf("the server was asked %v times, want %d", opened, tt.asked)
			}
			if broken := testutil.ToFloat64(f.metrics.broken); int(broken) != tt.broken {
				t.Errorf("coredns_forward_healthcheck_broken_total is %v, want %d", broken, tt.broken)
			}
			if n := testutil.ToFloat64(f.metrics.servers.Failures.WithLabelValues("forward", gone.String())); n < 3 {
				t.Errorf("coredns_proxy_healthcheck_failures_total is %v", n)
			}
		})
	}
}

// TestProbes: a server that failed is probed, as the options say; without max_fails it is not.
func TestProbes(t *testing.T) {
	probed := make(chan string, 100)
	s := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if m.Question[0].Qtype != dns.TypeNS {
			return // so that it fails
		}
		probed <- fmt.Sprintf("%s %s %v", w.RemoteAddr().Network(), m.Question[0].Name, m.RecursionDesired)
		upstreamtest.Rcode(dns.RcodeRefused)(w, m)
	})
	for _, tt := range []struct{ options, want string }{
		{"", "udp . true"},
		{"health_check 1s no_rec", "udp . false"},
		{"health_check 1s domain example.org", "udp example.org. true"},
		{"force_tcp", "tcp . true"},
	} {
		b := start(t, "forward . "+s.Addr.String()+" {\nread_timeout 10ms\nmax_connect_attempts 1\n"+tt.options+"\n}")
		b.ask(t, "www.example.")
		if got := <-probed; got != tt.want {
			t.Errorf("%q: probed by %s, want %s", tt.options, got, tt.want)
		}
		upstreamtest.Eventually(t, func() bool { return !b.steps[0].servers.all()[0].Suspect() })
	}
	b := start(t, "forward . "+s.Addr.String()+" {\nread_timeout 10ms\nmax_connect_attempts 1\nmax_fails 0\n}")
	b.ask(t, "www.example.")
	if b.steps[0].servers.all()[0].Suspect() {
		t.Error("it is probed with max_fails 0")
	}
}
