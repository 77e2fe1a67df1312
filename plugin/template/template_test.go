package template_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/template"
)

// start makes the step of the lines.
func start(t testing.TB, lines string) (*template.Template, env.Env) {
	t.Helper()
	o, err := parse(t, lines)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "template", journal.Text)
	step, err := template.New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	return step, e
}

// answer is what a step makes of a question: "next", "park", or the response code, aa, the extended error, the records,
// and what went wrong.
func answer(t testing.TB, step *template.Template, q *message.Query) string {
	t.Helper()
	r := plugintest.Begin(q)
	switch step.Serve(q, r) {
	case message.Next:
		return "next"
	case message.Park:
		return "park"
	}
	trouble := r.Err
	m := plugintest.Message(t, r)
	words := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		words = append(words, "aa")
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			e := option.(*dns.EDNS0_EDE)
			words = append(words, fmt.Sprintf("error %d %s", e.InfoCode, e.ExtraText))
		}
	}
	for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
		if rr.Header().Rrtype != dns.TypeOPT {
			words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	if trouble != nil {
		words = append(words, trouble.Error())
	}
	return strings.Join(words, " | ")
}

// ask parses "NAME TYPE", asked with OPT.
func ask(t testing.TB, question string) *message.Query {
	t.Helper()
	name, typ, _ := strings.Cut(question, " ")
	request := new(dns.Msg).SetQuestion(name, dns.StringToType[typ]).SetEdns0(4096, false)
	request.Id = 17
	return plugintest.Query(t, request)
}

