// Package grpc is the directive that passes questions on to servers that speak DNS over gRPC as CoreDNS does: each
// question is a call of coredns.dns.DnsService.Query.
//
// A question leaves the socket loop. Identical questions in flight are asked once, and there is a goroutine for each that
// is asked, because a call keeps the goroutine that makes it.
package grpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
)

// GRPC is the directive at work: a step of its block, which waits without a goroutine for each query.
type GRPC struct {
	options  Options
	reach    relay.Reach
	through  []message.Name
	followed bool // by a directive that what falls through goes on to
	metrics  *metrics
	servers  []*server
	turn     atomic.Uint32 // of relay.RoundRobin
	flights  relay.Flights[waiter]
}

const (
	patience = 5 * time.Second // how long servers are asked for one question
	share    = 2 * time.Second // how long one of them is, while there are others to ask
)

// New makes the step. followed says that there is a directive behind it in the same block.
func New(o Options, followed bool, e env.Env) (*GRPC, error) {
	m, err := newMetrics(e)
	if err != nil {
		return nil, err
	}
	g := &GRPC{options: o, followed: followed, metrics: m}
	if g.reach, err = relay.NewReach(o.From, o.Except); err != nil {
		return nil, fmt.Errorf("grpc: %w", err)
	}
	if g.through, err = message.ParseNames(o.Fallthrough); err != nil {
		return nil, fmt.Errorf("grpc: fallthrough: %w", err)
	}
	return g, nil
}

// Start makes the connections ready; none is opened before there is a question for it.
func (g *GRPC) Start(context.Context) error {
	for _, to := range g.options.To {
		s, err := newServer(to, g.options.TLS, g.metrics)
		if err != nil {
			g.Stop()
			return fmt.Errorf("plugin/grpc: %w", err)
		}
		g.servers = append(g.servers, s)
	}
	return nil
}

// Stop closes the connections.
func (g *GRPC) Stop() {
	for _, s := range g.servers {
		s.close()
	}
}

// Serve implements the step: what is to be passed on has to wait.
func (g *GRPC) Serve(q *message.Query, r *message.Reply) message.Verdict {
	switch {
	case g.reach.Takes(q):
		return message.Park
	case g.followed:
		return message.Next
	}
	r.Fail(message.ServFail)
	return message.Done
}

// Wait implements server.Waiter.
func (g *GRPC) Wait(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
	var space [512]byte
	key := relay.AppendKey(space[:0], q, message.TCP)
	f := new(flight)
	if g.flights.Join(&f.Flight, key, waiter{q: q, r: r, resume: resume}) {
		f.question.Set(q, r.Shuffle)
		go g.fly(f)
	}
}

// flight is one question on its way to one server after the other, and who waits for it.
type flight struct {
	relay.Flight[waiter]
	question upstream.Question
}

// waiter is a query that waits for a flight.
type waiter struct {
	q      *message.Query
	r      *message.Reply
	resume func(message.Verdict)
}

// fly asks the question and tells all who wait.
func (g *GRPC) fly(f *flight) {
	a := g.ask(&f.question)
	for _, w := range g.flights.Land(&f.Flight) {
		w.resume(g.give(w, &a))
	}
}

// ask asks one server after the other, each once.
func (g *GRPC) ask(q *upstream.Question) (a answer) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list := relay.Order(g.options.Policy, &g.turn, g.servers)
	for i, s := range list {
		most := patience
		if i+1 < len(list) {
			most = share
		}
		if a = s.ask(ctx, q, most); a.err == nil || ctx.Err() != nil {
			break
		}
	}
	return a
}

// give makes what a server said the reply to a query, or lets that go on to the next directive.
func (g *GRPC) give(w waiter, a *answer) message.Verdict {
	switch {
	case (a.err != nil || a.rcode == message.NXDomain) && g.passes(w.q):
		return message.Next
	case a.err != nil:
		w.r.Option(message.OptionError, []byte{0, relay.NetworkError})
		w.r.Fail(message.ServFail)
		w.r.Err = a.err
		return message.Done
	case a.reply == nil:
		w.r.Fail(a.rcode)
	case !w.r.Take(a.reply): // which cannot be: the question is the same
		w.r.Fail(message.ServFail)
	}
	w.r.By = "grpc"
	return message.Done
}

// passes reports whether a query may go on to the next directive.
func (g *GRPC) passes(q *message.Query) bool {
	return g.followed && q.UnderAny(g.through)
}
