package cache

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// TestKeys: whatever changes the answer is asked for by itself, whatever does not is not.
func TestKeys(t *testing.T) {
	local := func(data byte) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{data}})
		}
	}
	questions := []struct {
		name string
		ask  func(*dns.Msg)
		new  bool
	}{
		{"plain", func(*dns.Msg) {}, true},
		{"letter case", func(m *dns.Msg) { m.Question[0].Name = "WWW.example." }, false},
		{"ID", func(m *dns.Msg) { m.Id++ }, false},
		{"AD", func(m *dns.Msg) { m.AuthenticatedData = true }, false},
		{"EDNS", edns(4096, false), false},
		{"without recursion", func(m *dns.Msg) { m.RecursionDesired = false }, false},
		{"another name", func(m *dns.Msg) { m.Question[0].Name = "wwx.example." }, true},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }, true},
		{"DO", edns(1232, true), true},
		{"CD", func(m *dns.Msg) { m.CheckingDisabled = true }, true},
		{"DO and CD", func(m *dns.Msg) { m.SetEdns0(1232, true); m.CheckingDisabled = true }, true},
		{"an option that is passed on", local(1), true},
		{"the same option, other data", local(2), true},
		{"a cookie", func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})
		}, false},
	}
	b := start(t, "cache")
	b.origin = func(m *dns.Msg) string {
		if m.Question[0].Qtype == dns.TypeTXT {
			return "NOERROR\nQNAME 300 IN TXT x"
		}
		return "NOERROR\nQNAME 300 IN A 192.0.2.1"
	}
	for _, q := range questions {
		before := b.asked
		b.ask("www.example.", dns.TypeA, q.ask)
		if asked := b.asked > before; asked != q.new {
			t.Errorf("%s: asked %v", q.name, asked)
		}
	}
	for _, q := range questions {
		before := b.asked
		b.ask("www.example.", dns.TypeA, q.ask)
		if b.asked != before {
			t.Errorf("%s: asked again", q.name)
		}
	}
}

