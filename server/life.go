package server

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/waypost/waypost/message"
)

// The life of a query, from the socket loop that received it to the bytes that the loop sends:
//
//	respond   reads it (message.Query.Parse), chooses the block, asks whether that may be answered at all,
//	walk      has the block's steps look at it, of which one appends the answer to the reply,
//	close     shows it to the observers and finishes the message.
//
// A step that has to wait parks the query: respond then returns it as a parked one, which goes on from that same step in
// a goroutine of its own and gives its answer to the socket later.

// desk is where one goroutine answers queries: a query and its reply, used again for each.
type desk struct {
	server *Server
	q      message.Query
	r      message.Reply
}

// arrived says where the next packet comes from. local is the address it was sent to.
func (d *desk) arrived(from, local netip.AddrPort, at time.Time) {
	d.q.From, d.q.Local, d.q.Received = from, local, at
}

// respond answers a packet. The reply stands in out, or in a buffer of its own if out is too short. It is nil where
// nothing is to be sent: the packet is no query, a step dropped it, or it is parked.
func (d *desk) respond(packet, out []byte) (reply []byte, later *parked) {
	defer func() { // walk sees to panics in steps; one in our own code must not end the server either
		if v := recover(); v != nil {
			d.server.panicked(v, debug.Stack())
			reply, later = nil, nil
		}
	}()
	q, r := &d.q, &d.r
	switch q.Parse(packet) {
	case message.Ignored:
		return nil, nil
	case message.Rejected:
		return message.Rejection(q, out), nil
	}
	r.Begin(q, out)
	c := d.server.chains.Load().find(q)
	if !d.server.admits(c, q, r) {
		return r.Finish(), nil
	}
	return d.walk(c, 0)
}

// admits reports whether the steps of a chain may see the query; where not, the reply says why.
func (s *Server) admits(c *chain, q *message.Query, r *message.Reply) bool {
	switch {
	case q.Class != message.ClassIN && (c == nil || !c.Chaos || q.Class != message.ClassCH):
		r.Fail(message.Refused)
	case q.EDNS.Version != 0: // not counted, as CoreDNS does not
		r.Fail(message.BadVers)
		return false
	case c == nil || c.Last == "":
		r.Fail(message.Refused)
	default:
		return true
	}
	s.dropped(q, r)
	return false
}

// walk gives the query to the steps of a chain, from one on, until one of them has dealt with it.
func (d *desk) walk(c *chain, from int) (reply []byte, later *parked) {
	defer func() {
		if v := recover(); v != nil {
			reply, later = d.survive(v), nil
		}
	}()
	for i := from; i < len(c.Steps); i++ {
		switch c.Steps[i].Serve(&d.q, &d.r) {
		case message.Done:
			return d.close(c), nil
		case message.Park:
			return d.park(c, i)
		case message.Drop:
			return nil, nil
		}
	}
	return d.fail(c, c.unanswered), nil
}

// close shows the finished reply to the observers. An error code without a record is written by the server itself, as
// CoreDNS does for a plugin that returns one: not authoritative, and nobody's answer in the metrics.
func (d *desk) close(c *chain) []byte {
	r := &d.r
	switch r.Rcode {
	case message.ServFail, message.Refused, message.FormErr, message.NotImp:
		if r.Empty() {
			r.Fail(r.Rcode)
			r.By = ""
		}
	}
	for _, o := range c.Observers {
		o.Observe(&d.q, r)
	}
	return r.Finish()
}

// fail closes a query that went wrong with SERVFAIL.
func (d *desk) fail(c *chain, err error) []byte {
	d.r.Fail(message.ServFail)
	d.r.Err = err
	return d.close(c)
}

// survive answers a query whose step or observer panicked.
func (d *desk) survive(v any) []byte {
	d.server.panicked(v, debug.Stack())
	d.r.Fail(message.ServFail)
	d.r.By, d.r.Err = "", nil
	d.server.dropped(&d.q, &d.r)
	return d.r.Finish()
}

// Resolve implements message.Resolver. It may wait, so that only a query off the socket loop (Query.MayBlock) may ask:
// for another one, a step that would have to wait answers SERVFAIL here.
func (s *Server) Resolve(from *message.Query, name message.Name, typ message.Type) (reply []byte, covered bool) {
	d := &desk{server: s}
	d.q.Ask(from, name, typ)
	d.r.Begin(&d.q, make([]byte, 0, message.MinUDPSize))
	if d.q.Depth > s.limits.InnerQuestions {
		d.r.Fail(message.ServFail)
		return d.r.Finish(), true
	}
	c := s.chains.Load().find(&d.q)
	if !s.admits(c, &d.q, &d.r) {
		return d.r.Finish(), false
	}
	if reply, _ = d.walk(c, 0); reply == nil { // a step dropped it
		d.r.Fail(message.ServFail)
		reply = d.r.Finish()
	}
	return reply, d.r.Err != c.unanswered
}

// parked is a query that waits for something, away from the socket loop.
type parked struct {
	desk
	chain *chain
	step  int
}

// Errors of queries that could not be parked.
var (
	errFull   = errors.New("server: too many queries are waiting for an answer from elsewhere")
	errParked = errors.New("server: a directive wanted to wait where it must not")
)

// park makes a copy of the query, which goes on with step i once resume is called.
func (d *desk) park(c *chain, i int) ([]byte, *parked) {
	if d.q.MayBlock || d.q.Depth > 0 {
		return d.fail(c, errParked), nil
	}
	if !d.server.parking.take() {
		return d.fail(c, errFull), nil
	}
	p := &parked{chain: c, step: i}
	p.server = d.server
	p.q = *d.q.Detach()
	p.q.MayBlock = true
	p.r.Continue(&d.r, &p.q, make([]byte, 0, message.MinUDPSize))
	return nil, p
}

// resume does what walk had left to do and returns the reply, nil if nothing is to be sent.
func (p *parked) resume() []byte {
	defer p.server.parking.give()
	reply, _ := p.walk(p.chain, p.step)
	return reply
}
