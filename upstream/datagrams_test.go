package upstream

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// outcome is how a question has ended.
type outcome struct {
	reply *message.Packed
	err   error
}

type asker chan outcome

func newAsker() asker { return make(asker, 16) }

func (a asker) Answered(reply *message.Packed, err error) { a <- outcome{reply, err} }

// wait returns how the question has ended.
func (a asker) wait(t testing.TB) outcome {
	t.Helper()
	select {
	case o := <-a:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was told")
		return outcome{}
	}
}

// one sends a question for name and waits for its end.
func one(t testing.TB, s *Server, name string, over message.Transport) outcome {
	t.Helper()
	a := newAsker()
	if err := s.Ask(NewQuestion(plugintest.Ask(t, name, dns.TypeA), false), over, a); err != nil {
		return outcome{err: err}
	}
	return a.wait(t)
}

// start makes a server that waits for longer than a slow machine takes, but where the test says how long.
func start(t testing.TB, c Config) *Server {
	t.Helper()
	c.Read, c.Dial = cmp.Or(c.Read, 20*time.Second), cmp.Or(c.Dial, 20*time.Second)
	s := New(c)
	t.Cleanup(s.Close)
	return s
}

// startFresh is upstreamtest.StartLiar for who is to hear each request once. One that has had no reply for a while is sent again as
// it was, which a slow machine may cause.
func startFresh(t testing.TB, handle func(l *upstreamtest.Liar, request []byte, from netip.AddrPort)) *upstreamtest.Liar {
	type sent struct {
		request string
		from    netip.AddrPort
	}
	heard := map[sent]bool{}
	return upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		if one := (sent{string(request), from}); !heard[one] {
			heard[one] = true
			handle(l, request, from)
		}
	})
}

// edit is a reply to a request, changed.
func edit(request []byte, change func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	if m.Unpack(request) != nil {
		return nil
	}
	m.Response = true
	rr, _ := dns.NewRR("www.example. 30 IN A 192.0.2.1")
	m.Answer = append(m.Answer, rr)
	change(m)
	b, _ := m.Pack()
	return b
}

func right(*dns.Msg) {}

// TestLies: whatever comes before the right reply does not matter.
func TestLies(t *testing.T) {
	lies := []struct {
		name string
		make func(request []byte) []byte
	}{
		{"nothing", func([]byte) []byte { return nil }},
		{"one byte", func([]byte) []byte { return []byte{0} }},
		{"a header", func(b []byte) []byte { return []byte{b[0], b[1], 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0} }},
		{"a header that says SERVFAIL", func(b []byte) []byte { return []byte{b[0], b[1], 0x81, 0x82, 0, 0, 0, 0, 0, 0, 0, 0} }},
		{"the request", func(b []byte) []byte { return b }},
		{"half of it", func(b []byte) []byte { b = edit(b, right); return b[:len(b)/2] }},
		{"all but a byte", func(b []byte) []byte { b = edit(b, right); return b[:len(b)-1] }},
		{"another ID", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Id++ }) }},
		{"another name", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Question[0].Name = "wwx.example." }) }},
		{"a longer name", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Question[0].Name = "a.www.example." }) }},
		{"another type", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }) }},
		{"another class", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }) }},
		{"two questions", func(b []byte) []byte {
			return edit(b, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		}},
		{"another opcode", func(b []byte) []byte { return edit(b, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }) }},
		{"a count that is too high", func(b []byte) []byte { b = edit(b, right); b[7] = 9; return b }},
		{"an address that is too long", func(b []byte) []byte { b = edit(b, right); b[len(b)-5] = 5; return append(b, 0) }},
	}
	server := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		for _, lie := range lies {
			l.Send(lie.make(request), from)
		}
		l.Send(edit(request, right), from)
		l.Send(edit(request, right), from)
	})
	s := start(t, Config{Addr: server.Addr, Expire: time.Minute})
	o := one(t, s, "www.example.", message.UDP)
	if o.err != nil || o.reply.Rcode != message.NoError {
		t.Fatalf("reply %+v, error %v", o.reply, o.err)
	}
	again := one(t, s, "www.example.", message.UDP)
	if again.err != nil {
		t.Fatal(again.err)
	}
	if n := testutil.ToFloat64(s.metrics.wrong); int(n) < len(lies) {
		t.Errorf("%v wrong replies were counted, of %d", n, len(lies))
	}
}

// TestOthersAreNotHeard: the kernel lets nobody but the server through, so that another host or port may know ID and
// question and still cannot reply.
func TestOthersAreNotHeard(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	server := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		forged := edit(request, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })
		other.WriteTo(forged, net.UDPAddrFromAddrPort(from))
		l.Send(edit(request, right), from)
	})
	s := start(t, Config{Addr: server.Addr})
	for range 20 {
		if o := one(t, s, "www.example.", message.UDP); o.err != nil || o.reply.Rcode != message.NoError {
			t.Fatalf("reply %+v, error %v", o.reply, o.err)
		}
	}
	if n := testutil.ToFloat64(s.metrics.wrong); n != 0 {
		t.Errorf("%v wrong replies", n)
	}
}

