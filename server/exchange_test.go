package server

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// isClosed reports whether a channel is closed by now.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestExchangeWaits: a query that waits ends in the blocks where it began, which are in use until then and no longer.
func TestExchangeWaits(t *testing.T) {
	b := newBench(t, block(t, ".", step(parkOnce), answering(1)))
	later := b.park(t, "x.")
	ended := b.server.SetBlocks([]*Block{block(t, ".", answering(2))})
	if isClosed(ended) {
		t.Error("the former blocks are free while a query waits in them")
	}
	if got := b.ask(t, "x.", dns.TypeA); got != "NOERROR aa opt=1232 x. 5 IN A 192.0.2.2" {
		t.Errorf("a new query: %s", got)
	}
	if got := short(t, later.resume()); got != "NOERROR aa x. 5 IN A 192.0.2.1" {
		t.Errorf("the query that waited: %s", got)
	}
	if !isClosed(ended) {
		t.Error("the former blocks are in use though nothing waits in them")
	}
	if !isClosed(b.server.SetBlocks(nil)) {
		t.Error("blocks in which nothing ever waited are in use")
	}
}

// TestExchangeBetween: a query whose blocks are exchanged just before it would wait in them begins again in the others, as
// the client asked it.
func TestExchangeBetween(t *testing.T) {
	var b *bench
	var ended <-chan struct{}
	exchange := step(func(*message.Query, *message.Reply) message.Verdict {
		ended = b.server.SetBlocks([]*Block{block(t, "x.", step(parkOnce), answering(2))})
		return message.Park
	})
	b = newBench(t, block(t, ".", renaming(t, "elsewhere."), exchange))
	if got := short(t, b.park(t, "x.").resume()); got != "NOERROR aa x. 5 IN A 192.0.2.2" {
		t.Errorf("reply %s", got)
	}
	if !isClosed(ended) || !isClosed(b.server.SetBlocks(nil)) {
		t.Error("blocks are in use though nothing waits in them")
	}
}

// TestExchangeInner: a question from inside waits in the blocks that are there when it is asked, which are in use then.
func TestExchangeInner(t *testing.T) {
	var b *bench
	var inner <-chan struct{}
	swap := step(func(*message.Query, *message.Reply) message.Verdict {
		inner = b.server.SetBlocks(nil)
		return message.Next
	})
	asking := step(func(q *message.Query, r *message.Reply) message.Verdict {
		b.server.SetBlocks([]*Block{block(t, ".", swap, telling(message.Next), answering(3))})
		reply, covered := q.Resolver.Resolve(q, name(t, "in."), message.TypeA)
		if got := short(t, reply); !covered || got != "NOERROR aa in. 5 IN A 192.0.2.3" {
			t.Errorf("from inside: %s", got)
		}
		return answering(1)(q, r)
	})
	b = newBench(t, block(t, ".", step(parkOnce), asking))
	if got := short(t, b.park(t, "x.").resume()); got != "NOERROR aa x. 5 IN A 192.0.2.1" {
		t.Errorf("reply %s", got)
	}
	if !isClosed(inner) {
		t.Error("the blocks of the inner question are in use though that has ended")
	}
}
