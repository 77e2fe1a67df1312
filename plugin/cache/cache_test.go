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

func edns(size uint16, do bool) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, do) } }

const soa = "example. 60 IN SOA ns.example. hostmaster.example. 1 7200 1800 86400 30"

// TestKinds: what is kept, for how long, and which TTL the client sees on the first and on a later reply.
func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines string
		says  string
		first string
		after time.Duration
		again string
		asked int // the second time
	}{
		{"an answer", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 290 A 192.0.2.1", 0},
		{"until its last second", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 299 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"not longer", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 300 * time.Second, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
		{"the lowest TTL of all", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 20 IN A 192.0.2.1", "NOERROR / 0 www.example. 20 CNAME a.example. / 0 a.example. 20 A 192.0.2.1", 5 * time.Second, "NOERROR / 0 www.example. 15 CNAME a.example. / 0 a.example. 15 A 192.0.2.1", 0},
		{"the lowest, of the additional section", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1\n--\n--\na.example. 7 IN A 192.0.2.2", "NOERROR / 0 www.example. 7 A 192.0.2.1 / 2 a.example. 7 A 192.0.2.2", time.Second, "NOERROR / 0 www.example. 6 A 192.0.2.1 / 2 a.example. 6 A 192.0.2.2", 0},
		{"the cap of the argument", "cache 30", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 30 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 20 A 192.0.2.1", 0},
		{"the cap of an hour", "cache", "NOERROR\nQNAME 7200 IN A 192.0.2.1", "NOERROR / 0 www.example. 3600 A 192.0.2.1", 3599 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"the cap of success", "cache {\nsuccess 1000 40\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 40 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 30 A 192.0.2.1", 0},
		{"the floor", "cache", "NOERROR\nQNAME 0 IN A 192.0.2.1", "NOERROR / 0 www.example. 5 A 192.0.2.1", 4 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"the floor of success", "cache {\nsuccess 1000 3600 60\n}", "NOERROR\nQNAME 1 IN A 192.0.2.1", "NOERROR / 0 www.example. 60 A 192.0.2.1", 20 * time.Second, "NOERROR / 0 www.example. 40 A 192.0.2.1", 0},
		{"no floor", "cache {\nsuccess 1000 3600 0\n}", "NOERROR\nQNAME 0 IN A 192.0.2.1", "NOERROR / 0 www.example. 0 A 192.0.2.1", 0, "NOERROR / 0 www.example. 0 A 192.0.2.1", 1},
		{"a floor above the cap", "cache {\nsuccess 1000 3 60\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 3 A 192.0.2.1", 2 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"a TTL beyond 2^31", "cache", "NOERROR\nQNAME 4294967295 IN A 192.0.2.1", "NOERROR / 0 www.example. 5 A 192.0.2.1", 5 * time.Second, "NOERROR / 0 www.example. 5 A 192.0.2.1", 1},
		{"keepttl", "cache {\nkeepttl\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 100 * time.Second, "NOERROR / 0 www.example. 300 A 192.0.2.1", 0},
		{"flags", "cache", "NOERROR aa\nQNAME 300 IN A 192.0.2.1", "NOERROR aa / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR aa / 0 www.example. 300 A 192.0.2.1", 0},

		{"a name that does not exist", "cache", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 20 * time.Second, "NXDOMAIN / 1 example. 40 SOA ns.example.", 0},
		{"the cap of half an hour", "cache", "NXDOMAIN\n--\nexample. 7200 IN SOA ns.example. a.example. 1 2 3 4 5", "NXDOMAIN / 1 example. 1800 SOA ns.example.", time.Second, "NXDOMAIN / 1 example. 1799 SOA ns.example.", 0},
		{"the floor of denial", "cache {\ndenial 1000 1800 90\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 90 SOA ns.example.", time.Second, "NXDOMAIN / 1 example. 89 SOA ns.example.", 0},
		{"data that do not exist", "cache", "NOERROR\n--\n" + soa, "NOERROR / 1 example. 60 SOA ns.example.", 20 * time.Second, "NOERROR / 1 example. 40 SOA ns.example.", 0},
		{"data that do not exist behind an alias", "cache 100", "NOERROR\nQNAME 300 IN CNAME a.example.\n--\n" + soa, "NOERROR / 0 www.example. 60 CNAME a.example. / 1 example. 60 SOA ns.example.", time.Second, "NOERROR / 0 www.example. 59 CNAME a.example. / 1 example. 59 SOA ns.example.", 0},
		{"a name that does not exist behind an alias", "cache", "NXDOMAIN\nQNAME 300 IN CNAME a.example.\n--\n" + soa, "NXDOMAIN / 0 www.example. 60 CNAME a.example. / 1 example. 60 SOA ns.example.", time.Second, "NXDOMAIN / 0 www.example. 59 CNAME a.example. / 1 example. 59 SOA ns.example.", 0},
		{"a denial without SOA", "cache", "NXDOMAIN", "NXDOMAIN", 0, "NXDOMAIN", 1},
		{"an alias without the data, without SOA", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.", "NOERROR / 0 www.example. 300 CNAME a.example.", 0, "NOERROR / 0 www.example. 300 CNAME a.example.", 1},
		{"an alias that goes round", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 300 IN CNAME QNAME", "NOERROR / 0 www.example. 300 CNAME a.example. / 0 a.example. 300 CNAME www.example.", 0, "NOERROR / 0 www.example. 300 CNAME a.example. / 0 a.example. 300 CNAME www.example.", 1},
		{"an alias that leads to two places", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\nQNAME 300 IN CNAME b.example.\na.example. 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 CNAME a.example. / 0 www.example. 300 CNAME b.example. / 0 a.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 CNAME a.example. / 0 www.example. 300 CNAME b.example. / 0 a.example. 300 A 192.0.2.1", 1},
		{"data of another name", "cache", "NOERROR\nother.example. 300 IN A 192.0.2.1", "NOERROR / 0 other.example. 300 A 192.0.2.1", 0, "NOERROR / 0 other.example. 300 A 192.0.2.1", 1},
		{"nothing at all", "cache", "NOERROR", "NOERROR", 4 * time.Second, "NOERROR", 0},
		{"nothing at all, for five seconds", "cache", "NOERROR", "NOERROR", 5 * time.Second, "NOERROR", 1},
		{"a referral", "cache", "NOERROR\n--\nexample. 300 IN NS ns.example.", "NOERROR / 1 example. 5 NS ns.example.", time.Second, "NOERROR / 1 example. 4 NS ns.example.", 0},
		{"a truncated answer", "cache 100", "NOERROR tc\nQNAME 300 IN A 192.0.2.1", "NOERROR tc / 0 www.example. 100 A 192.0.2.1", 0, "NOERROR tc / 0 www.example. 100 A 192.0.2.1", 1},

		{"a failure", "cache", "SERVFAIL", "SERVFAIL", 4 * time.Second, "SERVFAIL", 0},
		{"a failure, for five seconds", "cache", "SERVFAIL", "SERVFAIL", 5 * time.Second, "SERVFAIL", 1},
		{"a failure of ours", "cache", "SERVFAIL error", "SERVFAIL", 4 * time.Second, "SERVFAIL", 0},
		{"NOTIMP", "cache", "NOTIMP", "NOTIMP", 4 * time.Second, "NOTIMP", 0},
		{"servfail", "cache {\nservfail 60s\n}", "SERVFAIL", "SERVFAIL", 59 * time.Second, "SERVFAIL", 0},
		{"servfail 0", "cache {\nservfail 0s\n}", "SERVFAIL", "SERVFAIL", 0, "SERVFAIL", 1},
		{"a refusal", "cache", "REFUSED", "REFUSED", 0, "REFUSED", 1},

		{"disable success", "cache {\ndisable success\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
		{"disable success elsewhere", "cache {\ndisable success example.org\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 0},
		{"disable success, a denial", "cache {\ndisable success\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0},
		{"disable denial", "cache {\ndisable denial example\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0, "NXDOMAIN / 1 example. 60 SOA ns.example.", 1},
		{"disable denial, a failure", "cache {\ndisable denial example\n}", "SERVFAIL", "SERVFAIL", 0, "SERVFAIL", 1},
		{"another zone", "cache 30 example.org", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, tt.lines)
			b.says(tt.says)
			b.expect(tt.first, 1, "www.example.", dns.TypeA)
			b.pass(tt.after)
			b.expect(tt.again, tt.asked, "www.example.", dns.TypeA)
		})
	}
}

// TestTypes: what answers a question of another type.
func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  uint16
		says string
		kept bool
	}{
		{"CNAME", dns.TypeCNAME, "NOERROR\nQNAME 300 IN CNAME a.example.", true},
		{"ANY", dns.TypeANY, "NOERROR\nQNAME 300 IN TXT x", true},
		{"ANY, of another name", dns.TypeANY, "NOERROR\na.example. 300 IN TXT x", false},
		{"MX behind an alias", dns.TypeMX, "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 300 IN MX 1 b.example.", true},
		{"addresses for AAAA", dns.TypeAAAA, "NOERROR\nQNAME 300 IN A 192.0.2.1", false},
		{"a transfer", dns.TypeAXFR, "NOERROR\nQNAME 300 IN AXFR", false},
		{"a long chain in any order", dns.TypeA, "NOERROR\nc.example. 300 IN A 192.0.2.1\nb.example. 300 IN CNAME c.example.\na.example. 300 IN CNAME b.example.\nQNAME 300 IN CNAME A.example.", true},
	} {
		if tt.typ == dns.TypeAXFR {
			tt.says = "NOERROR\n" + soa
		}
		b := start(t, "cache")
		b.says(tt.says)
		b.ask("www.example.", tt.typ)
		b.ask("www.example.", tt.typ)
		if kept := b.asked == 1; kept != tt.kept {
			t.Errorf("%s: kept %v", tt.name, kept)
		}
	}
}

// TestSignatures: an answer with an expired signature is not kept for those who look at signatures.
func TestSignatures(t *testing.T) {
	const rrsig = "\nQNAME 300 IN RRSIG A 8 2 300 %s %s 1 example. c2ln"
	day := func(days int) string {
		return time.Unix(1_800_000_000, 0).UTC().AddDate(0, 0, days).Format("20060102150405")
	}
	for _, tt := range []struct {
		from, to int
		do       bool
		kept     bool
	}{{-1, 1, true, true}, {-2, -1, true, false}, {1, 2, true, false}, {-2, -1, false, true}} {
		b := start(t, "cache")
		b.says("NOERROR\nQNAME 300 IN A 192.0.2.1" + fmt.Sprintf(rrsig, day(tt.to), day(tt.from)))
		b.ask("www.example.", dns.TypeA, edns(1232, tt.do))
		b.ask("www.example.", dns.TypeA, edns(1232, tt.do))
		if kept := b.asked == 1; kept != tt.kept {
			t.Errorf("%+v: kept %v", tt, kept)
		}
	}
}

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

// TestAdopt: a cache with the same options goes on with what another one keeps.
func TestAdopt(t *testing.T) {
	old, b := start(t, "cache 30"), start(t, "cache 30")
	old.expect("NOERROR / 0 www.example. 30 A 192.0.2.1", 1, "www.example.", dns.TypeA)
	b.cache.Adopt(old.cache)
	b.expect("NOERROR / 0 www.example. 30 A 192.0.2.1", 0, "www.example.", dns.TypeA)
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
