package upstream

import (
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// TestLoss: a question that gets lost is sent again, twice at most and as it was, long before it is given up.
func TestLoss(t *testing.T) {
	type sent struct {
		packet string
		from   netip.AddrPort
	}
	seen := make(chan sent, 100)
	var lose atomic.Bool
	server := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		if request[len(request)-3] == byte(dns.TypeNS) {
			return // a probe
		}
		seen <- sent{string(request), from}
		if len(seen) > 2 && !lose.Load() {
			l.Send(edit(request, right), from)
		}
	})
	s := start(t, Config{Addr: server.Addr, Read: 20 * time.Second, Expire: time.Minute})
	began := time.Now()
	if o := one(t, s, "www.example.", message.UDP); o.err != nil {
		t.Fatal(o.err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if first, second, third := <-seen, <-seen, <-seen; first != second || second != third {
		t.Errorf("sent %v, then %v, then %v", first, second, third)
	}
	// A server that is being probed is left in peace.
	lose.Store(true)
	s = start(t, Config{Addr: server.Addr, Read: 700 * time.Millisecond, Expire: time.Minute})
	s.Check()
	if o := one(t, s, "www.example.", message.UDP); !errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", o.err)
	}
	if n := len(seen); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestRoundTrip(t *testing.T) {
	var trip roundTrip
	for _, tt := range []struct{ took, want time.Duration }{
		{0, 500 * time.Millisecond}, // before the first reply
		{100 * time.Millisecond, 300 * time.Millisecond},
		{100 * time.Millisecond, 250 * time.Millisecond},
		{100 * time.Millisecond, 212 * time.Millisecond},
		{100 * time.Millisecond, 200 * time.Millisecond},
		{time.Second, 1176 * time.Millisecond},
	} {
		if tt.took > 0 {
			trip.took(tt.took)
		}
		if got := trip.patience().Round(2 * time.Millisecond); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.took, got, tt.want)
		}
	}
}

// TestQueue: what is sent again, and what is told, in any order of replies.
func TestQueue(t *testing.T) {
	var q queue
	var all []*pending
	at := time.Unix(0, 0)
	for i := range 6 {
		p := &pending{asked: at.Add(time.Duration(i) * time.Second), deadline: at.Add(time.Duration(10+i) * time.Second)}
		all = append(all, p)
		if first := q.push(p); first != (i == 0) {
			t.Errorf("question %d: first %v", i, first)
		}
	}
	q.remove(all[0])
	q.remove(all[2])
	q.remove(all[2])
	const patience = 2 * time.Second
	if got := q.again(at.Add(5*time.Second), patience); len(got) != 2 || got[0] != all[1] || got[1] != all[3] {
		t.Errorf("sent again: %v", got)
	}
	if got := q.again(at.Add(5*time.Second), patience); len(got) != 0 {
		t.Errorf("sent a third time too early: %v", got)
	}
	if due := q.due(patience); due != at.Add(6*time.Second) {
		t.Errorf("due at %v", due)
	}
	q.remove(all[4])
	if got := q.again(at.Add(7*time.Second), patience); len(got) != 2 || got[0] != all[5] || got[1] != all[1] {
		t.Errorf("sent again, and a third time: %v", got)
	}
	if got := q.before(at.Add(13 * time.Second)); len(got) != 2 || got[0] != all[1] || got[1] != all[3] {
		t.Errorf("told: %v", got)
	}
	if got := q.again(at.Add(11*time.Second), patience); len(got) != 1 || got[0] != all[5] {
		t.Errorf("sent a third time: %v", got)
	}
	if due := q.due(patience); !due.IsZero() {
		t.Errorf("sent for ever: at %v", due)
	}
	q.remove(all[5])
	if q.first != nil || q.last != nil || q.once != nil || q.twice != nil {
		t.Errorf("left: %+v", q)
	}
}
