package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/message/wiretest"
)

// bench is a desk without sockets, and what its server told of.
type bench struct {
	desk
	dropped journal
	panics  []string
}

func newBench(t testing.TB, blocks ...*Block) *bench {
	t.Helper()
	b := new(bench)
	s := &Server{config: Config{
		Dropped: &b.dropped,
		Panic:   func(v any, stack []byte) { b.panics = append(b.panics, fmt.Sprint(v)) },
	}}
	s.limits = Limits{InnerDepth: 3}.withDefaults()
	s.parking.limit = 1
	s.chains.Store(newChains(blocks))
	b.server, b.q.Resolver = s, s
	b.arrived(netip.MustParseAddrPort("192.0.2.9:5353"), netip.MustParseAddrPort("192.0.2.53:53"), time.Now())
	return b
}

// ask lets the desk answer a question in class IN, with OPT if size is not 0, and returns the reply as dig would print it
// without comments and blank lines: flags, OPT, question, records.
func (b *bench) ask(t testing.TB, text string, typ uint16) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(text, typ)
	m.Id = 0x1234
	m.SetEdns0(4096, false)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := b.respond(packet, nil)
	return short(t, reply)
}

// short is a reply in a few words: response code, flags, what OPT says, and its answers.
func short(t testing.TB, reply []byte) string {
	t.Helper()
	if reply == nil {
		return "nothing"
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("%s: %v", wiretest.Text(reply), err)
	}
	rcode := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeBadVers {
		rcode = "BADVERS"
	}
	words := []string{rcode}
	if m.Authoritative {
		words = append(words, "aa")
	}
	if o := m.IsEdns0(); o != nil {
		words = append(words, fmt.Sprintf("opt=%d", o.UDPSize()))
	}
	for _, rr := range m.Answer {
		words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(words, " ")
}

// Steps that do one thing.
var (
	passing   = step(func(*message.Query, *message.Reply) message.Verdict { return message.Next })
	dropping  = step(func(*message.Query, *message.Reply) message.Verdict { return message.Drop })
	panicking = step(func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Record(message.Answer, message.QuestionAt, message.TypeA, 5)
		panic("out of order")
	})
)

// giving is a step that returns a response code without a record, in its own name or, where by is empty, not.
func giving(rcode message.Rcode, by string, err error) step {
	return func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Rcode, r.Authoritative, r.By, r.Err = rcode, true, by, err
		return message.Done
	}
}

