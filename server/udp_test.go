package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// client is a UDP socket that hears answers from the address it asks only.
type client struct {
	*dns.Conn
	t testing.TB
}

func newClient(t testing.TB, network, addr string) *client {
	t.Helper()
	c, err := dns.DialTimeout(network, addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, t}
}

// send asks for type A of a name, with that ID.
func (c *client) send(id int, name string) {
	c.t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = uint16(id)
	if err := c.WriteMsg(m); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for n answers and returns the IDs, in the order in which they came.
func (c *client) receive(n int) (ids []int) {
	c.t.Helper()
	for range n {
		m, err := c.ReadMsg()
		if err != nil {
			c.t.Fatalf("after %d of %d answers: %v", len(ids), n, err)
		}
		ids = append(ids, int(m.Id))
	}
	return ids
}

// parking is a step that parks questions for names below "slow." until it is let go, and answers the others at once.
func parking(let <-chan struct{}) step {
	answer, slow := answering(1), message.Name("\x04slow\x00")
	return func(q *message.Query, r *message.Reply) message.Verdict {
		if q.Under(slow) {
			if !q.MayBlock {
				return message.Park
			}
			<-let
		}
		return answer(q, r)
	}
}

func TestUDPManyAtOnce(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	c := newClient(t, "udp", s.Addr().String())
	const n = 150 // some batches
	for id := range n {
		c.send(id, "x.example.")
	}
	seen := make(map[int]bool)
	for _, id := range c.receive(n) {
		seen[id] = true
	}
	if len(seen) != n {
		t.Errorf("%d different answers, want %d", len(seen), n)
	}
}

// TestUDPSource checks that the answer comes from the address that was asked, which the steps are told, also when it
// comes later.
func TestUDPSource(t *testing.T) {
	let := make(chan struct{})
	close(let)
	for _, addr := range []string{":0", "0.0.0.0:0", "127.0.0.2:0"} {
		var local, from atomic.Value
		watch := step(func(q *message.Query, r *message.Reply) message.Verdict {
			local.Store(q.Local)
			from.Store(q.From)
			if since := time.Since(q.Received); since < 0 || since > time.Minute {
				t.Errorf("received %v ago", since)
			}
			return message.Next
		})
		s := start(t, Config{Addr: addr, Blocks: []*Block{block(t, ".", watch, parking(let))}})
		asked := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), s.Addr().Port())
		c := newClient(t, "udp", asked.String())
		for id, name := range []string{"x.", "x.slow."} {
			c.send(id, name)
			c.receive(1)
			if local.Load() != asked || from.Load().(netip.AddrPort).String() != c.LocalAddr().String() {
				t.Errorf("%s: %s was asked of %v by %v, want %v by %v", addr, name, local.Load(), from.Load(), asked, c.LocalAddr())
			}
		}
	}
}

// TestUDPGarbage sends what is no query, or a hostile one, between good ones.
func TestUDPGarbage(t *testing.T) {
	var panics atomic.Int32
	s := start(t, Config{
		Blocks: []*Block{block(t, "panic.", panicking), block(t, ".", answering(1))},
		Panic:  func(any, []byte) { panics.Add(1) },
		Limits: Limits{Sockets: 1},
	})
	c := newClient(t, "udp", s.Addr().String())
	for _, packet := range []string{"", "x", strings.Repeat("\xff", 12), strings.Repeat("\x00", 9000)} {
		if _, err := c.Conn.Conn.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	for id := range 40 {
		c.send(id, "x.panic.")
	}
	c.send(99, "x.example.")
	if ids := c.receive(42); ids[41] != 99 { // the zeros are a header without a question
		t.Errorf("answers %v", ids)
	}
	if panics.Load() != 40 {
		t.Errorf("%d panics were reported, want 40", panics.Load())
	}
}

// TestUDPLongRequest asks with more bytes than are read of a request: what counts is what they begin with.
func TestUDPLongRequest(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	c := newClient(t, "udp", s.Addr().String())
	for padding, want := range map[int]int{100: dns.RcodeSuccess, 3000: dns.RcodeSuccess, 5000: dns.RcodeFormatError} {
		m := new(dns.Msg).SetQuestion("x.", dns.TypeA).SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, padding)})
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		reply, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != want {
			t.Errorf("%d bytes of padding: %s, want %s", padding, dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
		}
	}
}

