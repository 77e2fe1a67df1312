package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// says of an origin, and replies to a client.
const (
	one     = "NOERROR\nQNAME 60 IN A 192.0.2.1"
	two     = "NOERROR\nQNAME 60 IN A 192.0.2.2"
	denied  = "NXDOMAIN\n--\n" + soa
	first   = "NOERROR / 0 www.example. 60 A 192.0.2.1"
	second  = "NOERROR / 0 www.example. 60 A 192.0.2.2"
	refused = "NXDOMAIN / 1 example. 60 SOA ns.example."
	old     = "NOERROR / 0 www.example. 0 A 192.0.2.1"
)

// www asks for www.example. and compares the reply, how often the origin was asked for it, and how often for nobody.
func (b *bench) www(want string, asked, refreshes int) {
	b.t.Helper()
	before := len(b.refresh)
	b.expect(want, asked, "www.example.", dns.TypeA)
	if n := len(b.refresh) - before; n != refreshes {
		b.t.Errorf("%d refreshes, want %d", n, refreshes)
	}
}

// TestImmediate: the old reply is given at once, and the new one is asked for, once.
func TestImmediate(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	b.says(two)
	b.www(old, 0, 1)
	b.www(old, 0, 0)
	if b.refreshed() != 1 {
		t.Error("the reply was not asked for")
	}
	b.www(second, 0, 0)
	b.pass(60*time.Second + 59*time.Minute)
	b.www("NOERROR / 0 www.example. 0 A 192.0.2.2", 0, 1)
	b.pass(time.Minute)
	b.says(one)
	b.www(first, 1, 0)
	want := "entries{denial} 0, entries{success} 1, hits_total{success} 4, misses_total 2, prefetch_total 2, requests_total 6, served_stale_total 3"
	if got := b.counts(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestStaleExtendedErrors: a client with EDNS hears that the reply is old.
func TestStaleExtendedErrors(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h immediate 30s\n}")
	b.says(one)
	b.ask("www.example.", dns.TypeA)
	b.says(denied)
	b.ask("none.example.", dns.TypeA)
	b.says("SERVFAIL")
	b.ask("fail.example.", dns.TypeA)
	b.expect("SERVFAIL / 13 (Cached Error): ()", 0, "fail.example.", dns.TypeA, edns(1232, false))
	b.pass(61 * time.Second)
	b.expect("NOERROR / 0 www.example. 30 A 192.0.2.1 / 3 (Stale Answer): ()", 0, "www.example.", dns.TypeA, edns(1232, false))
	b.expect("NXDOMAIN / 1 example. 30 SOA ns.example. / 19 (Stale NXDOMAIN Answer): ()", 0, "none.example.", dns.TypeA, edns(1232, false))
}

// TestFailedRefresh: a failure leaves the old reply, and for a while nobody tries again.
func TestFailedRefresh(t *testing.T) {
	for _, tt := range []struct {
		lines string
		pause time.Duration
	}{
		{"cache {\nserve_stale 1h\n}", 5 * time.Second},
		{"cache {\nserve_stale 1h\nservfail 60s\n}", time.Minute},
		{"cache {\nserve_stale 1h\nservfail 0s\n}", 0},
		{"cache {\nserve_stale 1h immediate 0s 30s\n}", 30 * time.Second},
	} {
		for _, failure := range []string{"SERVFAIL", "SERVFAIL error", "NOTIMP"} {
			b := start(t, tt.lines)
			b.says(one)
			b.www(first, 1, 0)
			b.pass(61 * time.Second)
			b.says(failure)
			b.www(old, 0, 1)
			b.refreshed()
			if tt.pause > 0 {
				b.www(old, 0, 0)
				b.pass(tt.pause - time.Second)
				b.www(old, 0, 0)
				b.pass(time.Second)
			}
			b.says(two)
			b.www(old, 0, 1)
			b.refreshed()
			b.www(second, 0, 0)
		}
	}
}

// TestOtherRefreshes: what takes the old reply's place, and what does not.
func TestOtherRefreshes(t *testing.T) {
	for _, tt := range []struct{ says, want string }{
		{denied, refused},
		{"NOERROR\n--\n" + soa, "NOERROR / 1 example. 60 SOA ns.example."},
		{"NXDOMAIN", old},
		{"REFUSED", old},
		{"NOERROR tc\nQNAME 60 IN A 192.0.2.2", old},
		{"NOERROR\nQNAME 60 IN CNAME a.example.", old},
		{"drop", old},
	} {
		b := start(t, "cache {\nserve_stale 1h\n}")
		b.says(one)
		b.www(first, 1, 0)
		b.pass(61 * time.Second)
		b.says(tt.says)
		b.www(old, 0, 1)
		b.refreshed()
		b.expect(tt.want, 0, "www.example.", dns.TypeA)
	}
}

// TestLostRefresh: a question to the origin that never came back does not keep others from being asked for ever.
func TestLostRefresh(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	b.www(old, 0, 1)
	b.pass(14 * time.Second)
	b.www(old, 0, 0)
	b.pass(time.Second)
	b.www(old, 0, 1)
}

// TestVerify: the new reply is asked for first; the old one is for when there is none.
func TestVerify(t *testing.T) {
	for _, tt := range []struct{ says, want string }{
		{two, second},
		{denied, refused},
		{"NOERROR\n--\n" + soa, "NOERROR / 1 example. 60 SOA ns.example."},
		{"SERVFAIL", old},
		{"SERVFAIL error", old},
		{"SERVFAIL unwritten", old},
		{"REFUSED", old},
		{"NOERROR tc\nQNAME 60 IN A 192.0.2.2", old},
	} {
		b := start(t, "cache {\nserve_stale 1h verify\n}")
		b.says(one)
		b.www(first, 1, 0)
		b.pass(61 * time.Second)
		b.says(tt.says)
		b.www(tt.want, 1, 0)
		b.pass(2 * time.Hour)
		b.says(one)
		b.www(first, 1, 0)
	}
}

// TestVerifyRecheck: while somebody verifies, and for a while after it was in vain, others get the old reply at once.
func TestVerifyRecheck(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h verify 0s 0s 30s\nservfail 0s\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	q := b.query("www.example.", dns.TypeA)
	r := plugintest.Begin(q)
	if (Early{b.cache}).Serve(q, r) != message.Next {
		t.Fatal("not verified")
	}
	b.www(old, 0, 0)
	b.says("SERVFAIL")
	b.finish(q, r, message.Next)
	if got := describe(t, r); got != old {
		t.Errorf("got %s", got)
	}
	b.pass(29 * time.Second)
	b.www(old, 0, 0)
	b.pass(time.Second)
	b.says(two)
	b.www(second, 1, 0)
}

// client is a client's query that waits.
type client struct {
	b    *bench
	r    *message.Reply
	done chan message.Verdict
}

// wait asks for www.example., which has to wait.
func (b *bench) wait() *client {
	b.t.Helper()
	q := b.query("www.example.", dns.TypeA)
	c := &client{b, plugintest.Begin(q), make(chan message.Verdict, 1)}
	if v := (Early{b.cache}).Serve(q, c.r); v != message.Park {
		b.t.Fatalf("verdict %d", v)
	}
	b.cache.Wait(q, c.r, func(v message.Verdict) { c.done <- v })
	return c
}

func (c *client) expect(want string) {
	c.b.t.Helper()
	select {
	case v := <-c.done:
		if got := describe(c.b.t, c.r); got != want || v != message.Done {
			c.b.t.Errorf("got %s by verdict %d, want %s", got, v, want)
		}
	case <-time.After(20 * time.Second):
		c.b.t.Fatal("no answer")
	}
}

// TestVerifyTimeout: the client waits for the new reply, but not for too long. Others do not wait for the same.
func TestVerifyTimeout(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h verify 1h\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	c := b.wait()
	b.www(old, 0, 0)
	b.says(two)
	b.refreshed()
	c.expect(second)
	b.www(second, 0, 0)
	if len(b.cache.waiting.byKey) != 0 {
		t.Errorf("waiting %v", b.cache.waiting.byKey)
	}

	b.pass(61 * time.Second)
	c = b.wait()
	b.says("SERVFAIL")
	b.refreshed()
	c.expect("NOERROR / 0 www.example. 0 A 192.0.2.2")
	b.www("NOERROR / 0 www.example. 0 A 192.0.2.2", 0, 0)

	b = start(t, "cache {\nserve_stale 1h verify 1ms 30s\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	c = b.wait()
	c.expect("NOERROR / 0 www.example. 30 A 192.0.2.1")
	b.says(two)
	b.refreshed()
	b.www(second, 0, 0)
}

// eager is a Resolver that looks at what the cache holds while the question is asked for.
type eager struct {
	*bench
	look func()
}

func (e eager) Refresh(q *message.Query) {
	e.look()
	e.bench.Refresh(q)
}

// TestVerifyInTime: the time of a query that waits begins when its question has been copied. Before that an answer would
// give the query to somebody else.
func TestVerifyInTime(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h verify 1ms\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	q, looked := b.query("www.example.", dns.TypeA), false
	q.Resolver = eager{b, func() {
		for _, waiting := range b.cache.waiting.byKey {
			looked = len(waiting) == 1 && waiting[0].timer == nil
		}
	}}
	c := &client{b, plugintest.Begin(q), make(chan message.Verdict, 1)}
	b.cache.Wait(q, c.r, func(v message.Verdict) { c.done <- v })
	if !looked {
		t.Error("the time runs before the question is asked for")
	}
	c.expect(old)
}

// TestClockSetBack: an old reply is asked for again however the machine's clock is set meanwhile.
func TestClockSetBack(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h\nprefetch 2 1m\n}")
	b.clock = time.Now()
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	b.says("SERVFAIL")
	b.www(old, 0, 1)
	b.refreshed()
	b.pass(10 * time.Second)
	b.clock = plugintest.SetBack(b.clock, time.Hour)
	b.www(old, 0, 1)
	b.says(two)
	b.refreshed()
	b.www(second, 0, 0)
	b.pass(59 * time.Second)
	b.clock = plugintest.SetBack(b.clock, time.Hour)
	b.www("NOERROR / 0 www.example. 1 A 192.0.2.2", 0, 1)
}

// TestVerifyOvertaken: what has become fresh before the query could wait is given.
func TestVerifyOvertaken(t *testing.T) {
	b := start(t, "cache {\nserve_stale 1h verify 1h\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(61 * time.Second)
	q := b.query("www.example.", dns.TypeA)
	c := &client{b, plugintest.Begin(q), make(chan message.Verdict, 1)}
	if v := (Early{b.cache}).Serve(q, c.r); v != message.Park {
		t.Fatalf("verdict %d", v)
	}
	b.wait()
	b.says(two)
	b.refreshed()
	b.cache.Wait(q, c.r, func(v message.Verdict) { c.done <- v })
	c.expect(second)
}

// TestStaleKeepTTL: also what is stale has its old TTL, if no other is set.
func TestStaleKeepTTL(t *testing.T) {
	for lines, want := range map[string]string{
		"cache {\nkeepttl\nserve_stale 1h\n}":               first,
		"cache {\nkeepttl\nserve_stale 1h immediate 30s\n}": "NOERROR / 0 www.example. 30 A 192.0.2.1",
	} {
		b := start(t, lines)
		b.says(one)
		b.www(first, 1, 0)
		b.pass(61 * time.Second)
		b.www(want, 0, 1)
	}
}

// TestPreferPositive: an old answer is given rather than a newer denial, as long as it is not too old.
func TestPreferPositive(t *testing.T) {
	for _, tt := range []struct{ name, says, verify string }{
		{"NXDOMAIN", denied, old},
		{"NODATA", "NOERROR\n--\n" + soa, old},
		{"nothing at all", "NOERROR", old},
		{"a referral", "NOERROR\n--\nexample. 60 IN NS ns.example.", old},
		{"another answer", two, second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, "cache {\nserve_stale 1h verify\nserve_stale_policy prefer_positive\n}")
			b.says(one)
			b.www(first, 1, 0)
			b.pass(61 * time.Second)
			b.says(tt.says)
			b.www(tt.verify, 1, 0)
			b.says(two)
			b.pass(61 * time.Second)
			b.www(second, 1, 0)

			b = start(t, "cache {\nserve_stale 1h immediate\nserve_stale_policy prefer_positive\n}")
			b.says(one)
			b.www(first, 1, 0)
			b.pass(61 * time.Second)
			b.says(tt.says)
			b.www(old, 0, 1)
			b.refreshed()
			b.expect(tt.verify, 0, "www.example.", dns.TypeA)
			b.pass(2 * time.Hour)
			b.refresh = nil
			b.says(denied)
			b.www(refused, 1, 0)
		})
	}
}