// TestRespond follows packets through a server whose blocks are named for what they do.
func TestRespond(t *testing.T) {
	bare := block(t, "bare.")
	bare.Last = ""
	chaos := block(t, "chaos.", answering(7))
	chaos.Chaos = true
	blocks := []*Block{
		bare, chaos,
		block(t, "answer.", passing, answering(1), panicking),
		block(t, "nothing.", passing), block(t, "empty."),
		block(t, "drop.", dropping), block(t, "panic.", panicking),
		block(t, "servfail.", giving(message.ServFail, "", errors.New("no upstream"))), block(t, "own.", giving(message.ServFail, "giving", nil)),
		block(t, "refused.", giving(message.Refused, "", nil)), block(t, "nxdomain.", giving(message.NXDomain, "giving", nil)),
		block(t, "park.", step(func(*message.Query, *message.Reply) message.Verdict { return message.Park })),
	}
	const opt = " 00 0029 1000 0000 0000 0000"
	for _, tt := range []struct{ name, packet, want, seen, dropped string }{
		{"an answer", "1234 0100 0001 0000 0000 0000 'a' 'ANSWER' 00 0001 0001",
			"NOERROR aa a.ANSWER. 5 IN A 192.0.2.1", "a.answer. 0 by answering", ""},
		{"the answer with OPT", "1234 0100 0001 0000 0000 0001 'a' 'answer' 00 0001 0001" + opt,
			"NOERROR aa opt=1232 a.answer. 5 IN A 192.0.2.1", "a.answer. 0 by answering", ""},
		{"no data", "1234 0100 0001 0000 0000 0000 'a' 'answer' 00 001c 0001", "NOERROR aa", "a.answer. 0 by answering", ""},
		{"one byte short", "1234 0100 0001 0000 0000 0000 'a' 'answer' 00 0001 00", "FORMERR", "", ""},
		{"one byte too long", "1234 0100 0001 0000 0000 0000 'a' 'answer' 00 0001 0001 00",
			"NOERROR aa a.answer. 5 IN A 192.0.2.1", "a.answer. 0 by answering", ""},
		{"a response", "1234 8100 0001 0000 0000 0000 'a' 'answer' 00 0001 0001", "nothing", "", ""},
		{"a foreign opcode", "1234 2900 0001 0000 0000 0000 'a' 'answer' 00 0001 0001", "NOTIMP", "", ""},
		{"a header too short", "1234 0100", "nothing", "", ""},
		{"no question", "1234 0100 0000 0000 0000 0001" + opt, "FORMERR opt=1232", "", ""},
		{"no block", "1234 0100 0001 0000 0000 0000 'elsewhere' 00 0001 0001", "REFUSED", "", "elsewhere. 5"},
		{"no block, with OPT", "1234 0100 0001 0000 0000 0001 'elsewhere' 00 0001 0001" + opt, "REFUSED opt=1232", "", "elsewhere. 5"},
		{"a block without directives", "1234 0100 0001 0000 0000 0000 'a' 'bare' 00 0001 0001", "REFUSED", "", "a.bare. 5"},
		{"class CH", "1234 0100 0001 0000 0000 0001 'a' 'answer' 00 0001 0003" + opt, "REFUSED opt=1232", "", "a.answer. 5"},
		{"class CH, served", "1234 0100 0001 0000 0000 0000 'a' 'chaos' 00 0010 0003", "NOERROR aa", "a.chaos. 0 by answering", ""},
		{"class HS", "1234 0100 0001 0000 0000 0000 'a' 'chaos' 00 0001 0004", "REFUSED", "", "a.chaos. 5"},
		{"class ANY", "1234 0100 0001 0000 0000 0000 'a' 'answer' 00 0001 00ff", "REFUSED", "", "a.answer. 5"},
		{"no class", "1234 0100 0001 0000 0000 0000 'a' 'answer' 00", "REFUSED", "", "a.answer. 5"},
		{"EDNS version 1", "1234 0100 0001 0000 0000 0001 'a' 'answer' 00 0001 0001 00 0029 1000 0001 8000 0000",
			"BADVERS opt=1232", "", ""},
		{"EDNS version 1, no block", "1234 0100 0001 0000 0000 0001 'b' 00 0001 0001 00 0029 1000 0001 8000 0000",
			"BADVERS opt=1232", "", ""},
		{"EDNS version 1, class CH", "1234 0100 0001 0000 0000 0001 'a' 'answer' 00 0001 0003 00 0029 1000 0001 8000 0000",
			"REFUSED opt=1232", "", "a.answer. 5"},
		{"the end of the chain", "1234 0100 0001 0000 0000 0000 'a' 'nothing' 00 0001 0001",
			"SERVFAIL", "a.nothing. 2: plugin/last: no next plugin found", ""},
		{"a chain that observes only", "1234 0100 0001 0000 0000 0000 'a' 'empty' 00 0001 0001",
			"SERVFAIL", "a.empty. 2: plugin/last: no next plugin found", ""},
		{"a drop", "1234 0100 0001 0000 0000 0000 'a' 'drop' 00 0001 0001", "nothing", "", ""},
		{"a code without AA", "1234 0100 0001 0000 0000 0000 'a' 'servfail' 00 0001 0001", "SERVFAIL", "a.servfail. 2: no upstream", ""},
		{"another one", "1234 0100 0001 0000 0000 0000 'a' 'refused' 00 0001 0001", "REFUSED", "a.refused. 5", ""},
		{"a code that the step writes", "1234 0100 0001 0000 0000 0000 'a' 'own' 00 0001 0001", "SERVFAIL aa", "a.own. 2 by giving", ""},
		{"a code that the step stands for", "1234 0100 0001 0000 0000 0000 'a' 'nxdomain' 00 0001 0001",
			"NXDOMAIN aa", "a.nxdomain. 3 by giving", ""},
		{"parked", "1234 0100 0001 0000 0000 0000 'a' 'park' 00 0001 0001", "nothing", "", ""},
		{"a panic", "1234 0100 0001 0000 0000 0001 'a' 'panic' 00 0001 0001" + opt, "SERVFAIL opt=1232", "", "a.panic. 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, seen := newBench(t, blocks...), new(journal)
			for _, block := range blocks {
				block.Observers = []Observer{seen}
			}
			reply, later := b.respond(wiretest.Bytes(t, tt.packet), nil)
			if got := short(t, reply); got != tt.want {
				t.Errorf("reply %s, want %s", got, tt.want)
			}
			if seen.text() != tt.seen || b.dropped.text() != tt.dropped {
				t.Errorf("block saw %q, want %q; dropped saw %q, want %q", seen.text(), tt.seen, b.dropped.text(), tt.dropped)
			}
			if (later != nil) != (tt.name == "parked") || (len(b.panics) > 0) != (tt.name == "a panic") {
				t.Errorf("parked %v, panics %v", later, b.panics)
			}
		})
	}
}

