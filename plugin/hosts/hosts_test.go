package hosts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/plugintest"
)

// start starts the directive whose lines these are; FILE in them is a file with the text.
func start(t testing.TB, lines, text string) (*hosts.Hosts, *plugintest.Output) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parse(t, strings.ReplaceAll(lines, "FILE", file))
	if err != nil {
		t.Fatal(err)
	}
	e, out := plugintest.Env(t, "hosts", journal.Text)
	h, err := hosts.New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	return h, out
}

// answer is what a directive makes of a question: "next", or the response code, aa and the records.
func answer(t testing.TB, h *hosts.Hosts, question string) string {
	t.Helper()
	name, typ, _ := strings.Cut(question, " ")
	q := plugintest.Ask(t, name, dns.StringToType[typ])
	r := plugintest.Begin(q)
	if h.Serve(q, r) == message.Next {
		if !r.Empty() {
			t.Errorf("%s: passed on with records", question)
		}
		return "next"
	}
	m := plugintest.Message(t, r)
	words := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		words = append(words, "aa")
	}
	for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
		words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(words, " | ")
}

const file = `# a hosts file
10.0.0.1	a.example.org A2.Example.Org. outside.net	# its names
10.0.0.2  a.example.org
fd00::2%eth0 a.example.org
::ffff:10.0.0.3 mapped.example.org
	10.0.0.4 *.wild.example.org
10.0.0.5 own4.wild.example.org
fd00::6 *.wild.example.org
not an address
10.0.0.300 bad.example.org
10.0.0.7
10.0.0.8 a..example.org x.example.org
10.0.0.9 twice.example.org twice.example.org
10.0.0.10 *.example.org * example.org`

func TestServe(t *testing.T) {
	const (
		through = "hosts FILE {\nfallthrough\n}"
		inline  = "hosts FILE {\n10.1.0.1 a.example.org\n10.1.0.2 *.wild.example.org new.example.org\n}"
	)
	tests := []struct{ lines, question, want string }{
		{"hosts FILE", "a.example.org. A", "NOERROR | aa | a.example.org. 3600 IN A 10.0.0.1 | a.example.org. 3600 IN A 10.0.0.2"},
		{"hosts FILE", "a.Example.ORG. AAAA", "NOERROR | aa | a.Example.ORG. 3600 IN AAAA fd00::2"},
		{"hosts FILE", "a2.example.org. A", "NOERROR | aa | a2.example.org. 3600 IN A 10.0.0.1"},
		{"hosts FILE", "a2.example.org. AAAA", "NOERROR | aa"},
		{"hosts FILE", "a2.example.org. TXT", "NOERROR | aa"},
		{"hosts FILE", "mapped.example.org. A", "NOERROR | aa | mapped.example.org. 3600 IN A 10.0.0.3"},
		{"hosts FILE", "twice.example.org. A", "NOERROR | aa | twice.example.org. 3600 IN A 10.0.0.9 | twice.example.org. 3600 IN A 10.0.0.9"},
		{"hosts FILE", "bad.sub.example.org. A", "SERVFAIL"},
		{"hosts FILE", "example.org. A", "NOERROR | aa | example.org. 3600 IN A 10.0.0.10"},
		{"hosts FILE", "outside.net. A", "next"},

		{"hosts FILE", "bad.example.org. A", "NOERROR | aa | bad.example.org. 3600 IN A 10.0.0.10"},
		{"hosts FILE", "b.wild.example.org. A", "NOERROR | aa | b.wild.example.org. 3600 IN A 10.0.0.4"},
		{"hosts FILE", "*.wild.example.org. AAAA", "NOERROR | aa | *.wild.example.org. 3600 IN AAAA fd00::6"},
		{"hosts FILE", "own4.wild.example.org. A", "NOERROR | aa | own4.wild.example.org. 3600 IN A 10.0.0.5"},
		{"hosts FILE", "own4.wild.example.org. AAAA", "NOERROR | aa | own4.wild.example.org. 3600 IN AAAA fd00::6"},
		{"hosts FILE", "b.wild.example.org. MX", "NOERROR | aa"},
		{"hosts FILE", "c.b.wild.example.org. A", "SERVFAIL"},
		{"hosts FILE .", "org. A", "SERVFAIL"},

		{"hosts FILE", "1.0.0.10.in-addr.arpa. PTR", "NOERROR | aa | 1.0.0.10.in-addr.arpa. 3600 IN PTR a.example.org. | 1.0.0.10.in-addr.arpa. 3600 IN PTR a2.example.org."},
		{"hosts FILE", "8.0.0.10.in-addr.arpa. PTR", "NOERROR | aa | 8.0.0.10.in-addr.arpa. 3600 IN PTR x.example.org."},
		{"hosts FILE", "3.0.0.10.in-addr.arpa. PTR", "NOERROR | aa | 3.0.0.10.in-addr.arpa. 3600 IN PTR mapped.example.org."},
		{"hosts FILE", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa. PTR",
			"NOERROR | aa | 2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa. 3600 IN PTR a.example.org."},
		{"hosts FILE", "x.y.z.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR",
			"NOERROR | aa | x.y.z.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 3600 IN PTR a.example.org."},
		{"hosts FILE", "3.0.0.0.0.0.a.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa. PTR",
			"NOERROR | aa | 3.0.0.0.0.0.a.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa. 3600 IN PTR mapped.example.org."},
		{"hosts FILE", "w.x.y.z.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR", "next"},
		{"hosts FILE", "g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR", "next"},
		{"hosts FILE", "01.0.0.10.in-addr.arpa. PTR", "next"},
		{"hosts FILE", "1.0.0.256.in-addr.arpa. PTR", "next"},
		{"hosts FILE", "0.1.0.0.10.in-addr.arpa. PTR", "next"},
		{"hosts FILE", "4.0.0.10.in-addr.arpa. PTR", "next"}, // a wildcard's
		{"hosts FILE", "99.0.0.10.in-addr.arpa. PTR", "next"},
		{"hosts FILE", "a.example.org. PTR", "next"},
		{"hosts FILE", "1.0.0.10.in-addr.arpa. A", "SERVFAIL"},
		{"hosts FILE {\nno_reverse\n}", "1.0.0.10.in-addr.arpa. PTR", "next"},
		{"hosts FILE {\nno_reverse\n}", "a2.example.org. A", "NOERROR | aa | a2.example.org. 3600 IN A 10.0.0.1"},

		{"hosts FILE {\nttl 7\n}", "example.org. A", "NOERROR | aa | example.org. 7 IN A 10.0.0.10"},
		{"hosts FILE {\nttl 7\n}", "8.0.0.10.in-addr.arpa. PTR", "NOERROR | aa | 8.0.0.10.in-addr.arpa. 7 IN PTR x.example.org."},

		{through, "x.y.example.org. A", "next"},
		{through, "a2.example.org. AAAA", "NOERROR | aa"},
		{through, "a2.example.org. TXT", "NOERROR | aa"},
		{through, "outside.net. A", "next"},
		{"hosts FILE {\nfallthrough y.example.org\n}", "x.y.example.org. A", "next"},
		{"hosts FILE {\nfallthrough y.example.org\n}", "x.z.example.org. A", "SERVFAIL"},
		{"hosts FILE {\nfallthrough\nfallthrough_unsupported\n}", "a2.example.org. TXT", "next"},
		{"hosts FILE {\nfallthrough\nfallthrough_unsupported\n}", "a2.example.org. AAAA", "NOERROR | aa"},
		{"hosts FILE {\nfallthrough y.example.org\nfallthrough_unsupported\n}", "a2.example.org. TXT", "NOERROR | aa"},

		{"hosts FILE example.org net", "outside.net. A", "NOERROR | aa | outside.net. 3600 IN A 10.0.0.1"},
		{"hosts FILE net", "a.example.org. A", "next"},
		{"hosts FILE net", "1.0.0.10.in-addr.arpa. PTR", "NOERROR | aa | 1.0.0.10.in-addr.arpa. 3600 IN PTR outside.net."},

		{inline, "new.example.org. A", "NOERROR | aa | new.example.org. 3600 IN A 10.0.0.10 | new.example.org. 3600 IN A 10.1.0.2"},
		{inline, "a.example.org. A", "NOERROR | aa | a.example.org. 3600 IN A 10.0.0.1 | a.example.org. 3600 IN A 10.0.0.2 | a.example.org. 3600 IN A 10.1.0.1"},
		{inline, "own4.wild.example.org. A", "NOERROR | aa | own4.wild.example.org. 3600 IN A 10.0.0.5 | own4.wild.example.org. 3600 IN A 10.1.0.2"},
		{inline, "b.wild.example.org. A", "NOERROR | aa | b.wild.example.org. 3600 IN A 10.0.0.4 | b.wild.example.org. 3600 IN A 10.1.0.2"},
		{inline, "1.0.1.10.in-addr.arpa. PTR", "NOERROR | aa | 1.0.1.10.in-addr.arpa. 3600 IN PTR a.example.org."},
		{"hosts FILE.missing {\n10.1.0.1 a.example.org\n}", "a.example.org. A", "NOERROR | aa | a.example.org. 3600 IN A 10.1.0.1"},
	}
	for _, tt := range tests {
		h, _ := start(t, tt.lines, file)
		if got := answer(t, h, tt.question); got != tt.want {
			t.Errorf("%q, %s:\ngot  %s\nwant %s", tt.lines, tt.question, got, tt.want)
		}
	}
}

