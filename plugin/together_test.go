package plugin_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/upstream/upstreamtest"
)

// elsewhere is a server that other names are forwarded to. It writes down what it is asked.
type elsewhere struct {
	mu    sync.Mutex
	heard upstreamtest.Requests
	asked []string
}

// startElsewhere answers from records in presentation format; what has none is NXDOMAIN.
func startElsewhere(t *testing.T, records ...string) (addr string, e *elsewhere) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e = new(elsewhere)
	answers := map[string][]dns.RR{}
	for _, line := range records {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		answers[rr.Header().Name] = append(answers[rr.Header().Name], rr)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		e.note(w, request)
		m := new(dns.Msg).SetReply(request)
		m.RecursionAvailable = true
		name := dns.CanonicalName(request.Question[0].Name)
		for _, rr := range answers[name] {
			if rr.Header().Rrtype == request.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if answers[name] == nil {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return conn.LocalAddr().String(), e
}

// note writes down a question, with its EDNS options, but not that it is sent again as it was, which a slow machine may cause.
func (e *elsewhere) note(w dns.ResponseWriter, request *dns.Msg) {
	q := request.Question[0]
	line := dns.CanonicalName(q.Name) + " " + dns.Type(q.Qtype).String()
	if opt := request.IsEdns0(); opt != nil {
		line += " opt"
		for _, o := range opt.Option {
			line += fmt.Sprintf(" %d=%s", o.Option(), o)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard.First(w, request) {
		e.asked = append(e.asked, line)
	}
}

// take returns what was asked since it was called last.
func (e *elsewhere) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.asked = nil }()
	return strings.Join(e.asked, ", ")
}

// TestTogether has directives work together that see the reply, or ask something else, with answers that take their time.
func TestTogether(t *testing.T) {
	addr, upstream := startElsewhere(t, "a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2", "alias.test. 60 IN CNAME old.test.",
		"new.test. 60 IN A 192.0.2.3", "www.second.test. 60 IN A 192.0.2.4", "www. 60 IN A 192.0.2.5")
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("search first.test second.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setup, out, err := compile(t, `.:0 {
    bind 127.0.0.1
    errors
    log
    nsid me
    bufsize 1000
    dns64 {
        allow_ipv4
    }
    rewrite name to-b.test b.test
    rewrite type TXT A
    rewrite name regex ^dnssec\.(.*)\.$ {1}
    rewrite continue edns0 local set 65001 abc
    rewrite edns0 nsid set
    rewrite cname exact old.test. new.test.
    autopath first.test `+resolv+`
    cache
    template ANY ANY refused.test {
        rcode REFUSED
    }
    forward . `+addr+patient+`
}`)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	tests := []struct {
		name, question string
		typ            uint16
		asked          string // of the other server
		want           string
		logged         string
	}{
		{"another name", "To-B.test.", dns.TypeA, "b.test. A", "NOERROR To-B.test. 60 IN A 192.0.2.2", `"A IN to-b.test. udp 24 false 512" NOERROR qr,rd,ra`},
		{"the same out of the cache", "to-b.test.", dns.TypeA, "", "NOERROR to-b.test. 60 IN A 192.0.2.2", `"A IN to-b.test. udp 24 false 512" NOERROR qr,rd,ra`},
		{"another type", "b.test.", dns.TypeTXT, "", "NOERROR b.test. 60 IN A 192.0.2.2", `"A IN b.test. udp 24 false 512" NOERROR qr,rd,ra`},
		{"options for the other server, none for the client", "a.test.", dns.TypeA, "a.test. A opt 65001=65001:0x616263 3=", "NOERROR a.test. 60 IN A 192.0.2.1",
			`"A IN a.test. udp 46 false 4096" NOERROR qr,rd,ra`},
		{"IPv6 addresses", "to-b.test.", dns.TypeAAAA, "b.test. AAAA", "NOERROR to-b.test. 60 IN AAAA 64:ff9b::c000:202",
			`"A IN to-b.test. udp 24 false 512" NOERROR qr,rd,ra` + "\n" + `"AAAA IN to-b.test. udp 24 false 512" NOERROR qr,rd`},
		{"a search path", "www.first.test.", dns.TypeA, "www.first.test. A opt 65001=65001:0x616263 3=, www.second.test. A opt 65001=65001:0x616263 3=",
			"NOERROR www.first.test. 60 IN CNAME www.second.test. | www.second.test. 60 IN A 192.0.2.4", `"A IN www.first.test. udp 54 false 4096" NOERROR qr,rd,ra`},
		{"a search path behind another name", "dnssec.www.first.test.", dns.TypeA, "www.first.test. A, www.second.test. A",
			"NOERROR www.first.test. 60 IN CNAME www.second.test. | www.second.test. 60 IN A 192.0.2.4",
			`"A IN dnssec.www.first.test. udp 32 false 512" NOERROR qr,rd,ra`},
		{"an error that is written", "x.refused.test.", dns.TypeA, "", "REFUSED", `"A IN x.refused.test. udp 54 false 4096" REFUSED qr,aa,rd`},
		{"an error without", "x.first.test.", dns.TypeA, "x.first.test. A opt 65001=65001:0x616263 3=, x.second.test. A opt 65001=65001:0x616263 3=, x. A opt 65001=65001:0x616263 3=",
			"NXDOMAIN", `"A IN x.first.test. udp 52 false 4096" NXDOMAIN qr,rd,ra`},
	}
	var logged []string
	for _, tt := range tests {
		logged = append(logged, tt.logged)
		got := ask(t, s, "udp", tt.question, tt.typ)
		words := []string{dns.RcodeToString[got.Rcode]}
		for _, rr := range slices.Concat(got.Answer, got.Extra) {
			words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
		}
		if text := strings.Replace(strings.Join(words, " | "), " | ", " ", 1); text != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, text, tt.want)
		}
		if asked := upstream.take(); asked != tt.asked {
			t.Errorf("%s: asked\n     %s\nwant %s", tt.name, asked, tt.asked)
		}
	}
	var lines []string
	for _, line := range regexp.MustCompile(`\[INFO\] \S+ - \d+ (.*?) \d+ [\d.]+s`).FindAllStringSubmatch(out.text(), -1) {
		lines = append(lines, line[1])
	}
	if got, want := strings.Join(lines, "\n"), strings.Join(logged, "\n"); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

// TestPreferredTogether: addresses of a preferred network come first whether the reply is new, from the cache or made by
// dns64, and of one that is too much for the client, all of them go before any other is left out.
func TestPreferredTogether(t *testing.T) {
	var records []string
	for i := range 40 {
		records = append(records, fmt.Sprintf("a.test. 60 IN A 10.%d.0.%d", i%2, i))
	}
	addr, _ := startElsewhere(t, records...)
	s := serving(t, `.:0 {
    bind 127.0.0.1
    dns64 {
        allow_ipv4
    }
    loadbalance {
        prefer 10.1.0.0/16
    }
    cache
    forward . `+addr+patient+`
}`)
	for _, tt := range []struct {
		network string
		typ     uint16
		want    int
	}{{"udp", dns.TypeA, (512 - 12 - 8 - 4) / 16}, {"udp", dns.TypeA, (512 - 12 - 8 - 4) / 16}, {"tcp", dns.TypeA, 40}, {"udp", dns.TypeAAAA, (512 - 12 - 8 - 4) / 28}} {
		got := ask(t, s, tt.network, "a.test.", tt.typ)
		if len(got.Answer) != tt.want || got.Truncated != (tt.want < 40) {
			t.Errorf("%s, %s: %d addresses, truncated %t", tt.network, dns.TypeToString[tt.typ], len(got.Answer), got.Truncated)
		}
		for i, rr := range got.Answer {
			preferred := strings.Contains(rr.String(), "10.1.0.") || strings.Contains(rr.String(), "64:ff9b::a01:")
			if preferred != (i < 20) {
				t.Errorf("%s, %s: at %d stands %s", tt.network, dns.TypeToString[tt.typ], i, rr)
			}
		}
	}
}

// TestNobodyWrote: a SERVFAIL that template leaves to the server is no reply to autopath, and none that dns64 could make a
// better one of.
func TestNobodyWrote(t *testing.T) {
	addr, _ := startElsewhere(t, "y. 60 IN A 192.0.2.9")
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, resolv, "search ap.test nope.ap.test\n")
	s := serving(t, `.:0 {
    bind 127.0.0.1
    dns64 {
        allow_ipv4
    }
    autopath `+resolv+`
    template IN A nope.ap.test {
        rcode SERVFAIL
    }
    template IN AAAA six.test {
        rcode SERVFAIL
    }
    template IN A six.test {
        answer "{{ .Name }} 60 IN A 192.0.2.1"
    }
    forward . `+addr+patient+`
}`)
	for _, tt := range []struct {
		name string
		typ  uint16
		want string
	}{
		{"y.ap.test.", dns.TypeA, "NOERROR | y.ap.test. 60 IN CNAME y. | y. 60 IN A 192.0.2.9"},
		{"six.test.", dns.TypeA, "NOERROR | six.test. 60 IN A 192.0.2.1"},
		{"six.test.", dns.TypeAAAA, "SERVFAIL"},
	} {
		got := ask(t, s, "udp", tt.name, tt.typ)
		words := []string{dns.RcodeToString[got.Rcode]}
		for _, rr := range got.Answer {
			words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
		}
		if text := strings.Join(words, " | "); text != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, text, tt.want)
		}
	}
}

func TestAutopathWithoutPods(t *testing.T) {
	folder := t.TempDir()
	const inert = "[WARNING] plugin/autopath: no effect, as "
	tests := []struct{ lines, want string }{
		{"autopath @kubernetes\nwhoami", inert + "server block dns://.:53 (Corefile:1) has no kubernetes directive (Corefile:2)\n"},
		{"autopath @nosuch\nwhoami", inert + "server block dns://.:53 (Corefile:1) has no nosuch directive (Corefile:2)\n"},
		{"autopath @kubernetes\nkubernetes {\nmanifests " + folder + "\npods insecure\n}",
			inert + "kubernetes in server block dns://.:53 (Corefile:1) has no \"pods verified\" (Corefile:2)\n"},
		{"autopath @kubernetes\nkubernetes {\nmanifests " + folder + "\npods verified\n}", ""},
		{"autopath @whoami\nwhoami", "plugin/autopath: Corefile:2 - Error during parsing: whoami does not implement the AutoPather interface"},
	}
	for _, tt := range tests {
		_, out, err := compile(t, ". {\n"+tt.lines+"\n}")
		got := out.text()
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.lines, got, tt.want)
		}
	}
}

// TestRewrittenTrouble: the line about an error has the name that could not be answered, the line of log the client's.
func TestRewrittenTrouble(t *testing.T) {
	setup, out, err := compile(t, ".:0 {\nbind 127.0.0.1\nerrors\nlog . \"{name} {type} {rcode}\"\nrewrite name a.test b.test\nrewrite rcode c.test SERVFAIL NXDOMAIN\n}")
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	for name, want := range map[string]int{"A.test.": dns.RcodeServerFailure, "c.test.": dns.RcodeNameError} {
		if m := ask(t, s, "tcp", name, dns.TypeA); m.Rcode != want || m.Question[0].Name != name {
			t.Errorf("got %v", m)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.text()), "\n")
	slices.Sort(lines)
	const want = `[ERROR] plugin/errors: 2 b.test. A: plugin/rewrite: no next plugin found
[ERROR] plugin/errors: 3 c.test. A: plugin/rewrite: no next plugin found
[INFO] a.test. A SERVFAIL
[INFO] c.test. A NXDOMAIN
[WARNING] server block dns://.:0 has no last resort: what no directive answers under . is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}