func TestSilence(t *testing.T) {
	server := upstreamtest.StartLiar(t, func(*upstreamtest.Liar, []byte, netip.AddrPort) {})
	s := start(t, Config{Addr: server.Addr, Read: 20 * time.Millisecond})
	a := newAsker()
	for range 10 {
		if err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.UDP, a); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		err := a.wait(t).err
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "read udp 127.0.0.1:") || !strings.HasSuffix(err.Error(), "->"+server.Addr.String()+": i/o timeout") {
			t.Errorf("error %v", err)
		}
	}
	if s.udp.waiting.first != nil {
		t.Error("somebody still waits")
	}
}

// TestTooLate: a reply after the deadline is nobody's.
func TestTooLate(t *testing.T) {
	asked := make(chan []byte, 1)
	var from atomic.Value
	server := upstreamtest.StartLiar(t, func(_ *upstreamtest.Liar, request []byte, who netip.AddrPort) {
		from.Store(who)
		asked <- request
	})
	s := start(t, Config{Addr: server.Addr, Read: 10 * time.Millisecond, Expire: time.Minute})
	if o := one(t, s, "www.example.", message.UDP); !errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", o.err)
	}
	server.Send(edit(<-asked, right), from.Load().(netip.AddrPort))
	if o := one(t, s, "www.example.", message.UDP); !errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", o.err)
	}
}

// TestNobodyListens: the host says so at once.
func TestNobodyListens(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	for range 3 {
		o := one(t, s, "www.example.", message.UDP)
		if !errors.Is(o.err, syscall.ECONNREFUSED) || !strings.HasSuffix(o.err.Error(), "->"+addr.String()+": read: connection refused") {
			t.Errorf("error %v", o.err)
		}
	}
}

// TestNotReachable: an address that no route leads to is an error of Ask.
func TestNotReachable(t *testing.T) {
	s := start(t, Config{Addr: netip.MustParseAddrPort("127.0.0.1:53"), Source: netip.MustParseAddr("192.0.2.1")})
	err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.UDP, newAsker())
	if want := "asking 127.0.0.1:53: bind 192.0.2.1: cannot assign requested address"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRandom: IDs and ports cannot be foretold. Each of the 16 values of four bits of an ID comes about as often; the bound
// of chi-square with 15 degrees of freedom is exceeded once in ten million runs.
func TestRandom(t *testing.T) {
	type sent struct {
		id   uint16
		port uint16
	}
	seen := make(chan sent, 1)
	before := ""
	server := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		if now := from.String() + string(request); now != before { // else it is sent again
			before = now
			l.Send(edit(request, right), from)
			seen <- sent{binary.BigEndian.Uint16(request), from.Port()}
		}
	})
	s := start(t, Config{Addr: server.Addr, Expire: time.Minute})
	const rounds = 4000
	ports := map[uint16]int{}
	var nibbles [4][16]int
	steps := map[int]int{}
	last := sent{}
	for range rounds {
		if o := one(t, s, "www.example.", message.UDP); o.err != nil {
			t.Fatal(o.err)
		}
		now := <-seen
		ports[now.port]++
		for i := range nibbles {
			nibbles[i][now.id>>(4*i)&0xF]++
		}
		steps[int(now.port)-int(last.port)]++
		last = now
	}
	if len(ports) != portSlots {
		t.Errorf("%d ports", len(ports))
	}
	for i, counts := range nibbles {
		chi := 0.0
		for _, n := range counts {
			chi += math.Pow(float64(n)-rounds/16, 2) / (rounds / 16)
		}
		if chi > 60 {
			t.Errorf("bits %d to %d of the ID: chi-square %.0f, counts %v", 4*i, 4*i+3, chi, counts)
		}
	}
	for port, n := range ports {
		if mean := float64(rounds) / portSlots; math.Abs(float64(n)-mean) > 7*math.Sqrt(mean) {
			t.Errorf("port %d was used %d times of %d", port, n, rounds)
		}
	}
	for step, n := range steps {
		if n > rounds/20 {
			t.Errorf("port %+d follows %d times of %d", step, n, rounds)
		}
	}
}

// TestFreshPorts: without Expire each question has a port of its own, and none stays open.
func TestFreshPorts(t *testing.T) {
	ports := make(chan uint16, 1)
	server := startFresh(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		l.Send(edit(request, right), from)
		ports <- from.Port()
	})
	s := start(t, Config{Addr: server.Addr})
	seen := map[uint16]bool{}
	for range 50 {
		if o := one(t, s, "www.example.", message.UDP); o.err != nil {
			t.Fatal(o.err)
		}
		seen[<-ports] = true
	}
	if len(seen) < 45 { // the kernel may choose one twice
		t.Errorf("%d ports for 50 questions", len(seen))
	}
	s.udp.mu.Lock()
	defer s.udp.mu.Unlock()
	if len(s.udp.ports) != 0 {
		t.Errorf("%d ports are open", len(s.udp.ports))
	}
}