// observing is an Observer made of a function.
type observing func(*message.Query, *message.Reply)

func (o observing) Observe(q *message.Query, r *message.Reply) { o(q, r) }

// TestObserverPanic checks that what only watches cannot end the server either.
func TestObserverPanic(t *testing.T) {
	bad := block(t, ".", answering(1))
	bad.Observers = []Observer{observing(func(*message.Query, *message.Reply) { panic("in the block") })}
	b := newBench(t, bad)
	b.server.config.Dropped = observing(func(*message.Query, *message.Reply) { panic("in the other") })
	if got := b.ask(t, "x.", dns.TypeA); got != "SERVFAIL opt=1232" {
		t.Errorf("reply %s", got)
	}
	if got := fmt.Sprint(b.panics); got != "[in the block in the other]" {
		t.Errorf("panics %s", got)
	}
	b.server.SetBlocks([]*Block{block(t, ".", answering(1))})
	if got := b.ask(t, "x.", dns.TypeA); got != "NOERROR aa opt=1232 x. 5 IN A 192.0.2.1" {
		t.Errorf("reply after it %s", got)
	}
}

// TestOwnPanic checks that not even a defect of the server itself ends it.
func TestOwnPanic(t *testing.T) {
	b := newBench(t)
	b.server.chains.Store(nil)
	if got := b.ask(t, "x.", dns.TypeA); got != "nothing" || len(b.panics) != 1 {
		t.Errorf("reply %s, panics %v", got, b.panics)
	}
}

// TestPark checks what a query takes along when it goes on elsewhere, and that no more than the limit do.
func TestPark(t *testing.T) {
	calls := 0
	slow := step(func(q *message.Query, r *message.Reply) message.Verdict {
		calls++
		if !q.MayBlock {
			r.Authoritative = true
			r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, []byte{1, 2, 3, 4}, 5)) // taken back
			return message.Park
		}
		return message.Next
	})
	first := step(func(_ *message.Query, r *message.Reply) message.Verdict {
		calls += 100
		r.Option(message.OptionNSID, []byte("pod"))
		return message.Next
	})
	seen := new(journal)
	parking := block(t, "park.", first, slow, answering(2))
	parking.Observers = []Observer{seen}
	twice := block(t, "twice.", step(func(*message.Query, *message.Reply) message.Verdict { return message.Park }))
	twice.Observers = []Observer{seen}
	b := newBench(t, parking, twice)
	park := func(name string) *parked {
		packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(512, false).Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply, later := b.respond(packet, nil)
		clear(packet)
		if later == nil {
			t.Logf("answered at once: %s", short(t, reply))
		}
		return later
	}
	p := park("A.park.")
	if park("b.park.") != nil {
		t.Fatal("more are parked than the limit allows")
	}
	if got, want := short(t, p.resume()), "NOERROR aa opt=1232 A.park. 5 IN A 192.0.2.2"; got != want {
		t.Errorf("reply %s, want %s", got, want)
	}
	if calls != 203 {
		t.Errorf("calls %d: the steps before the one that parked are not called again", calls)
	}
	if got := short(t, park("x.twice.").resume()); got != "SERVFAIL opt=1232" {
		t.Errorf("a step that parks where it may wait: %s", got)
	}
	want := "b.park. 2: " + errFull.Error() + "\na.park. 0 by answering\nx.twice. 2: " + errParked.Error()
	if seen.text() != want {
		t.Errorf("seen\n%s\nwant\n%s", seen.text(), want)
	}
	if n := b.server.parking.taken.Load(); n != 0 {
		t.Errorf("%d still count as parked", n)
	}
}