// TestPrefetch: what is asked for often is asked for again before it expires.
func TestPrefetch(t *testing.T) {
	b := start(t, "cache {\nprefetch 3 1m 20%\n}")
	b.says(one)
	b.www(first, 1, 0)
	left := func(seconds int) string { return fmt.Sprintf("NOERROR / 0 www.example. %d A 192.0.2.1", seconds) }
	b.pass(30 * time.Second)
	b.www(left(30), 0, 0) // the first question
	b.www(left(30), 0, 0)
	b.www(left(30), 0, 0)
	b.pass(17 * time.Second)
	b.www(left(13), 0, 0) // popular, and too early
	b.pass(time.Second)
	b.www(left(12), 0, 1)
	b.www(left(12), 0, 0) // it has been asked for
	b.says(two)
	b.refreshed()
	b.www(second, 0, 0)
	b.pass(50 * time.Second)
	b.www("NOERROR / 0 www.example. 10 A 192.0.2.2", 0, 1) // still popular
	if got := b.counts(); !strings.Contains(got, "prefetch_total 2") {
		t.Errorf("counted %s", got)
	}
}

// TestPrefetchGap: what is asked for now and then is not popular, and a denial can be.
func TestPrefetchGap(t *testing.T) {
	b := start(t, "cache {\nprefetch 2 5s 50%\n}")
	b.says(denied)
	b.www(refused, 1, 0)
	left := func(seconds int) string {
		return fmt.Sprintf("NXDOMAIN / 1 example. %d SOA ns.example.", seconds)
	}
	for seconds := 50; seconds > 20; seconds -= 10 {
		b.pass(10 * time.Second)
		b.www(left(seconds), 0, 0)
	}
	b.pass(time.Second)
	b.www(left(29), 0, 1)
}

// TestFailedPrefetch: the reply is given until it expires.
func TestFailedPrefetch(t *testing.T) {
	b := start(t, "cache {\nprefetch 1 1m 50%\n}")
	b.says(one)
	b.www(first, 1, 0)
	b.pass(40 * time.Second)
	b.www("NOERROR / 0 www.example. 20 A 192.0.2.1", 0, 1)
	b.says("SERVFAIL")
	b.refreshed()
	b.www("NOERROR / 0 www.example. 20 A 192.0.2.1", 0, 1)
	b.pass(21 * time.Second)
	b.refresh = nil
	b.www("SERVFAIL", 1, 0)
}
