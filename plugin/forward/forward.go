// Package forward is the directive that passes questions on to other servers.
//
// A question leaves the socket loop, and no goroutine waits for its reply: the goroutine that receives replies from the
// other servers (package upstream) goes on with it. Identical questions in flight are asked once.
package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
)

// Forward is one line of forward at work: a step of its block, which waits without a goroutine.
type Forward struct {
	options  Options
	reach    relay.Reach
	followed bool // by another line of forward, for Options.Next
	metrics  *Metrics
	log      *slog.Logger
	limit    error // what a question beyond MaxConcurrent is told

	servers    servers
	turn       atomic.Uint32 // of RoundRobin
	concurrent atomic.Int64

	flights relay.Flights[waiter]
	landed  sync.Pool // of *flight
}

// New makes the step of one line of forward. followed says that there is another one behind it in the same block.
func New(o Options, followed bool, e env.Env) (*Forward, error) {
	m, err := NewMetrics(e)
	if err != nil {
		return nil, err
	}
	f := &Forward{
		options: o, followed: followed, metrics: m, log: e.Log,
		limit: fmt.Errorf("concurrent queries exceeded maximum %d", o.MaxConcurrent),
	}
	if f.reach, err = relay.NewReach(o.From, o.Except); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	f.servers.init(f)
	return f, nil
}

// From is the zone whose names are forwarded.
func (f *Forward) From() message.Name { return f.reach.From() }

// Over is how a question that came over UDP is asked.
func (f *Forward) Over() message.Transport {
	return f.transport(&message.Query{Transport: message.UDP})
}

// Serve implements the step: what is to be forwarded has to wait.
func (f *Forward) Serve(q *message.Query, _ *message.Reply) message.Verdict {
	if f.reach.Takes(q) {
		return message.Park
	}
	return message.Next
}

// Wait implements server.Waiter.
func (f *Forward) Wait(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
	w := waiter{q: q, r: r, resume: resume}
	if most := f.options.MaxConcurrent; most > 0 && f.concurrent.Add(1) > most {
		f.metrics.rejected.Inc()
		f.fail(w, message.Refused, f.limit)
		return
	}
	f.join(w, f.transport(q))
}

// transport is how to ask: as the client did, if the Corefile does not say otherwise.
func (f *Forward) transport(q *message.Query) message.Transport {
	switch {
	case f.options.ForceTCP:
		return message.TCP
	case f.options.PreferUDP:
		return message.UDP
	}
	return q.Transport
}

// waiter is a query that waits for a flight.
type waiter struct {
	q       *message.Query
	r       *message.Reply
	resume  func(message.Verdict)
	cutover bool // it has had a truncated reply, and asks again over TCP
}

// join lets a query wait for the flight that asks its question, and begins that if there is none.
func (f *Forward) join(w waiter, over message.Transport) {
	var space [512]byte
	key := relay.AppendKey(space[:0], w.q, over)
	fl := f.flight(over)
	if !f.flights.Join(&fl.Flight, key, w) {
		f.landed.Put(fl)
		return
	}
	fl.begin(w)
}

// give makes a server's reply the reply to a query, or lets that go on to the next forward, or asks again over TCP.
func (f *Forward) give(w waiter, reply *message.Packed, over message.Transport) {
	switch {
	case f.followed && f.passes(reply):
		f.done(w, message.Next)
	case reply.Truncated && over == message.UDP && w.q.Limit() > askedSize(w.q):
		w.cutover = true
		f.join(w, message.TCP)
	case !w.r.Take(reply):
		f.fail(w, message.ServFail, errElsewhere)
	default:
		w.r.By = "forward"
		f.done(w, message.Done)
	}
}

// errElsewhere cannot happen: a query's question and its reply's are the same.
var errElsewhere = errors.New("forward: the reply is to another question than the query's")

// passes reports whether a reply is left to the next forward (next, next_on_nodata).
func (f *Forward) passes(reply *message.Packed) bool {
	for _, rcode := range f.options.Next {
		if reply.Rcode == rcode {
			return true
		}
	}
	return f.options.NextOnNoData && reply.Rcode == message.NoError && reply.Count(message.Answer) == 0
}

// askedSize is how long a reply over UDP can be, by what the server was told.
func askedSize(q *message.Query) int {
	if q.EDNS.Present {
		return message.OwnUDPSize
	}
	return message.MinUDPSize
}

// miss gives up a query that no server has replied to. One that had a truncated reply before still has that.
func (f *Forward) miss(w waiter, err error) {
	if !w.cutover || w.q.Limit() == message.MaxLen {
		w.r.Option(message.OptionError, extended(err))
		f.fail(w, message.ServFail, err)
		return
	}
	w.r.Truncated, w.r.By = true, "forward"
	f.done(w, message.Done)
}

// fail answers a query with a response code.
func (f *Forward) fail(w waiter, rcode message.Rcode, err error) {
	w.r.Fail(rcode)
	w.r.Err = err
	f.done(w, message.Done)
}

func (f *Forward) done(w waiter, v message.Verdict) {
	if f.options.MaxConcurrent > 0 {
		f.concurrent.Add(-1)
	}
	w.resume(v)
}

// extended says, in an Extended DNS Error, what went wrong.
func extended(err error) []byte {
	var looped *loopError
	switch {
	case errors.As(err, &looped):
		return append([]byte{0, relay.OtherError}, looped.Error()...)
	case errors.Is(err, errNoHealthy):
		return []byte{0, relay.NoReachableAuthority}
	}
	return []byte{0, relay.NetworkError}
}

var _ upstream.Asker = (*flight)(nil)