// TestResolve asks from inside, as the target of a CNAME is asked for.
func TestResolve(t *testing.T) {
	bare := block(t, "bare.")
	bare.Last = ""
	deeper := step(func(q *message.Query, r *message.Reply) message.Verdict {
		reply, covered := q.Resolver.Resolve(q, message.Name(q.Lower()), q.Type)
		r.Rcode = message.Rcode(reply[3] & 0xF)
		r.Err = fmt.Errorf("depth %d covered %v", q.Depth, covered)
		return message.Done
	})
	blocks := []*Block{
		bare, block(t, "answer.", answering(3)), block(t, "nothing.", passing), block(t, "drop.", dropping),
		block(t, "refused.", giving(message.Refused, "", nil)), block(t, "deeper.", deeper), block(t, "panic.", panicking),
		block(t, "park.", step(func(*message.Query, *message.Reply) message.Verdict { return message.Park })),
	}
	for _, tt := range []struct {
		name    string
		want    string
		covered bool
		seen    string
		dropped string
	}{
		{"a.answer.", "NOERROR aa a.answer. 5 IN A 192.0.2.3", true, "a.answer. 0 by answering", ""},
		{"elsewhere.", "REFUSED", false, "", "elsewhere. 5"},
		{"a.bare.", "REFUSED", false, "", "a.bare. 5"},
		{"a.nothing.", "SERVFAIL", false, "a.nothing. 2: plugin/last: no next plugin found", ""},
		{"a.drop.", "SERVFAIL", true, "", ""},
		{"a.refused.", "REFUSED", true, "a.refused. 5", ""},
		{"a.panic.", "SERVFAIL", true, "", "a.panic. 2"},
		{"a.park.", "SERVFAIL", true, "a.park. 2: " + errParked.Error(), ""},
		{"a.deeper.", "SERVFAIL", true, "a.deeper. 2: " + errDeep.Error() + "\na.deeper. 2: depth 3 covered true\na.deeper. 2: depth 2 covered true\na.deeper. 2: depth 1 covered true", ""},
	} {
		b, seen := newBench(t, blocks...), new(journal)
		for _, block := range blocks {
			block.Observers = []Observer{seen}
		}
		outer := query(t, "outer.", dns.TypeA)
		outer.Resolver = b.server
		reply, covered := b.server.Resolve(outer, name(t, tt.name), message.TypeA)
		if got := short(t, reply); got != tt.want || covered != tt.covered {
			t.Errorf("%s: %s covered %v, want %s %v", tt.name, got, covered, tt.want, tt.covered)
		}
		if seen.text() != tt.seen || b.dropped.text() != tt.dropped {
			t.Errorf("%s: block saw %q, want %q; dropped saw %q, want %q", tt.name, seen.text(), tt.seen, b.dropped.text(), tt.dropped)
		}
	}
}

// TestInnerQuestions: a step that asks twice wherever it is asked would ask 2^depth questions. That it must not is said once.
func TestInnerQuestions(t *testing.T) {
	asked := 0
	twice := step(func(q *message.Query, _ *message.Reply) message.Verdict {
		asked++
		for range 2 {
			q.Resolver.Resolve(q, message.Name(q.Lower()), q.Type)
		}
		return message.Done
	})
	seen := new(journal)
	asking := block(t, "twice.", twice)
	asking.Observers = []Observer{seen}
	b := newBench(t, asking)
	b.server.limits = Limits{InnerDepth: 20, InnerQuestions: 50}.withDefaults()
	for range 2 { // each query has its own
		asked = 0
		*seen = journal{}
		outer := query(t, "outer.", dns.TypeA)
		outer.Resolver = b.server
		b.server.Resolve(outer, name(t, "a.twice."), message.TypeA)
		if asked > 50 || asked < 20 { // those beyond the depth count too
			t.Errorf("%d questions", asked)
		}
		if n := strings.Count(seen.text(), errMany.Error()); n != 1 {
			t.Errorf("said %d times that there are too many", n)
		}
	}
}