func TestServeAllocatesNothing(t *testing.T) {
	h, _ := start(t, "hosts FILE", file)
	for _, question := range []string{"a.example.org. A", "b.wild.example.org. AAAA", "1.0.0.10.in-addr.arpa. PTR", "x.y.example.org. A"} {
		name, typ, _ := strings.Cut(question, " ")
		q := plugintest.Ask(t, name, dns.StringToType[typ])
		out := make([]byte, 0, message.MaxLen)
		var r message.Reply
		if n := testing.AllocsPerRun(100, func() { r.Begin(q, out); h.Serve(q, &r) }); n != 0 {
			t.Errorf("%s: %v allocations", question, n)
		}
	}
}

func TestLongFields(t *testing.T) {
	long := strings.Repeat("x", 1025)
	h, out := start(t, "hosts FILE {\n10.0.0.1 "+long+"\n}", long+" a.example.org\n10.0.0.1 "+long+" b.example.org\n10.0.0.2 "+strings.Repeat("b.example.org ", 10000))
	want := `[ERROR] plugin/hosts: Inline hosts entries, line 1: name longer than 1024 bytes, dropping the name
[ERROR] plugin/hosts: Hosts file "/tmp/hosts", line 1: address longer than 1024 bytes, dropping the line
[ERROR] plugin/hosts: Hosts file "/tmp/hosts", line 2: name longer than 1024 bytes, dropping the name
`
	if got := elsewhere(out.Take()); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	if got := answer(t, h, "b.example.org. A"); !strings.HasPrefix(got, "NOERROR | aa | b.example.org. 3600 IN A 10.0.0.1 | b.example.org. 3600 IN A 10.0.0.2") {
		t.Errorf("got %s", got)
	}
}
