package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// step is a Step made of a function.
type step func(q *message.Query, r *message.Reply) message.Verdict

func (s step) Serve(q *message.Query, r *message.Reply) message.Verdict { return s(q, r) }

// answering is a step that has an address for every name of class IN and type A, and none for other types.
func answering(last byte) step {
	set := message.AppendAddress(nil, []byte{192, 0, 2, last}, 5)
	return func(q *message.Query, r *message.Reply) message.Verdict {
		r.Authoritative, r.By = true, "answering"
		if q.Type == message.TypeA {
			r.Addresses(message.Answer, message.QuestionAt, set)
		}
		return message.Done
	}
}

// block is a block for zones, between blanks, with steps.
func block(t testing.TB, zones string, steps ...Step) *Block {
	t.Helper()
	b := &Block{Steps: steps, Last: "last"}
	for _, zone := range strings.Fields(zones) {
		b.Zones = append(b.Zones, name(t, zone))
	}
	b.Label = b.Zones[0].String()
	return b
}

func name(t testing.TB, text string) message.Name {
	t.Helper()
	n, err := message.ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// journal is an Observer that writes lines: question, response code, who answered, what went wrong.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Observe(q *message.Query, r *message.Reply) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprintf("%s %d", message.AppendName(nil, q.Lower()), r.Rcode)
	if r.By != "" {
		line += " by " + r.By
	}
	if r.Err != nil {
		line += ": " + r.Err.Error()
	}
	j.lines = append(j.lines, line)
}

// text is what was written so far.
func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// start serves a configuration on a loopback address until the test ends.
func start(t testing.TB, config Config) *Server {
	t.Helper()
	if config.Addr == "" {
		config.Addr = "127.0.0.1:0"
	}
	if config.Logf == nil {
		config.Logf = t.Logf
	}
	if config.Limits.Sockets == 0 {
		config.Limits.Sockets = 2
	}
	s, err := Listen(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// exchange asks for type A of a name over a network, "udp" or "tcp".
func exchange(t testing.TB, network, addr, name string) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 20 * time.Second}
	reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), addr)
	if err != nil {
		t.Fatalf("asking %s for %s over %s: %v", addr, name, network, err)
	}
	return reply
}

func TestServer(t *testing.T) {
	cases := [][2]string{{"127.0.0.1:0", "127.0.0.1"}, {":0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.1"}}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // a machine may have no IPv6
		l.Close()
		cases = append(cases, [][2]string{{"[::1]:0", "::1"}, {":0", "::1"}, {"[::]:0", "127.0.0.1"}}...)
	}
	for _, tt := range cases {
		s := start(t, Config{Addr: tt[0], Blocks: []*Block{block(t, ".", answering(1))}})
		to := netip.AddrPortFrom(netip.MustParseAddr(tt[1]), s.Addr().Port()).String()
		for _, network := range []string{"udp", "tcp"} {
			reply := exchange(t, network, to, "Web.Example.")
			if got, want := records(reply), "Web.Example. 5 IN A 192.0.2.1"; got != want {
				t.Errorf("%s over %s: %s, want %s", tt[0], network, got, want)
			}
		}
	}
}

// records is the answer section, a line each.
func records(m *dns.Msg) string {
	var lines []string
	for _, rr := range m.Answer {
		lines = append(lines, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(lines, "\n")
}

func TestListenErrors(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.LocalAddr().String()
	for _, tt := range []struct{ addr, want string }{
		{taken, "listening on udp " + taken + ": listen udp " + taken + ": bind: address already in use; another program or user has this address: ss -lnp shows which"},
		{"127.0.0.1", `listening on "127.0.0.1": address 127.0.0.1: missing port in address`},
		{"192.0.2.1:5300", "listening on udp 192.0.2.1:5300: listen udp 192.0.2.1:5300: bind: cannot assign requested address; no interface has this address: ip addr shows those that there are"},
		{"127.0.0.1:none", "listening on udp 127.0.0.1:none: listen udp: lookup udp/none: unknown port"},
	} {
		if _, err := Listen(Config{Addr: tt.addr}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.addr, err, tt.want)
		}
	}
	exchange(t, "udp", s.Addr().String(), "x.")
}

// TestSetBlocks exchanges the blocks under a running server.
func TestSetBlocks(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	for i := byte(1); i < 4; i++ {
		s.SetBlocks([]*Block{block(t, "example.", answering(i))})
		want := fmt.Sprintf("a.example. 5 IN A 192.0.2.%d", i)
		if got := records(exchange(t, "udp", s.Addr().String(), "a.example.")); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if reply := exchange(t, "tcp", s.Addr().String(), "elsewhere."); reply.Rcode != dns.RcodeRefused {
		t.Errorf("a name that is in no zone any more\n%v", reply)
	}
}

// TestShutdown checks that it ends what was never started, and is safe to be called twice.
func TestShutdown(t *testing.T) {
	s, err := Listen(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestGrace checks that Shutdown gives up on a query that takes too long, and says so.
func TestGrace(t *testing.T) {
	let := make(chan struct{})
	b := block(t, ".", step(func(q *message.Query, r *message.Reply) message.Verdict {
		if !q.MayBlock {
			return message.Park
		}
		<-let
		return message.Done
	}))
	defer close(let)
	s, err := Listen(Config{Addr: "127.0.0.1:0", Blocks: []*Block{b}, Limits: Limits{Grace: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	c, err := dns.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMsg(new(dns.Msg).SetQuestion("x.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); !errors.Is(err, errUnanswered) {
		t.Errorf("%v", err)
	}
}

// TestLimits checks what the limits of the sockets do.
func TestLimits(t *testing.T) {
	var mu sync.Mutex
	shards := make(map[int]bool)
	note := step(func(q *message.Query, _ *message.Reply) message.Verdict {
		mu.Lock()
		defer mu.Unlock()
		shards[q.Shard] = true
		return message.Next
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", note, answering(1))}, Limits: Limits{Sockets: Shards + 2, ReceiveBuffer: 32 << 10}})
	if len(s.udp) != Shards+2 {
		t.Errorf("%d sockets", len(s.udp))
	}
	for range 200 {
		exchange(t, "udp", s.Addr().String(), "x.")
		exchange(t, "tcp", s.Addr().String(), "x.")
	}
	if len(shards) < Shards/2 {
		t.Errorf("only shards %v", shards)
	}
	for shard := range shards {
		if shard < 0 || shard >= Shards {
			t.Errorf("shard %d", shard)
		}
	}
	err := control(s.udp[0].raw, func(fd int) error {
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if size != 64<<10 { // the kernel doubles what is asked for, see socket(7)
			t.Errorf("receive buffer of %d bytes", size)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
