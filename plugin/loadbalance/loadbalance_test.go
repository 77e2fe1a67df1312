package loadbalance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/whole"
)

// step makes the step of the lines.
func step(t testing.TB, lines string) *loadbalance.LoadBalance {
	t.Helper()
	o, err := loadbalance.Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "loadbalance", journal.Text)
	b := loadbalance.New(o, e)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// weightFile writes a weight file.
func weightFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// balance has the step see a reply to q that has the records.
func balance(t testing.TB, b *loadbalance.LoadBalance, q *message.Query, m *dns.Msg) *message.Reply {
	t.Helper()
	r := plugintest.Begin(q)
	if v := b.Serve(q, r); v != message.Next {
		t.Fatalf("verdict %d", v)
	}
	if err := whole.Write(q, r, m); err != nil {
		t.Fatal(err)
	}
	for _, revision := range r.Revisions {
		if v := revision.Revise(q, r); v != message.Done {
			t.Fatalf("verdict %d of the revision", v)
		}
	}
	return r
}

// records makes a reply of records in presentation format, one in each line; a line "authority" or "additional" begins the
// section.
func records(t testing.TB, text string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	section := &m.Answer
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); line {
		case "authority":
			section = &m.Ns
		case "additional":
			section = &m.Extra
		default:
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			*section = append(*section, rr)
		}
	}
	return m
}

// presented is a reply as records takes it.
func presented(m *dns.Msg) string {
	var b strings.Builder
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		if i > 0 && len(section) > 0 {
			b.WriteString([]string{"authority\n", "additional\n"}[i-1])
		}
		for _, rr := range section {
			b.WriteString(strings.ReplaceAll(rr.String(), "\t", " ") + "\n")
		}
	}
	return b.String()
}

// TestRotates: each of three addresses comes first about as often as the others. The bound is five standard deviations.
func TestRotates(t *testing.T) {
	b := step(t, "loadbalance round_robin\nloadbalance")
	var set []byte
	for i := range byte(3) {
		set = message.AppendAddress(set, []byte{192, 0, 2, i}, 5)
	}
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	const rounds = 3000
	first := map[string]int{}
	for range rounds {
		r := plugintest.Begin(q)
		if v := b.Serve(q, r); v != message.Next {
			t.Fatalf("verdict %d", v)
		}
		r.Addresses(message.Answer, message.QuestionAt, set)
		m := plugintest.Message(t, r)
		if len(m.Answer) != 3 {
			t.Fatalf("%d answers", len(m.Answer))
		}
		first[m.Answer[0].String()]++
	}
	for address, n := range first {
		if n < rounds/3-130 || n > rounds/3+130 {
			t.Errorf("%s comes first %d times of %d", address, n, rounds)
		}
	}
	if len(first) != 3 {
		t.Errorf("%d addresses come first", len(first))
	}
}

