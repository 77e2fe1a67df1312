package probe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a DNS server on a loopback address that can be made to say nothing.
type server struct {
	at   netip.AddrPort
	conn *net.UDPConn
	mute bool
}

// answer takes the next question and answers it, unless it is mute.
func (s *server) answer(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 512)
	n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(buffer[:n]); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %s %s", m.Question[0].Name, dns.Class(m.Question[0].Qclass), dns.Type(m.Question[0].Qtype)); got != "id.server. CH TXT" || m.RecursionDesired {
		t.Fatalf("asked for %q", got)
	}
	if s.mute {
		return
	}
	reply, err := new(dns.Msg).SetRcode(&m, dns.RcodeRefused).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn.WriteToUDPAddrPort(reply, from); err != nil {
		t.Fatal(err)
	}
}

// lab is a prober whose rounds the test makes, and its servers on 127.0.0.1, 127.0.0.2, ...
type lab struct {
	*Prober
	servers  []*server
	from, to int // which of the servers are endpoints
	told     []string
	asked    string
}

func newLab(t *testing.T, servers int) *lab {
	t.Helper()
	l := &lab{to: servers}
	for i := range servers {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(1+i))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		l.servers = append(l.servers, &server{at: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), conn: conn})
	}
	p, err := Open(Options{
		Endpoints: func() (all []netip.AddrPort) {
			for _, s := range l.servers[l.from:l.to] {
				all = append(all, s.at)
			}
			return all
		},
		Use:   func(used []netip.Addr) { l.told = append(l.told, fmt.Sprint(used)) },
		Asked: func(answered, unanswered int) { l.asked = fmt.Sprintf("%d answered, %d did not", answered, unanswered) },
		Log:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	l.Prober = p
	return l
}

// rounds has so many pass: each server gets its question, and each answer is heard.
func (l *lab) rounds(t *testing.T, n int) {
	t.Helper()
	for range n {
		l.round()
		l.hearFrom(t, func(b *backend) bool { return !b.waits })
	}
}

// soon has those that are due be asked between rounds.
func (l *lab) soon(t *testing.T, due func(*backend) bool) {
	t.Helper()
	l.ask(due)
	l.hearFrom(t, func(b *backend) bool { return b.waits })
}

// hearFrom has those answer who were asked.
func (l *lab) hearFrom(t *testing.T, asked func(*backend) bool) {
	t.Helper()
	buffer := make([]byte, 512)
	for _, s := range l.servers[l.from:l.to] {
		if !asked(l.backends[s.at]) {
			continue
		}
		s.answer(t)
		if s.mute {
			continue
		}
		n, from, err := l.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			t.Fatal(err)
		}
		l.hear(buffer[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

func (l *lab) expect(t *testing.T, told ...string) {
	t.Helper()
	if !slices.Equal(l.told, told) {
		t.Errorf("told %q, want %q", l.told, told)
	}
	l.told = nil
}

func TestWhoCeasesToAnswerIsSilent(t *testing.T) {
	l := newLab(t, 3)
	l.rounds(t, 2)
	l.expect(t, "[127.0.0.1 127.0.0.2 127.0.0.3]")
	if l.asked != "3 answered, 0 did not" {
		t.Errorf("after a round: %s", l.asked)
	}
	l.servers[1].mute = true
	l.rounds(t, 3) // the last of these questions may still be answered
	l.expect(t)
	l.rounds(t, 1)
	l.expect(t, "[127.0.0.1 127.0.0.3]")
	if l.asked != "2 answered, 1 did not" {
		t.Errorf("after a round: %s", l.asked)
	}
	l.rounds(t, 10)
	l.expect(t)
	l.servers[1].mute = false
	l.rounds(t, 1)
	l.expect(t, "[127.0.0.1 127.0.0.2 127.0.0.3]")
}

func TestOneLostQuestionMeansNothing(t *testing.T) {
	l := newLab(t, 2)
	l.rounds(t, 1)
	l.expect(t, "[127.0.0.1 127.0.0.2]")
	for range 5 {
		l.servers[0].mute = true
		l.rounds(t, 2)
		l.servers[0].mute = false
		l.rounds(t, 1)
	}
	l.expect(t)
}

func TestWhoNeverAnsweredIsNotSilent(t *testing.T) {
	l := newLab(t, 2)
	l.servers[0].mute = true
	l.rounds(t, 30)
	l.expect(t, "[127.0.0.1 127.0.0.2]")
}

// A server that is said to be ready may not listen yet: it waits, but not for ever.
func TestWhoIsNewWaitsForItsAnswer(t *testing.T) {
	l := newLab(t, 2)
	l.to = 1
	l.rounds(t, 1)
	l.expect(t, "[127.0.0.1]")
	for _, c := range []struct {
		name     string
		mute     int // so many of its questions stay without an answer
		wantUsed int // it is used after so many
	}{
		{"that answers at once", 0, 1},
		{"that answers soon", 3, 4},
		{"that answers others only", 30, 21}, // which is seen when it is to be asked again
	} {
		t.Run("one "+c.name, func(t *testing.T) {
			l.servers[1].mute = c.mute > 0
			l.to = 2
			l.meet()
			l.soon(t, unasked)
			asked := 1
			for ; len(l.told) == 0 && asked < 50; asked++ {
				l.servers[1].mute = c.mute > asked
				if _, waits := l.toAsk(); !waits {
					t.Fatalf("after %d questions nobody waits", asked)
				}
				l.rounds(t, 1) // in which those who wait are not asked
				l.soon(t, waiting)
			}
			l.expect(t, "[127.0.0.1 127.0.0.2]")
			if asked != c.wantUsed {
				t.Errorf("it is used after %d questions, not %d", asked, c.wantUsed)
			}
			l.rounds(t, 10)
			l.expect(t)
			l.to = 1
			l.rounds(t, 1)
			l.expect(t, "[127.0.0.1]")
		})
	}
}

// Where nobody answers, there is nothing to wait for.
func TestWhoIsNewIsUsedWhereNobodyAnswers(t *testing.T) {
	for name, rounds := range map[string]int{"any more": 1, "ever": 0} {
		l := newLab(t, 2)
		l.to = 1
		l.rounds(t, rounds)
		l.servers[0].mute, l.servers[1].mute = true, true
		l.rounds(t, 4)
		l.told = nil
		l.to = 2
		l.meet()
		if len(l.told) != 1 || !slices.Contains(l.used, l.servers[1].at.Addr()) {
			t.Errorf("nobody answers %s: told %q", name, l.told)
		}
	}
}

func TestWhoIsNoEndpointAnyMoreIsForgotten(t *testing.T) {
	l := newLab(t, 2)
	l.rounds(t, 1)
	l.servers[0].mute = true
	l.rounds(t, 4)
	l.expect(t, "[127.0.0.1 127.0.0.2]", "[127.0.0.2]")
	l.from = 1
	l.rounds(t, 1)
	l.expect(t)
	l.from = 0
	l.meet()
	if b := l.backends[l.servers[0].at]; b == nil || b.known || !b.waits {
		t.Errorf("of who is back is known %+v", b)
	}
}

// As many are asked as is bearable, all others are used.
func TestEndpointsBeyondTheMost(t *testing.T) {
	l := newLab(t, 0)
	var all []netip.AddrPort
	at := netip.MustParseAddr("127.1.0.1")
	for range most + 3 {
		all = append(all, netip.AddrPortFrom(at, 9))
		at = at.Next()
	}
	l.o.Endpoints = func() []netip.AddrPort { return all }
	l.meet()
	if len(l.backends) != most || len(l.used) != len(all) {
		t.Errorf("%d are asked and %d are used", len(l.backends), len(l.used))
	}
}

func TestNobodyToAskIsRest(t *testing.T) {
	l := newLab(t, 1)
	for _, c := range []struct {
		endpoints int
		want      bool
	}{{0, false}, {1, true}, {0, false}} {
		l.to = c.endpoints
		l.rounds(t, 1)
		if anybody, waits := l.toAsk(); anybody != c.want || waits {
			t.Errorf("%d servers: another round is to follow: %t, before a round: %t", c.endpoints, anybody, waits)
		}
	}
	if len(l.backends) > 0 {
		t.Errorf("%d are remembered", len(l.backends))
	}
}

func TestRefreshEndsARest(t *testing.T) {
	l := newLab(t, 1)
	var there atomic.Bool
	looked := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	l.Prober.o.Every = time.Millisecond
	l.Prober.o.Endpoints = func() []netip.AddrPort {
		select {
		case looked <- struct{}{}:
		default:
		}
		if there.Load() {
			return []netip.AddrPort{l.servers[0].at}
		}
		return nil
	}
	running.Go(func() { l.Run(ctx) })
	<-looked
	there.Store(true)
	l.Refresh()
	l.servers[0].answer(t) // waits for a question
	cancel()
	running.Wait()
}

func TestOthersAnswersDoNotCount(t *testing.T) {
	l := newLab(t, 1)
	l.rounds(t, 1)
	l.servers[0].mute = true
	l.rounds(t, 4)
	l.expect(t, "[127.0.0.1]", "[]")
	id := l.backends[l.servers[0].at].id
	good := question(id)
	good[2] |= 0x80
	for name, c := range map[string]struct {
		message []byte
		from    netip.AddrPort
	}{
		"of another server":    {good, netip.MustParseAddrPort("127.0.0.9:53")},
		"to another question":  {append([]byte{good[0] ^ 1}, good[1:]...), l.servers[0].at},
		"that is a question":   {question(id), l.servers[0].at},
		"that is cut short":    {good[:headerLength-1], l.servers[0].at},
		"that says nothing":    {nil, l.servers[0].at},
		"from another port":    {good, netip.AddrPortFrom(l.servers[0].at.Addr(), l.servers[0].at.Port()^1)},
		"of another's address": {good, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), l.servers[0].at.Port())},
	} {
		l.hear(c.message, c.from)
		if len(l.told) > 0 {
			t.Errorf("an answer %s counts", name)
		}
	}
	l.hear(good, l.servers[0].at)
	l.expect(t, "[127.0.0.1]")
}

func FuzzAnswers(f *testing.F) {
	f.Add(question(7), uint16(7))
	f.Add([]byte{0, 7, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint16(7))
	f.Fuzz(func(t *testing.T, message []byte, id uint16) {
		var m dns.Msg
		if ok := answers(message, id); m.Unpack(message) == nil && ok != (m.Response && m.Id == id) {
			t.Errorf("%x answers %d: %t", message, id, ok)
		}
	})
}
