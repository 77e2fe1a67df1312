package cache

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// bench is a cache with an origin behind it, and a clock.
type bench struct {
	t       testing.TB
	cache   *Cache
	metrics prometheus.Gatherer
	clock   time.Time
	origin  func(*dns.Msg) string // a response code, and records; "drop" is no reply
	asked   int                   // how often the origin was asked
	refresh []*message.Query      // what was asked for nobody and has no reply yet
}

// start makes a cache of the block for ".".
func start(t testing.TB, lines string) *bench {
	t.Helper()
	o, err := parse(t, ".:53", lines)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "cache", journal.Text)
	b := &bench{t: t, clock: time.Unix(1_800_000_000, 0), metrics: e.Metrics.(*prometheus.Registry)}
	if b.cache, err = New(o, e, nil); err != nil {
		t.Fatal(err)
	}
	b.cache.now = func() time.Time { return b.clock }
	b.says("NOERROR\nQNAME 300 IN A 192.0.2.1")
	return b
}

// says has the origin reply with a response code, and records in sections that are divided by "--". QNAME is the name that
// was asked for.
func (b *bench) says(text string) { b.origin = func(*dns.Msg) string { return text } }

// pass lets time go by.
func (b *bench) pass(d time.Duration) { b.clock = b.clock.Add(d) }

// Resolve implements message.Resolver.
func (b *bench) Resolve(*message.Query, message.Name, message.Type) ([]byte, bool) { return nil, false }

// Refresh implements message.Resolver.
func (b *bench) Refresh(q *message.Query) {
	again := q.Detach()
	again.Refresh = true
	b.refresh = append(b.refresh, again)
}

// refreshed answers what was asked for nobody, and returns how many questions that were.
func (b *bench) refreshed() int {
	all := b.refresh
	b.refresh = nil
	for _, q := range all {
		b.walk(q, plugintest.Begin(q))
	}
	return len(all)
}

// query is a client's question.
func (b *bench) query(name string, typ uint16, edits ...func(*dns.Msg)) *message.Query {
	b.t.Helper()
	request := new(dns.Msg).SetQuestion(name, typ)
	for _, edit := range edits {
		edit(request)
	}
	q := plugintest.Query(b.t, request)
	q.Received, q.Resolver, q.Listener = b.clock, b, "dns://:53"
	return q
}

// ask asks a question and returns the reply: response code, flags, and each record as "SECTION QNAME TTL TYPE DATA".
func (b *bench) ask(name string, typ uint16, edits ...func(*dns.Msg)) string {
	b.t.Helper()
	q := b.query(name, typ, edits...)
	r := plugintest.Begin(q)
	if !b.walk(q, r) {
		b.t.Fatal("the query waits")
	}
	return describe(b.t, r)
}

// walk is what the server does with a query; it reports false for one that the cache has parked.
func (b *bench) walk(q *message.Query, r *message.Reply) bool {
	verdict := Early{b.cache}.Serve(q, r)
	if verdict == message.Park {
		return false
	}
	b.finish(q, r, verdict)
	return true
}

func (b *bench) finish(q *message.Query, r *message.Reply, verdict message.Verdict) {
	if verdict == message.Next {
		b.asked++
		if !b.reply(q, r) {
			return
		}
		for n := len(r.Revisions) - 1; n >= 0; n-- {
			r.Revisions[n].Revise(q, r)
		}
	}
}

// reply has the origin write the reply, by way of the wire as another server's.
func (b *bench) reply(q *message.Query, r *message.Reply) bool {
	m := new(dns.Msg)
	m.Question = []dns.Question{{Name: string(message.AppendName(nil, q.Lower())), Qtype: uint16(q.Type), Qclass: uint16(q.Class)}}
	m.Response, m.RecursionAvailable = true, true
	rcode, records, _ := strings.Cut(b.origin(m), "\n")
	for _, flag := range strings.Fields(rcode)[1:] {
		switch flag {
		case "aa":
			m.Authoritative = true
		case "tc":
			m.Truncated = true
		case "ad":
			m.AuthenticatedData = true
		case "unwritten":
			r.Fail(message.ServFail)
			return true
		case "error":
			r.Fail(message.ServFail)
			r.Err = fmt.Errorf("no reply")
			return true
		}
	}
	rcode = strings.Fields(rcode)[0]
	if rcode == "drop" {
		return false
	}
	m.Rcode = dns.StringToRcode[rcode]
	for i, section := range strings.Split(records, "--") {
		for _, line := range strings.Split(strings.TrimSpace(section), "\n") {
			if line == "" {
				continue
			}
			rr, err := dns.NewRR(strings.ReplaceAll(line, "QNAME", m.Question[0].Name))
			if err != nil {
				b.t.Fatal(err)
			}
			to := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}[i]
			*to = append(*to, rr)
		}
	}
	packet, err := m.Pack()
	if err != nil {
		b.t.Fatal(err)
	}
	question := append(append([]byte(nil), q.Lower()...), byte(q.Type>>8), byte(q.Type), byte(q.Class>>8), byte(q.Class))
	p, err := new(message.Packer).Pack(packet, question, r.Shuffle)
	if err != nil {
		b.t.Fatal(err)
	}
	if !r.Take(p) {
		b.t.Fatal("not taken")
	}
	r.By = "origin"
	return true
}

func describe(t testing.TB, r *message.Reply) string {
	t.Helper()
	by := r.By
	m := plugintest.Message(t, r)
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"aa", m.Authoritative}, {"tc", m.Truncated}, {"ad", m.AuthenticatedData}} {
		if flag.set {
			words = append(words, flag.name)
		}
	}
	if m.RecursionAvailable != (by == "cache" || by == "origin") && m.Rcode != dns.RcodeServerFailure {
		words = append(words, "ra is wrong")
	}
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if o, ok := rr.(*dns.OPT); ok {
				for _, option := range o.Option {
					words = append(words, "/ "+option.String())
				}
				continue
			}
			fields := strings.Fields(rr.String())
			words = append(words, fmt.Sprintf("/ %d %s %s %s %s", i, fields[0], fields[1], fields[3], fields[4]))
		}
	}
	return strings.Join(words, " ")
}

// expect asks a question and compares the reply, and how often the origin has been asked for it.
func (b *bench) expect(want string, asked int, name string, typ uint16, edits ...func(*dns.Msg)) {
	b.t.Helper()
	before := b.asked
	if got := b.ask(name, typ, edits...); got != want {
		b.t.Errorf("%s: got %s, want %s", name, got, want)
	}
	if n := b.asked - before; n != asked {
		b.t.Errorf("%s: the origin was asked %d times, want %d", name, n, asked)
	}
}

var (
	typed   = regexp.MustCompile(`\{.*type="(\w+)".*\}`)
	untyped = regexp.MustCompile(`\{.*=.*\}`)
)

// counts are the cache's metrics, without their common labels and without zeros.
func (b *bench) counts() string {
	b.t.Helper()
	text, err := testutil.GatherAndFormat(b.metrics, expfmt.TypeTextPlain, "coredns_cache_entries", "coredns_cache_requests_total", "coredns_cache_hits_total",
		"coredns_cache_misses_total", "coredns_cache_prefetch_total", "coredns_cache_served_stale_total", "coredns_cache_evictions_total", "coredns_cache_drops_total")
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if !strings.Contains(line, `server="dns://:53"`) || !strings.Contains(line, `view="",zones="."`) {
			b.t.Errorf("labels of %s", line)
		}
		line = typed.ReplaceAllString(strings.TrimPrefix(line, "coredns_cache_"), "{$1}")
		line = untyped.ReplaceAllString(line, "")
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}