// TestWithoutRecursion: what a server says to those who do not want recursion is not for the others.
func TestWithoutRecursion(t *testing.T) {
	b := start(t, "cache")
	b.says("NOERROR\n--\nexample. 300 IN NS ns.example.")
	norec := func(m *dns.Msg) { m.RecursionDesired = false }
	b.expect("NOERROR / 1 example. 5 NS ns.example.", 1, "www.example.", dns.TypeA, norec)
	b.says("NOERROR\nQNAME 300 IN A 192.0.2.1")
	b.expect("NOERROR / 0 www.example. 300 A 192.0.2.1", 1, "www.example.", dns.TypeA)
	b.expect("NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "www.example.", dns.TypeA, norec)
}

// TestAuthenticated: AD is for those who asked for it, whoever asked first.
func TestAuthenticated(t *testing.T) {
	b := start(t, "cache")
	b.says("NOERROR ad\nQNAME 300 IN A 192.0.2.1")
	ad := func(m *dns.Msg) { m.AuthenticatedData = true }
	for range 2 {
		b.expect("NOERROR / 0 www.example. 300 A 192.0.2.1", 1-b.asked, "www.example.", dns.TypeA)
		b.expect("NOERROR ad / 0 www.example. 300 A 192.0.2.1", 0, "www.example.", dns.TypeA, ad)
	}
}

// TestLetterCase: the reply has the client's, not that of who asked first.
func TestLetterCase(t *testing.T) {
	b := start(t, "cache")
	b.expect("NOERROR / 0 www.example. 300 A 192.0.2.1", 1, "www.example.", dns.TypeA)
	b.expect("NOERROR / 0 wWw.eXample. 300 A 192.0.2.1", 0, "wWw.eXample.", dns.TypeA)
}

// TestSizes: a reply is kept whole, and each client gets what it takes.
func TestSizes(t *testing.T) {
	b := start(t, "cache")
	says := "NOERROR"
	for i := range 40 {
		says += fmt.Sprintf("\nQNAME 300 IN A 192.0.2.%d", i)
	}
	b.says(says)
	count := func(edits ...func(*dns.Msg)) string {
		q := b.query("www.example.", dns.TypeA, edits...)
		r := plugintest.Begin(q)
		b.walk(q, r)
		m := plugintest.Message(t, r)
		return fmt.Sprint(len(m.Answer), m.Truncated)
	}
	for i, want := range []string{"30 true", "30 true", "40 false", "29 true"} {
		edit := []func(*dns.Msg){func(*dns.Msg) {}, func(*dns.Msg) {}, edns(1232, false), edns(512, false)}[i]
		if got := count(edit); got != want {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
	if b.asked != 1 {
		t.Errorf("the origin was asked %d times", b.asked)
	}
}

// TestReplace: a denial and data take each other's place; a failure takes nobody's.
func TestReplace(t *testing.T) {
	b := start(t, "cache 10")
	for range 3 {
		b.says("NXDOMAIN\n--\n" + soa)
		b.expect("NXDOMAIN / 1 example. 10 SOA ns.example.", 1, "www.example.", dns.TypeA)
		b.pass(10 * time.Second)
		b.says("NOERROR\nQNAME 300 IN A 192.0.2.1")
		b.expect("NOERROR / 0 www.example. 10 A 192.0.2.1", 1, "www.example.", dns.TypeA)
		b.pass(10 * time.Second)
		b.says("SERVFAIL")
		b.expect("SERVFAIL", 1, "www.example.", dns.TypeA)
		b.pass(10 * time.Second)
	}
	if n := b.cache.stores.success.len() + b.cache.stores.denial.len(); n != 2 {
		t.Errorf("%d items: the answer and the failure", n)
	}
}

// TestFailureIsForgotten: of two who ask at a time one may fail, and the other not. When the answer has expired, the
// failure of then says nothing.
func TestFailureIsForgotten(t *testing.T) {
	b := start(t, "cache 10 {\nservfail 60s\n}")
	var waiting []*message.Reply
	q := b.query("www.example.", dns.TypeA)
	for range 2 {
		r := plugintest.Begin(q)
		if (Early{b.cache}).Serve(q, r) != message.Next {
			t.Fatal("not passed on")
		}
		waiting = append(waiting, r)
	}
	b.says("SERVFAIL")
	b.finish(q, waiting[0], message.Next)
	b.says("NOERROR\nQNAME 300 IN A 192.0.2.1")
	b.finish(q, waiting[1], message.Next)
	b.pass(11 * time.Second)
	b.expect("NOERROR / 0 www.example. 10 A 192.0.2.1", 1, "www.example.", dns.TypeA)
}

// TestLate: names that a directive behind the cache answers from what it knows are kept only where it passes them on.
func TestLate(t *testing.T) {
	o, err := parse(t, ".:53", "cache 30")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "cache", journal.Text)
	c, err := New(o, e, config.Zones{"cluster.local."})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		early, late int // revisions that the step asked for
	}{{"www.example.", 1, 0}, {"web.default.svc.cluster.local.", 0, 1}} {
		q := plugintest.Ask(t, tt.name, dns.TypeA)
		early, late := plugintest.Begin(q), plugintest.Begin(q)
		if (Early{c}).Serve(q, early) != message.Next || (Late{c}).Serve(q, late) != message.Next {
			t.Errorf("%s: not passed on", tt.name)
		}
		if len(early.Revisions) != tt.early || len(late.Revisions) != tt.late {
			t.Errorf("%s: early %d, late %d", tt.name, len(early.Revisions), len(late.Revisions))
		}
	}
}

// TestMany: of many who have waited for one reply, the first keeps it.
func TestMany(t *testing.T) {
	b := start(t, "cache")
	var replies []*message.Reply
	var queries []*message.Query
	for range 100 {
		q := b.query("www.example.", dns.TypeA)
		r := plugintest.Begin(q)
		if (Early{b.cache}).Serve(q, r) != message.Next {
			t.Fatal("not passed on")
		}
		queries, replies = append(queries, q), append(replies, r)
	}
	b.pass(time.Second)
	var kept *item
	for i, q := range queries {
		b.reply(q, replies[i])
		replies[i].Revisions[0].Revise(q, replies[i])
		k := newKey(b.cache.stores.seed, q, nil)
		if i == 0 {
			kept = b.cache.data(&k, b.clock)
		}
		if b.cache.data(&k, b.clock) != kept {
			t.Fatalf("the reply to query %d was kept again", i)
		}
	}
}

// TestCapacity: of each class so many are kept, those that were asked for last.
func TestCapacity(t *testing.T) {
	b := start(t, "cache {\nsuccess 1024\n}") // four in each of 256 parts
	const names = 3000
	for i := range names {
		b.ask(fmt.Sprintf("%d.example.", i), dns.TypeA)
		b.ask("often.example.", dns.TypeA)
	}
	if b.asked != names+1 {
		t.Errorf("the origin was asked %d times: what is asked for all the time has gone", b.asked)
	}
	if n := b.cache.stores.success.len(); n > 1024 || n < 900 {
		t.Errorf("%d are kept", n)
	}
}

func TestMetrics(t *testing.T) {
	b := start(t, "cache")
	if got := b.counts(); got != "" {
		t.Errorf("before the first question: %s", got)
	}
	b.ask("a.example.", dns.TypeA)
	b.ask("a.example.", dns.TypeA)
	b.ask("a.example.", dns.TypeA)
	b.says("NXDOMAIN\n--\n" + soa)
	b.ask("b.example.", dns.TypeA)
	b.ask("b.example.", dns.TypeA)
	want := "entries{denial} 1, entries{success} 1, hits_total{denial} 1, hits_total{success} 2, misses_total 2, requests_total 5"
	if got := b.counts(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	q := b.query("a.example.", dns.TypeA)
	q.Listener = "dns://:1053"
	b.walk(q, plugintest.Begin(q))
	if n := len(*b.cache.series.Load()); n != 2 {
		t.Errorf("%d series for two listeners", n)
	}
}

// TestHitAllocatesNothing, whatever the kind.
func TestHitAllocatesNothing(t *testing.T) {
	b := start(t, "cache {\nprefetch 1000000\n}")
	b.origin = func(m *dns.Msg) string {
		if m.Question[0].Name == "b.example." {
			return "NXDOMAIN\n--\n" + soa
		}
		return "NOERROR\nQNAME 300 IN CNAME x.example.\nx.example. 300 IN A 192.0.2.1\nx.example. 300 IN A 192.0.2.2"
	}
	out := make([]byte, 0, 1232)
	for _, name := range []string{"a.example.", "b.example."} {
		b.ask(name, dns.TypeA)
		q := b.query(name, dns.TypeA, edns(1232, false))
		r := new(message.Reply)
		if n := testing.AllocsPerRun(100, func() {
			r.Begin(q, out)
			r.Shuffle = true
			if (Early{b.cache}).Serve(q, r) != message.Done {
				t.Fatal("not a hit")
			}
			r.Finish()
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	bench := start(b, "cache")
	bench.says("NOERROR\nQNAME 300 IN CNAME x.example.\nx.example. 300 IN A 192.0.2.1\nx.example. 300 IN A 192.0.2.2")
	bench.ask("www.example.", dns.TypeA)
	q := bench.query("www.example.", dns.TypeA, edns(1232, false))
	r, out := new(message.Reply), make([]byte, 0, 1232)
	for b.Loop() {
		r.Begin(q, out)
		r.Shuffle = true
		Early{bench.cache}.Serve(q, r)
		r.Finish()
	}
}

// BenchmarkMiss is what the cache adds to one: the look that finds nothing, and keeping the reply.
func BenchmarkMiss(b *testing.B) {
	bench := start(b, "cache {\nsuccess 1024\n}")
	q := bench.query("www.example.", dns.TypeA, edns(1232, false))
	r, out := new(message.Reply), make([]byte, 0, 1232)
	r.Begin(q, out)
	bench.reply(q, r)
	p := r.Pack()
	for b.Loop() {
		q.Received = q.Received.Add(time.Hour)
		bench.clock = q.Received
		r.Begin(q, out)
		Early{bench.cache}.Serve(q, r)
		r.Take(p)
		r.Revisions[0].Revise(q, r)
		r.Finish()
	}
}
