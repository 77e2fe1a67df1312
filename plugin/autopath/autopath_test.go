package autopath_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/autopath"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/plugintest"
)

// Pods and the kubernetes directive are in testdata/scenarios/autopath.txt.

// start makes the step of the lines.
func start(t testing.TB, lines, text string) (*autopath.AutoPath, env.Env) {
	t.Helper()
	o, err := parse(t, lines, text)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "autopath", journal.Text)
	a, err := autopath.New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	return a, e
}

// answers is what the steps behind have for a name: a response code, a bar and records, or "error" and its text. In place
// of a name's owner stands an @.
type answers map[string]string

// serve does what the server does with a query, and returns the names that were asked for, and the reply.
func serve(t testing.TB, a *autopath.AutoPath, q *message.Query, has answers) (asked []string, r *message.Reply) {
	t.Helper()
	r = plugintest.Begin(q)
	verdict := a.Serve(q, r)
	for verdict == message.Next {
		name := string(message.AppendName(nil, q.Name()))
		asked = append(asked, name)
		has.write(t, strings.ToLower(name), q, r)
		verdict = message.Done
		for _, v := range slices.Backward(r.Revisions) {
			if verdict = v.Revise(q, r); verdict != message.Done {
				break
			}
		}
	}
	return asked, r
}

func (has answers) write(t testing.TB, name string, q *message.Query, r *message.Reply) {
	t.Helper()
	text, ok := has[name]
	if !ok {
		text = "NXDOMAIN"
	}
	words := strings.Split(text, "|")
	if code, text, ok := strings.Cut(words[0], " error "); ok {
		r.Fail(message.Rcode(dns.StringToRcode[code]))
		r.Err = errors.New(text)
		return
	}
	code, by, _ := strings.Cut(words[0], " by ")
	r.Rcode, r.By = message.Rcode(dns.StringToRcode[code]), by
	for _, line := range words[1:] {
		rr, err := dns.NewRR(strings.ReplaceAll(line, "@", string(message.AppendName(nil, q.Name()))))
		if err != nil {
			t.Fatal(err)
		}
		wire := make([]byte, 512)
		end, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		owner := len(rr.Header().Name) + 1
		r.RecordNamed(message.Answer, wire[:owner], message.Type(rr.Header().Rrtype), rr.Header().Ttl)
		r.Bytes(wire[owner+10 : end])
		r.End()
	}
}

func TestWalk(t *testing.T) {
	tests := []struct {
		name     string
		question string
		has      answers
		asked    string
		want     string
	}{
		{"the first domain", "www.A.example.", answers{"www.a.example.": "NOERROR by x|@ 5 IN A 192.0.2.1"},
			"www.A.example.", "NOERROR by x | www.A.example. 5 IN A 192.0.2.1"},
		{"the second domain", "WWW.Sub.A.example.", answers{"www.sub.b.": "NOERROR by x|@ 5 IN A 192.0.2.1|@ 5 IN A 192.0.2.2"},
			"WWW.Sub.A.example. WWW.Sub.b.", "NOERROR by x | WWW.Sub.A.example. 5 IN CNAME WWW.Sub.b. | WWW.Sub.b. 5 IN A 192.0.2.1 | WWW.Sub.b. 5 IN A 192.0.2.2"},
		{"the name itself", "www.a.example.", answers{"www.": "NOERROR by x|@ 5 IN A 192.0.2.1"},
			"www.a.example. www.b. www.", "NOERROR by x | www.a.example. 5 IN CNAME www. | www. 5 IN A 192.0.2.1"},
		{"no data ends it", "www.a.example.", answers{"www.b.": "NOERROR by x", "www.": "NOERROR by x|@ 5 IN A 192.0.2.1"},
			"www.a.example. www.b.", "NOERROR by x"},
		{"an alias in the first domain", "www.a.example.", answers{"www.a.example.": "NOERROR|@ 5 IN CNAME c.example.|c.example. 7 IN A 192.0.2.1"},
			"www.a.example.", "NOERROR | www.a.example. 7 IN CNAME c.example. | www.a.example. 5 IN CNAME c.example. | c.example. 7 IN A 192.0.2.1"},
		{"an alias elsewhere", "www.a.example.", answers{"www.b.": "NOERROR|@ 5 IN CNAME c.example.|c.example. 7 IN A 192.0.2.1"},
			"www.a.example. www.b.", "NOERROR | www.a.example. 5 IN CNAME www.b. | www.b. 5 IN CNAME c.example. | c.example. 7 IN A 192.0.2.1"},
		{"nowhere", "www.A.example.", answers{"www.a.example.": "NXDOMAIN by first|@ 5 IN TXT first", "www.b.": "NXDOMAIN|@ 5 IN TXT second"},
			"www.A.example. www.b. www.", "NXDOMAIN by first | www.A.example. 5 IN TXT \"first\""},
		{"errors of the server's are passed over", "www.a.example.", answers{"www.a.example.": "SERVFAIL", "www.b.": "REFUSED", "www.": "NOERROR"},
			"www.a.example. www.b. www.", "NOERROR"},
		{"the first is one, and there is nothing else", "www.a.example.", answers{"www.a.example.": "REFUSED"},
			"www.a.example. www.b. www.", "REFUSED"},
		{"an error that was written is a reply", "www.a.example.", answers{"www.b.": "SERVFAIL by forward"},
			"www.a.example. www.b.", "SERVFAIL by forward"},
		{"trouble ends it", "www.a.example.", answers{"www.b.": "SERVFAIL error timeout"},
			"www.a.example. www.b.", "SERVFAIL: timeout"},
		{"the domain itself", "A.example.", answers{}, "", "SERVFAIL: trimzone: overshot qname: A.example.for zone a.example."},
		{"another domain", "www.b.", answers{"www.b.": "NOERROR"}, "www.b.", "NOERROR"},
		{"another zone", "www.example.org.", answers{}, "www.example.org.", "NXDOMAIN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := start(t, "autopath example b FILE", "search A.example b")
			q := plugintest.Ask(t, tt.question, dns.TypeA)
			asked, r := serve(t, a, q, tt.has)
			if got := strings.Join(asked, " "); got != tt.asked {
				t.Errorf("asked %s, want %s", got, tt.asked)
			}
			if got := text(t, r, tt.question); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if name := string(message.AppendName(nil, q.Name())); name != tt.question || q.Original != nil || q.Size != plugintest.Ask(t, tt.question, dns.TypeA).Size {
				t.Errorf("observers see %s, %v, %d", name, q.Original, q.Size)
			}
		})
	}
}