func TestServe(t *testing.T) {
	const (
		addresses = `template IN A {
			match ^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]example[.]org[.]$ ^all[.]
			answer "{{ .Name }} 60 IN A 10.0.{{ .Group.a }}.{{ index .Match 2 }}"
		}`
		values = `template IN ANY {
			match ^(?P<first>[a-z]+)
			answer "{{ .Zone }} 1 {{ .Class }} TXT \"{{ .Name }} {{ .Type }} {{ .Regex }} {{ index .Match 0 }} {{ .Group.first }} {{ .Remote }} {{ .Meta \"a/b\" }}\""
			answer "{{ .Question.Name }} 1 IN TXT \"{{ .Message.Id }} {{ .Question.Qtype }}\" {{ parseInt \"1f\" 16 8 }}"
		}`
		sections = `template ANY MX {
			answer "a.org. 60 IN MX 1 b.org." "a.org. 60 IN MX 2 b.org."
			additional "b.org. 60 IN A 192.0.2.1"
			authority "org. 60 IN NS b.org."
			rcode NXDOMAIN
			ederror 15 "Blocked here"
		}`
		expressions = `template IN A {
			match ^(?P<n>[0-9]+)[.]
			var n int(group(1))
			var m n * 2 + len(group('n'))
			expr type() == 'A' && incidr(client_ip(), '192.0.2.0/24')
			expr m > 10
			answer "{{ .Name }} {{ .Var.m }} IN A 192.0.2.1"
			fallthrough
		}
		template IN A {
			rcode NXDOMAIN
		}`
	)
	tests := []struct{ name, lines, question, want string }{
		{"a record", addresses, "ip-1-2.example.org. A", "NOERROR | aa | ip-1-2.example.org. 60 IN A 10.0.1.2"},
		{"any letter case", addresses, "IP-1-2.Example.org. A", "NOERROR | aa | IP-1-2.Example.org. 60 IN A 10.0.1.2"},
		{"ANY", addresses, "ip-1-2.example.org. ANY", "NOERROR | aa | ip-1-2.example.org. 60 IN A 10.0.1.2"},
		{"another type", addresses, "ip-1-2.example.org. AAAA", "next"},
		{"another zone", addresses, "ip-1-2.example.com. A", "next"},
		{"no pattern", addresses, "other.example.org. A", "SERVFAIL"},
		{"the second pattern, whose groups are missing", addresses, "all.example.org. A",
			`SERVFAIL | template: answer:1:43: executing "answer" at <index .Match 2>: error calling index: index out of range: 2`},
		{"no record", addresses, "ip-300-2.example.org. A", `SERVFAIL | dns: bad A A: "10.0.300.2" at line: 1:40`},
		{"all values", values, "abc1.example.org. TXT", `NOERROR | aa | example.org. 1 IN TXT "abc1.example.org. TXT ^(?P<first>[a-z]+) abc abc 192.0.2.7 " | ` +
			`abc1.example.org. 1 IN TXT "17 16" "31"`},
		{"all sections", sections, "x.example.org. MX", "NXDOMAIN | aa | error 15 Blocked here | a.org. 60 IN MX 1 b.org. | a.org. 60 IN MX 2 b.org. | org. 60 IN NS b.org. | b.org. 60 IN A 192.0.2.1"},
		{"expressions", expressions, "9.example.org. A", "NOERROR | aa | 9.example.org. 19 IN A 192.0.2.1"},
		{"expressions that are false", expressions, "1.example.org. A", "NXDOMAIN | aa"},
		{"expressions that fail", "template IN A {\nexpr incidr(name(), '::/0')\nfallthrough\n}", "1.example.org. A", "SERVFAIL"},
		{"variables that fail", "template IN A {\nvar n int(name())\nfallthrough\n}", "1.example.org. A", "SERVFAIL"},
		{"expressions that are no truth", "template IN A {\nexpr size()\nfallthrough\n}", "1.example.org. A", "next"},

		{"no data", "template ANY AAAA {\nrcode NOERROR\n}", "example.org. AAAA", "NOERROR | aa"},
		{"in one line", "template ANY AAAA { rcode NXDOMAIN }", "example.org. AAAA", "NXDOMAIN | aa"},
		{"an error code", "template IN ANY {\nrcode REFUSED\nederror 18\n}", "example.org. AAAA", "REFUSED | aa | error 18 "},
		{"SERVFAIL is nothing else", "template IN ANY {\nrcode SERVFAIL\nederror 1 x\nanswer \"a. 1 IN A 192.0.2.1\"\n}", "example.org. A", "SERVFAIL"},
		{"fallthrough", "template IN A {\nmatch ^a\nrcode REFUSED\nfallthrough\n}\ntemplate IN A {\nrcode NXDOMAIN\n}", "b.example.org. A", "NXDOMAIN | aa"},
		{"no fallthrough there", "template IN A {\nmatch ^a\nfallthrough c.example.org\n}\ntemplate IN A", "b.example.org. A", "SERVFAIL"},
		{"fallthrough there", "template IN A {\nmatch ^a\nfallthrough c.example.org\n}", "b.c.example.org. A", "next"},
		{"the first rule that fits", "template IN A example.com\ntemplate IN AAAA\ntemplate IN ANY {\nrcode NXDOMAIN\n}\ntemplate IN A", "b.example.org. A", "NXDOMAIN | aa"},
		{"the closest zone", "template IN A org b.example.org example.org {\nanswer \"{{ .Zone }} 1 IN A 192.0.2.1\"\n}", "a.b.example.org. A", "NOERROR | aa | b.example.org. 1 IN A 192.0.2.1"},
		{"class CH", "template CH A {\nrcode NXDOMAIN\n}", "example.org. A", "next"},
		{"no text", "template IN A {\nanswer \"{{ if false }}x{{ end }}\"\n}", "example.org. A", "SERVFAIL | the template makes no record"},
		{"a name that is none", "template IN A {\nanswer \"" + strings.Repeat("x", 64) + ". 1 IN A 192.0.2.1\"\n}", "example.org. A",
			`SERVFAIL | dns: bad owner name: "` + strings.Repeat("x", 64) + `." at line: 1:66`},
		{"an alias, for an address", "template IN ANY {\nanswer \"{{ .Name }} 1 IN CNAME b.org.\"\n}", "example.org. A", "park"},
		{"an alias, for another type", "template IN ANY {\nanswer \"{{ .Name }} 1 IN CNAME b.org.\"\n}", "example.org. TXT", "NOERROR | aa | example.org. 1 IN CNAME b.org."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			step, _ := start(t, tt.lines)
			if got := answer(t, step, ask(t, tt.question)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestNoOPT checks that a client without EDNS is told no extended error.
func TestNoOPT(t *testing.T) {
	step, _ := start(t, "template IN A {\nederror 15\nrcode NXDOMAIN\n}")
	if got, want := answer(t, step, plugintest.Ask(t, "example.org.", dns.TypeA)), "NXDOMAIN | aa"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestBy checks who is said to have written the reply: nobody, where the server has to send SERVFAIL.
func TestBy(t *testing.T) {
	for _, tt := range []struct{ name, lines, want string }{
		{"a record", "template IN A {\nanswer \"{{ .Name }} 1 IN A 192.0.2.1\"\n}", "template"},
		{"no record", "template IN A {\nrcode NXDOMAIN\n}", "template"},
		{"an error code", "template IN A {\nrcode REFUSED\n}", "template"},
		{"no pattern", "template IN A {\nmatch ^a\n}", ""},
		{"SERVFAIL", "template IN A {\nrcode SERVFAIL\n}", ""},
		{"SERVFAIL of a pattern", "template IN A {\nmatch ^www\nrcode SERVFAIL\n}", ""},
		{"a template that fails", "template IN A {\nanswer \"{{ index .Match 2 }}\"\n}", ""},
		{"a record that is none", "template IN A {\nauthority \"{{ .Name }} 1 IN A x\"\n}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			step, _ := start(t, tt.lines)
			q := ask(t, "www.example.org. A")
			r := plugintest.Begin(q)
			if step.Serve(q, r); r.By != tt.want {
				t.Errorf("got %q, want %q", r.By, tt.want)
			}
		})
	}
}

func TestPlainAllocatesNothing(t *testing.T) {
	step, _ := start(t, "template ANY AAAA {\nrcode NXDOMAIN\n}")
	q, out := plugintest.Ask(t, "www.example.org.", dns.TypeAAAA), make([]byte, 0, message.MaxLen)
	var r message.Reply
	if n := testing.AllocsPerRun(100, func() { r.Begin(q, out); step.Serve(q, &r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMetrics(t *testing.T) {
	step, e := start(t, `template IN ANY {
		match ^ok
		answer "ok. 1 IN A 192.0.2.1"
		fallthrough
	}
	template IN ANY {
		match ^text
		authority "{{ index .Match 9 }}"
		fallthrough
	}
	template IN ANY {
		additional "{{.Name}} x"
	}`)
	for _, question := range []string{"ok.example.org. A", "ok2.example.org. ANY", "text.example.org. TXT", "record.example.org. TYPE", "record.example.org. AAAA"} {
		q := ask(t, question)
		q.Listener = "dns://:53"
		answer(t, step, q)
	}
	const want = `# HELP coredns_template_matches_total Counter of template regex matches.
# TYPE coredns_template_matches_total counter
coredns_template_matches_total{class="IN",server="dns://:53",type="A",view="",zone="example.org."} 1
coredns_template_matches_total{class="IN",server="dns://:53",type="AAAA",view="",zone="example.org."} 1
coredns_template_matches_total{class="IN",server="dns://:53",type="ANY",view="",zone="example.org."} 1
coredns_template_matches_total{class="IN",server="dns://:53",type="None",view="",zone="example.org."} 1
coredns_template_matches_total{class="IN",server="dns://:53",type="TXT",view="",zone="example.org."} 1
# HELP coredns_template_rr_failures_total Counter of mis-templated RRs.
# TYPE coredns_template_rr_failures_total counter
coredns_template_rr_failures_total{class="IN",section="additional",server="dns://:53",template="{{.Name}} x",type="AAAA",view="",zone="example.org."} 1
coredns_template_rr_failures_total{class="IN",section="additional",server="dns://:53",template="{{.Name}} x",type="None",view="",zone="example.org."} 1
# HELP coredns_template_template_failures_total Counter of go template failures.
# TYPE coredns_template_template_failures_total counter
coredns_template_template_failures_total{class="IN",section="authority",server="dns://:53",template="{{index .Match 9}}",type="TXT",view="",zone="example.org."} 1
`
	if err := testutil.GatherAndCompare(e.Metrics.(prometheus.Gatherer), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// FuzzServe asks for any name: what comes of it can be read.
func FuzzServe(f *testing.F) {
	f.Add("ip-1-2.example.org", uint16(1))
	f.Add(`a\000b"\\.{{.}}`, uint16(255))
	f.Add("\"\n;(", uint16(16))
	step, _ := start(f, `template IN ANY . {
		match ^(?P<first>[^.]*)\.(?P<rest>.*)$ .*
		var n len(group(0)) + len(name())
		expr n > 0
		answer "{{ .Name }} {{ .Var.n }} IN TXT \"{{ .Group.first }}\" {{ .Group.rest }} {{ .Question.Name }}"
		authority "{{ .Name }} 5 IN NS {{ .Group.rest }}"
		additional "{{ .Group.first }} 5 IN A 192.0.2.1"
	}`)
	f.Fuzz(func(t *testing.T, label string, typ uint16) {
		label = label[:min(len(label), 63)]
		if label == "" {
			label = "x"
		}
		packet := append([]byte{0, 17, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, byte(len(label))}, label...)
		packet = append(packet, "\x07example\x00"...)
		packet = binary.BigEndian.AppendUint16(packet, typ)
		packet = append(packet, 0, 1)
		var q message.Query
		if q.Parse(packet) != message.Accepted {
			return
		}
		r := plugintest.Begin(&q)
		if step.Serve(&q, r) != message.Done {
			t.Error("not answered")
		}
		if r.Err == nil == (r.Rcode == message.ServFail) {
			t.Errorf("%v and %d", r.Err, r.Rcode)
		}
		plugintest.Message(t, r)
	})
}