// TestExpire: a port that has served its time is closed without being chosen again.
func TestExpire(t *testing.T) {
	server := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		l.Send(edit(request, right), from)
	})
	s := start(t, Config{Addr: server.Addr, Expire: time.Minute})
	for range 20 {
		if o := one(t, s, "www.example.", message.UDP); o.err != nil {
			t.Fatal(o.err)
		}
	}
	s.udp.mu.Lock()
	open := len(s.udp.ports)
	for _, p := range s.udp.ports {
		p.opened = p.opened.Add(-time.Minute)
	}
	s.udp.mu.Unlock()
	if open < 10 {
		t.Errorf("%d ports for 20 questions", open)
	}
	s.udp.retireOld() // as its timer does
	s.udp.mu.Lock()
	defer s.udp.mu.Unlock()
	if len(s.udp.ports) != 0 {
		t.Errorf("%d ports are open", len(s.udp.ports))
	}
}

// TestClose: a question that waits has its reply, and then nothing is left; one that comes later is answered too.
func TestClose(t *testing.T) {
	asked := make(chan []byte, 1)
	var from atomic.Value
	server := startFresh(t, func(_ *upstreamtest.Liar, request []byte, who netip.AddrPort) {
		from.Store(who)
		asked <- request
	})
	s := New(Config{Addr: server.Addr, Read: 20 * time.Second, Expire: time.Minute})
	for range 2 {
		a := newAsker()
		if err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.UDP, a); err != nil {
			t.Fatal(err)
		}
		request := <-asked
		s.Close()
		server.Send(edit(request, right), from.Load().(netip.AddrPort))
		if o := a.wait(t); o.err != nil {
			t.Fatal(o.err)
		}
		s.udp.mu.Lock()
		if len(s.udp.ports) != 0 || s.udp.poll != nil {
			t.Errorf("%d ports are open, poller %v", len(s.udp.ports), s.udp.poll)
		}
		s.udp.mu.Unlock()
	}
}

// TestLetters: a server that echoes the case of letters is known for it soon; after that a forged reply in another case is
// not believed. One that does not is asked in lower case.
func TestLetters(t *testing.T) {
	var fold, forge atomic.Bool
	var mixed atomic.Int64
	server := startFresh(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		folded := func(m *dns.Msg) {
			m.Question[0].Name = strings.ToLower(m.Question[0].Name)
			m.Rcode = dns.RcodeRefused
		}
		if name := string(request[12 : len(request)-4]); name != strings.ToLower(name) {
			mixed.Add(1)
		}
		if forge.Load() || fold.Load() {
			l.Send(edit(request, folded), from)
		}
		if !fold.Load() {
			l.Send(edit(request, right), from)
		}
	})
	const name = "a-name-of-many-letters-so-that-all-lower-is-rare.example."
	s := start(t, Config{Addr: server.Addr, Expire: time.Minute})
	rcode := func() any {
		o := one(t, s, name, message.UDP)
		if o.err != nil {
			return o.err
		}
		return o.reply.Rcode
	}
	for range certain {
		if got := rcode(); got != message.NoError {
			t.Fatalf("rcode %v", got)
		}
	}
	forge.Store(true)
	for range 10 {
		if got := rcode(); got != message.NoError {
			t.Fatalf("a forged reply was believed: %v", got)
		}
	}
	if n := mixed.Load(); n != certain+10 {
		t.Errorf("%d names were mixed", n)
	}
	// The server's host runs another program now, which does not echo. Its reply is there when the time to wait for one is over.
	fold.Store(true)
	a, wrong := newAsker(), testutil.ToFloat64(s.metrics.wrong)
	if err := s.Ask(NewQuestion(plugintest.Ask(t, name, dns.TypeA), false), message.UDP, a); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Eventually(t, func() bool { return testutil.ToFloat64(s.metrics.wrong) > wrong })
	s.udp.mu.Lock()
	s.udp.waiting.first.deadline = time.Now()
	s.udp.mu.Unlock()
	s.udp.tick() // as its timer does
	if o := a.wait(t); !errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", o.err)
	}
	for range 3 {
		if got := rcode(); got != message.Refused {
			t.Errorf("rcode %v", got)
		}
	}
	if n := mixed.Load(); n != certain+10+2 {
		t.Errorf("%d names were mixed", n)
	}
}

// TestManyAtOnce: questions of one port are told apart.
func TestManyAtOnce(t *testing.T) {
	var held [][]byte
	var holders []netip.AddrPort
	const many = 200 // which fit into the server's receive buffer
	server := startFresh(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		held, holders = append(held, request), append(holders, from)
		if len(held) < many {
			return
		}
		for i := many - 1; i >= 0; i-- {
			l.Send(edit(held[i], right), holders[i])
		}
	})
	s := start(t, Config{Addr: server.Addr, Expire: time.Minute})
	a := make(asker, many)
	q := NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false)
	for range many {
		if err := s.Ask(q, message.UDP, a); err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		if o := a.wait(t); o.err != nil {
			t.Fatal(o.err)
		}
	}
}
