package plugin_test

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
	"github.com/waypost/waypost/plugin/plugintest"
)

// These tests try what published vulnerabilities were, from the side of clients. The server's own tests (TestTCPSilentCrowd,
// TestTCPTrickle, TestUDPGarbage) go further into timing; these are against a whole Waypost.

const demoCluster = "kubernetes cluster.local in-addr.arpa ip6.arpa {\nmanifests ../testdata/demo\npods verified\n}"

// TestQuestionLoops: a name whose pointers go in a circle, point forward, or never end is no name.
func TestQuestionLoops(t *testing.T) {
	metrics := free(t)
	s := hosted(t, "prometheus "+metrics+"\nwhoami")
	header := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, name := range []string{
		"\xc0\x0c",         // to itself
		"\xc0\x0e\xc0\x0c", // in a circle
		"\x01a\xc0\x0c",    // longer each time round
		"\xc0\xff",         // beyond the end
		strings.Repeat("\x3f"+strings.Repeat("a", 63), 5) + "\x00", // longer than 255
		"\x40a\x00", "\x80a\x00", // reserved label types
	} {
		reply := exchange(t, s, append(append(append([]byte(nil), header...), name...), 0, 1, 0, 1))
		if rcode := reply[3] & 0xf; rcode != dns.RcodeFormatError || len(reply) > 512 {
			t.Errorf("%q: %x", name, reply)
		}
	}
	if page := fetch(t, "http://"+metrics+"/metrics"); !strings.Contains(page, "\ncoredns_panics_total 0\n") {
		t.Error("something panicked")
	}
}

// TestSilentPeers: connections that say nothing, or one byte, or a length of nothing, or a length and no more, keep nobody
// from being answered. CVE-2017-15133: one idle connection blocked all others.
func TestSilentPeers(t *testing.T) {
	s := hosted(t, "whoami")
	for i := range 400 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		says := []string{"", "\x00", "\x00\x00", "\xff\xff", "\xff\xffabc", "\x00\x01a"}[i%6]
		if _, err := conn.Write([]byte(says)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if reply := ask(t, s, "tcp", "www.example.", dns.TypeA); len(reply.Extra) != 2 {
			t.Errorf("%v", reply)
		}
	}
}

// TestAmplification: a reply over UDP has no more bytes than the client says it takes, ANY and transfers give nothing away,
// and a refusal is no longer than the question.
func TestAmplification(t *testing.T) {
	s := hosted(t, demoCluster+"\nnsid "+strings.Repeat("x", 200))
	for _, name := range []string{"cluster.local.", "svc.cluster.local.", "default.svc.cluster.local.", "web.default.svc.cluster.local.", "myapp.default.svc.cluster.local."} {
		for _, qtype := range []uint16{dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeTXT, dns.TypeSRV, dns.TypeA} {
			for _, size := range []int{0, 512, 600} {
				q := new(dns.Msg).SetQuestion(name, qtype)
				most := 512
				if size > 0 {
					q.SetEdns0(uint16(size), true)
					most = size
				}
				question := pack(t, q)
				reply := exchange(t, s, question)
				rcode, answers := reply[3]&0xf, binary.BigEndian.Uint16(reply[6:])
				transfer := qtype == dns.TypeAXFR || qtype == dns.TypeIXFR
				switch {
				case len(reply) > most:
					t.Errorf("%s %s: %d bytes for a client of %d", name, dns.Type(qtype), len(reply), most)
				case transfer && (rcode != dns.RcodeRefused || len(reply) > len(question)):
					t.Errorf("%s %s: rcode %d, %d bytes for %d", name, dns.Type(qtype), rcode, len(reply), len(question))
				case qtype == dns.TypeANY && answers > 0:
					t.Errorf("%s ANY: %d answers", name, answers)
				}
			}
		}
	}
}

// TestSweep: a tenant learns no names that it does not know already. TOB-K8S-032: zones could be listed.
func TestSweep(t *testing.T) {
	s := hosted(t, demoCluster)
	for _, name := range []string{"*.cluster.local.", "*.default.svc.cluster.local.", "*.*.svc.cluster.local.", "any.any.svc.cluster.local.", "_tcp.default.svc.cluster.local.", "*.default.pod.cluster.local."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeNS, dns.TypeANY, dns.TypeAXFR} {
			if reply := ask(t, s, "tcp", name, qtype); len(reply.Answer) > 0 {
				t.Errorf("%s %s: %v", name, dns.Type(qtype), reply)
			}
		}
	}
}

// TestProbeNames: names like those by which loop finds out whether it is asked by itself end nothing, even where the Corefile
// wants the process to end. CVE-2026-26018: the names could be guessed, and anybody could stop the server.
func TestProbeNames(t *testing.T) {
	file, err := config.Parse("Corefile", []byte(".:0 {\nbind 127.0.0.1\nloop exit\nwhoami\n}"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "", journal.Text)
	c, err := plugin.NewCompiler(plugin.Options{Journal: e.Journal, Exit: func(int) { t.Error("the process ends") }})
	if err != nil {
		t.Fatal(err)
	}
	setup, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	for _, name := range []string{"1.2.", "5577006791947779410.8674665223082153551.", "0.0.", "a.b.", "."} {
		for range 5 {
			ask(t, s, "udp", name, dns.TypeHINFO)
		}
	}
}

// TestPatternsTakeTheirTime: no name makes a pattern or a template work for long, whatever the pattern is.
func TestPatternsTakeTheirTime(t *testing.T) {
	s := hosted(t, `rewrite continue name regex ^(([a-z])+.)+[A-Z]([a-z])+$ {1}x
rewrite continue name regex (.*)(.*)(.*)(.*)(.*)(.*)a(.*)b$ {1}
template IN TXT . {
    match ^((a|a)*)*(.*)*\.$
    answer "{{ .Name }} 60 IN TXT \"{{ .Match }}\""
}
whoami`)
	name := strings.Repeat(strings.Repeat("a", 61)+".", 4)
	begun := time.Now()
	for range 50 {
		var reply *dns.Msg
		if reply = ask(t, s, "udp", name, dns.TypeTXT); reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("%v", reply)
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("50 queries took %v", took)
	}
}