// TestRespondAllocatesNothing checks the usual path and the refusals.
func TestRespondAllocatesNothing(t *testing.T) {
	others := block(t, "cluster.local.", passing)
	others.Takes = func(q *message.Query) bool { return q.Type == message.TypeTXT }
	b := newBench(t, others, block(t, "cluster.local.", passing, answering(1)), block(t, "local.", passing), block(t, "fail.", giving(message.ServFail, "", nil)))
	b.server.config.Dropped = observing(func(*message.Query, *message.Reply) {})
	out := make([]byte, 0, message.MaxLen)
	for _, packet := range []string{
		"1234 0100 0001 0000 0000 0001 'web' 'cluster' 'local' 00 0001 0001 00 0029 1000 0000 0000 0000",
		"1234 0100 0001 0000 0000 0000 'web' 'cluster' 'local' 00 001c 0001",
		"1234 0100 0001 0000 0000 0000 'web' 'local' 00 0001 0001",
		"1234 0100 0001 0000 0000 0000 'web' 'fail' 00 0001 0001",
		"1234 0100 0001 0000 0000 0000 'elsewhere' 00 0001 0001",
		"1234 0100 0000 0000 0000 0000",
	} {
		p := wiretest.Bytes(t, packet)
		if n := testing.AllocsPerRun(100, func() { b.respond(p, out) }); n != 0 {
			t.Errorf("%s: %v allocations", packet, n)
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	d := newBench(b, block(b, ".", passing, answering(1)))
	packet := wiretest.Bytes(b, "1234 0100 0001 0000 0000 0001 'web' 'prod' 'svc' 'cluster' 'local' 00 0001 0001 00 0029 04d0 0000 0000 0000")
	out := make([]byte, 0, message.MaxLen)
	b.ReportAllocs()
	for b.Loop() {
		d.respond(packet, out)
	}
}

// FuzzRespond checks that whatever comes is answered by a message that can be read, is not too long, and belongs to the
// question; and that nothing panics.
func FuzzRespond(f *testing.F) {
	for _, packet := range []string{
		"1234 0100 0001 0000 0000 0001 'many' 00 0001 0001 00 0029 1000 0000 8000 0000",
		"1234 0110 0001 0000 0000 0000 'a' 'nothing' 00 0001 0001",
		"1234 0100 0001 0000 0000 0001 'x' 00 0001 0003 00 0029 0000 0001 0000 0000",
		"1234 0100 0002 0000 0000 0001 'x' 00 0001 0001 'x' 00 0001 0001 00 0029 0200 0000 0000 0000",
		"1234 0100 0001 0001 0001 0001 'x' 00 00fb 0001 c00c 0006 0001 00000000 0000",
	} {
		f.Add(wiretest.Bytes(f, packet), true)
	}
	var set []byte
	for i := range 200 {
		set = message.AppendAddress(set, []byte{192, 0, 2, byte(i)}, 5)
	}
	many := step(func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Addresses(message.Answer, message.QuestionAt, set)
		return message.Done
	})
	b := newBench(f, block(f, "nothing.", passing), block(f, ".", many))
	f.Fuzz(func(t *testing.T, packet []byte, udp bool) {
		b.q.Transport = message.TCP
		limit := message.MaxLen
		if udp {
			b.q.Transport = message.UDP
		}
		reply, _ := b.respond(packet, nil)
		if len(b.panics) > 0 {
			t.Fatalf("panic: %v", b.panics)
		}
		if reply == nil {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("%s: %v", wiretest.Text(reply), err)
		}
		if udp {
			limit = max(message.MinUDPSize, int(b.q.EDNS.UDPSize))
		}
		if len(reply) > limit {
			t.Errorf("%d bytes, the limit is %d", len(reply), limit)
		}
		if !m.Response || m.Id != uint16(packet[0])<<8|uint16(packet[1]) {
			t.Errorf("answer to another query:\n%v", m)
		}
		if len(m.Question) == 1 && m.Question[0].Name != string(message.AppendName(nil, b.q.Name())) {
			t.Errorf("answer to another question:\n%v", m)
		}
	})
}