// text is a reply in a few words. It has to be one to the question.
func text(t testing.TB, r *message.Reply, question string) string {
	t.Helper()
	words := []string{dns.RcodeToString[int(r.Rcode)]}
	if r.By != "" {
		words[0] += " by " + r.By
	}
	if r.Err != nil {
		words[0] += ": " + r.Err.Error()
	}
	m := plugintest.Message(t, r)
	if m.Question[0].Name != question {
		t.Errorf("the reply is to %s", m.Question[0].Name)
	}
	for _, rr := range m.Answer {
		words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(words, " | ")
}

// TestLongNames checks that names of up to 255 bytes are asked for, and longer ones left out.
func TestLongNames(t *testing.T) {
	a, _ := start(t, "autopath . FILE", "search a "+strings.Repeat("y", 30)+" b")
	base := strings.Repeat(strings.Repeat("x", 60)+".", 4)[:230] + "."
	asked, _ := serve(t, a, plugintest.Ask(t, base+"a.", dns.TypeA), answers{})
	if got, want := fmt.Sprint(asked), fmt.Sprint([]string{base + "a.", base + "b.", base}); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// searcher knows the path of one client.
type searcher struct{ path []message.Name }

func (s searcher) SearchPath(q *message.Query) []message.Name {
	if q.From.Addr() != netip.MustParseAddr("192.0.2.7") || !q.Under(s.path[0]) {
		return nil
	}
	return slices.Clone(s.path)
}

func TestFollow(t *testing.T) {
	path := searcher{[]message.Name{"\x01p\x03svc\x00", "\x03svc\x00"}}
	has := answers{"www.svc.": "NOERROR"}
	a, _ := start(t, "autopath . @kubernetes", "")
	if asked, _ := serve(t, a, plugintest.Ask(t, "www.p.svc.", dns.TypeA), has); len(asked) != 1 {
		t.Errorf("before Follow it asks for %s", asked)
	}
	a.Follow(path)
	if asked, _ := serve(t, a, plugintest.Ask(t, "www.p.svc.", dns.TypeA), has); fmt.Sprint(asked) != "[www.p.svc. www.svc.]" {
		t.Errorf("asked for %s", asked)
	}
	q := plugintest.Ask(t, "www.p.svc.", dns.TypeA)
	q.From = netip.MustParseAddrPort("192.0.2.8:53")
	if asked, _ := serve(t, a, q, has); fmt.Sprint(asked) != "[www.p.svc.]" {
		t.Errorf("for another client asked for %s", asked)
	}
}

func TestNoDomains(t *testing.T) {
	a, _ := start(t, "autopath . FILE", "nameserver 127.0.0.1")
	if asked, _ := serve(t, a, plugintest.Ask(t, "www.p.svc.", dns.TypeA), answers{}); len(asked) != 1 {
		t.Errorf("asked for %s", asked)
	}
}

func TestMetrics(t *testing.T) {
	a, e := start(t, "autopath . FILE", "search a b")
	for _, name := range []string{"found.a.", "second.a.", "nowhere.a.", "other."} {
		q := plugintest.Ask(t, name, dns.TypeA)
		q.Listener = "dns://:53"
		serve(t, a, q, answers{"found.a.": "NOERROR", "second.b.": "NOERROR", "other.": "NOERROR"})
	}
	const want = `# HELP coredns_autopath_success_total Counter of requests that did autopath.
# TYPE coredns_autopath_success_total counter
coredns_autopath_success_total{server="dns://:53"} 2
`
	if err := testutil.GatherAndCompare(e.Metrics.(prometheus.Gatherer), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