// TestUDPLongReply asks for the longest replies, more of them at once than the loop's buffer holds.
func TestUDPLongReply(t *testing.T) {
	var set []byte
	for i := range 5000 {
		set = message.AppendAddress(set, []byte{10, 0, byte(i >> 8), byte(i)}, 5)
	}
	long := step(func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Addresses(message.Answer, message.QuestionAt, set)
		return message.Done
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", long)}, Limits: Limits{Sockets: 1}})
	c := newClient(t, "udp", s.Addr().String())
	c.UDPSize = 65535
	m := new(dns.Msg).SetQuestion("x.", dns.TypeA).SetEdns0(65535, false)
	for range 3 {
		for range 2 { // twice as many would not fit into the client's own buffer
			if err := c.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			reply, err := c.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			if !reply.Truncated || len(reply.Answer) != (message.MaxDatagram-12-7-11)/16 {
				t.Errorf("%d answers, TC %v", len(reply.Answer), reply.Truncated)
			}
		}
	}
}

// TestUDPParked checks that others do not wait behind a query that waits.
func TestUDPParked(t *testing.T) {
	let := make(chan struct{})
	s := start(t, Config{Blocks: []*Block{block(t, ".", parking(let))}, Limits: Limits{Sockets: 1, Parked: 3}})
	c := newClient(t, "udp", s.Addr().String())
	for id := range 4 {
		c.send(id, "x.slow.")
	}
	for id := 10; id < 50; id++ {
		c.send(id, "x.fast.")
	}
	if got := fmt.Sprint(c.receive(3)); got != "[3 10 11]" { // the fourth slow one is one too many
		t.Errorf("first answers %s", got)
	}
	c.receive(38)
	close(let)
	seen := make(map[int]bool)
	for _, id := range c.receive(3) {
		seen[id] = true
	}
	if !seen[0] || !seen[1] || !seen[2] {
		t.Errorf("late answers %v", seen)
	}
}

// TestUDPDrain ends a server whose sockets are full of queries: each of them is answered, and the parked one too.
func TestUDPDrain(t *testing.T) {
	let := make(chan struct{})
	s, err := Listen(Config{Addr: "127.0.0.1:0", Blocks: []*Block{block(t, ".", parking(let))}, Limits: Limits{Sockets: 2}, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*client
	const n = 40
	for range 6 {
		c := newClient(t, "udp", s.Addr().String())
		clients = append(clients, c)
		for id := range n {
			c.send(id, "x.fast.")
		}
		c.send(n, "x.slow.")
	}
	s.Start()
	ended := make(chan error)
	go func() { ended <- s.Shutdown(context.Background()) }()
	for _, c := range clients {
		c.receive(n)
	}
	close(let)
	for _, c := range clients {
		c.receive(1)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.Addr())); err != nil {
		t.Errorf("the address is not free: %v", err)
	} else {
		l.Close()
	}
}

// TestDrainLate ends a server whose deadlines have all passed before it gets to look: what was sent is answered nevertheless.
func TestDrainLate(t *testing.T) {
	defer func(before time.Duration) { stragglers = before }(stragglers)
	stragglers = -time.Second
	s, err := Listen(Config{Addr: "127.0.0.1:0", Blocks: []*Block{block(t, ".", answering(1))}, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*client
	for _, network := range []string{"udp", "tcp"} {
		c := newClient(t, network, s.Addr().String())
		for id := range 3 * batchLen {
			c.send(id, "x.")
		}
		clients = append(clients, c)
	}
	s.wake()
	s.Start()
	for _, c := range clients {
		c.receive(3 * batchLen)
	}
	s.running.Wait()
	s.closeSockets()
}

// TestHandover has servers take over from each other while clients ask: not one query is lost.
func TestHandover(t *testing.T) {
	config := Config{Addr: ":0", Blocks: []*Block{block(t, ".", answering(1))}, Limits: Limits{Sockets: 2}, Logf: t.Logf}
	serve := func() *Server {
		s, err := Listen(config)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		return s
	}
	s := serve()
	config.Addr = fmt.Sprintf(":%d", s.Addr().Port())
	to := "127.0.0.1" + config.Addr
	var clients sync.WaitGroup
	var stop atomic.Bool
	var asked, lost atomic.Int32
	for range 8 {
		clients.Go(func() {
			c := newClient(t, "udp", to)
			for !stop.Load() {
				m := new(dns.Msg).SetQuestion("x.", dns.TypeA)
				c.SetDeadline(time.Now().Add(20 * time.Second))
				if c.WriteMsg(m) != nil {
					lost.Add(1)
				} else if _, err := c.ReadMsg(); err != nil {
					lost.Add(1)
				}
				asked.Add(1)
			}
		})
	}
	for range 10 {
		for before := asked.Load(); asked.Load() < before+10; { // so that each server is asked
			runtime.Gosched()
		}
		next := serve()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		s = next
	}
	stop.Store(true)
	clients.Wait()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if lost.Load() != 0 || asked.Load() < 100 {
		t.Errorf("%d of %d queries lost", lost.Load(), asked.Load())
	}
}