// TestPrefer has replies of which each record has its place.
func TestPrefer(t *testing.T) {
	for _, tt := range []struct{ name, lines, given, want string }{
		{
			"the first network first", "loadbalance {\nprefer 10.2.0.0/16 10.1.0.0/16\n}",
			`example.org. 5 IN A 10.3.0.1
			example.org. 5 IN A 10.1.0.1
			example.org. 6 IN A 10.2.0.1`,
			`example.org. 6 IN A 10.2.0.1
example.org. 5 IN A 10.1.0.1
example.org. 5 IN A 10.3.0.1
`,
		},
		{
			"several lines, bits behind the network's", "loadbalance round_robin {\nprefer 10.2.3.4/16\nprefer\nprefer fd00::7/64\n}\nloadbalance {\nprefer ::ffff:10.1.0.0/112\n}",
			`example.org. 5 IN A 10.3.0.1
			example.org. 5 IN A 10.1.0.1
			example.org. 5 IN AAAA fd00::1
			example.org. 5 IN A 10.2.0.1`,
			`example.org. 5 IN A 10.2.0.1
example.org. 5 IN AAAA fd00::1
example.org. 5 IN A 10.1.0.1
example.org. 5 IN A 10.3.0.1
`,
		},
		{
			"an IPv4 address in IPv6", "loadbalance {\nprefer ::/0\nprefer 10.0.0.0/8\n}",
			`example.org. 5 IN AAAA ::ffff:11.0.0.1
			example.org. 5 IN AAAA ::ffff:10.0.0.1
			example.org. 5 IN AAAA fd00::1`,
			`example.org. 5 IN AAAA fd00::1
example.org. 5 IN AAAA ::ffff:10.0.0.1
example.org. 5 IN AAAA ::ffff:11.0.0.1
`,
		},
		{
			"aliases, addresses, mail, others", "loadbalance {\nprefer 10.0.0.0/8\n}",
			`example.org. 5 IN TXT "other"
			example.org. 5 IN MX 1 mail.example.org.
			b.example.org. 5 IN A 192.0.2.1
			b.example.org. 5 IN A 10.0.0.1
			example.org. 5 IN CNAME a.example.org.
			a.example.org. 5 IN CNAME b.example.org.`,
			`example.org. 5 IN CNAME a.example.org.
a.example.org. 5 IN CNAME b.example.org.
b.example.org. 5 IN A 10.0.0.1
b.example.org. 5 IN A 192.0.2.1
example.org. 5 IN MX 1 mail.example.org.
example.org. 5 IN TXT "other"
`,
		},
		{
			"addresses of the targets, not of the zone's servers", "loadbalance {\nprefer 10.0.0.0/8\n}",
			`example.org. 5 IN SRV 0 0 80 a.example.org.
			example.org. 5 IN SRV 0 0 80 b.example.org.
			authority
			example.org. 5 IN A 10.0.0.1
			example.org. 5 IN NS ns.example.org.
			additional
			a.example.org. 5 IN A 192.0.2.1
			b.example.org. 5 IN A 10.0.0.1`,
			`example.org. 5 IN SRV 0 0 80 a.example.org.
example.org. 5 IN SRV 0 0 80 b.example.org.
authority
example.org. 5 IN NS ns.example.org.
example.org. 5 IN A 10.0.0.1
additional
b.example.org. 5 IN A 10.0.0.1
a.example.org. 5 IN A 192.0.2.1
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := step(t, tt.lines)
			for range 20 {
				r := balance(t, b, plugintest.Ask(t, "example.org.", dns.TypeA), records(t, tt.given))
				if got := presented(plugintest.Message(t, r)); got != tt.want {
					t.Fatalf("got\n%swant\n%s", got, tt.want)
				}
			}
		})
	}
}

// TestPreferAnswersOnly: what is no good answer is left alone.
func TestPreferAnswersOnly(t *testing.T) {
	m := records(t, "example.org. 5 IN A 192.0.2.1\nexample.org. 5 IN A 10.0.0.1")
	m.Rcode = dns.RcodeNameError
	want := presented(m)
	r := balance(t, step(t, "loadbalance {\nprefer 10.0.0.0/8\n}"), plugintest.Ask(t, "example.org.", dns.TypeA), m)
	if got := presented(plugintest.Message(t, r)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestPreferCut: of an answer that is too much for the client, preferred addresses are what it gets.
func TestPreferCut(t *testing.T) {
	m := new(dns.Msg)
	for i := range 40 {
		m.Answer = append(m.Answer, records(t, fmt.Sprintf("example.org. 5 IN A 10.%d.0.%d", i%2, i)).Answer...)
	}
	for range 20 {
		r := balance(t, step(t, "loadbalance {\nprefer 10.1.0.0/16\n}"), plugintest.Ask(t, "example.org.", dns.TypeA), m)
		reply := plugintest.Message(t, r)
		preferred := slices.IndexFunc(reply.Answer, func(rr dns.RR) bool { return rr.(*dns.A).A[1] == 0 })
		if len(reply.Answer) != (512-12-13-4)/16 || !reply.Truncated || preferred != 20 {
			t.Fatalf("%d addresses, truncated %t, the first %d are preferred", len(reply.Answer), reply.Truncated, preferred)
		}
	}
}

// TestPreferRotates: addresses that are preferred alike, those that are not preferred, and MX records are in random order.
func TestPreferRotates(t *testing.T) {
	b := step(t, "loadbalance {\nprefer 10.0.0.0/8\n}")
	m := records(t, `example.org. 5 IN A 192.0.2.1
		example.org. 5 IN A 192.0.2.2
		example.org. 5 IN A 10.0.0.1
		example.org. 5 IN A 10.0.0.2
		example.org. 5 IN MX 1 a.example.org.
		example.org. 5 IN MX 1 b.example.org.`)
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	const rounds = 3000
	first := map[string]int{}
	for range rounds {
		reply := plugintest.Message(t, balance(t, b, q, m))
		for _, at := range []int{0, 2, 4} {
			first[reply.Answer[at].String()]++
		}
	}
	for record, n := range first {
		if n < rounds/2-140 || n > rounds/2+140 {
			t.Errorf("%s comes first %d times of %d", record, n, rounds)
		}
	}
	if len(first) != 6 {
		t.Errorf("%d records come first", len(first))
	}
}
