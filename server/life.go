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
//	walk      has the block's steps look at it, of which one appends the answer to the reply, and then the steps before
//	          that one which wanted to see what comes of it (message.Reply.Revisions),
//	close     shows it to the observers and finishes the message.
//
// A step that has to wait parks the query: respond then returns it as a parked one, which goes on from that same step in
// a goroutine of its own, or where the step says (Waiter), and gives its answer to the socket later: parked.go. A step that
// wants to see the reply may ask the steps behind it another question instead of having that sent.

// desk is where one goroutine answers queries: a query and its reply, used again for each.
type desk struct {
	server   *Server
	q        message.Query
	r        message.Reply
	revising []int   // which step asked for each of the reply's Revisions
	away     *parked // what the desk is part of, where it is not a socket loop's
	outdated bool    // the query cannot wait, as there are other blocks by now
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
	switch d.q.Parse(packet) {
	case message.Ignored:
		return nil, nil
	case message.Rejected:
		return message.Rejection(&d.q, out), nil
	}
	for {
		d.outdated = false
		if reply, later = d.answer(out); !d.outdated {
			return reply, later
		}
		d.q.Parse(packet) // steps may have changed the question
	}
}

// answer has the block that covers the query answer it.
func (d *desk) answer(out []byte) (reply []byte, later *parked) {
	d.r.Begin(&d.q, out)
	d.revising = d.revising[:0]
	c := d.server.chains.Load().find(&d.q)
	if !d.server.admits(c, &d.q, &d.r) {
		return d.r.Finish(), nil
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

// walk gives the query to the steps of a chain, from one on, until one of them has dealt with it, and then the reply to
// those who wanted to see it. From completed on there is a reply already.
func (d *desk) walk(c *chain, from int) (reply []byte, later *parked) {
	defer func() {
		if v := recover(); v != nil {
			reply, later = d.survive(v), nil
		}
	}()
	for {
		at, verdict := from, message.Done
		if from != completed {
			at, verdict = d.serve(c, from)
		}
		if verdict == message.Done {
			at, verdict = d.revise()
		}
		switch verdict {
		case message.Done:
			return d.close(c), nil
		case message.Park:
			return d.park(c, at)
		case message.Drop:
			return nil, nil
		}
		from = at + 1
	}
}

// completed stands for the steps of a query that has its reply.
const completed = -1

// serve gives the query to the steps until one does not pass it on, and returns which one and what it did.
func (d *desk) serve(c *chain, from int) (at int, verdict message.Verdict) {
	for i := from; i < len(c.Steps); i++ {
		if verdict := c.Steps[i].Serve(&d.q, &d.r); verdict != message.Next {
			d.settle()
			return i, verdict
		}
		d.passed(i)
	}
	d.r.Fail(message.ServFail)
	d.r.Err, d.r.Unanswered = c.unanswered, true
	return completed, message.Done
}

// passed notes that step i has passed the query on, and whether it wants to see the reply.
func (d *desk) passed(i int) {
	if len(d.r.Revisions) > len(d.revising) {
		d.revising = append(d.revising, i)
	}
}

// settle makes an error code that no step wants to have written (Reply.By) what CoreDNS makes of one that a plugin returns:
// the server's own reply, not authoritative and without records.
func (d *desk) settle() {
	switch r := &d.r; r.Rcode {
	case message.ServFail, message.Refused, message.FormErr, message.NotImp:
		if r.By == "" && r.Empty() {
			r.Fail(r.Rcode)
		}
	}
}

// revise shows the reply to the revisions, until one wants the query to go another way: back to the steps behind the one
// that is returned, or off the socket loop.
func (d *desk) revise() (at int, verdict message.Verdict) {
	for n := len(d.revising) - 1; n >= 0; n-- {
		switch verdict := d.r.Revisions[n].Revise(&d.q, &d.r); verdict {
		case message.Done:
			d.r.Revisions, d.revising = d.r.Revisions[:n], d.revising[:n]
		case message.Park:
			return completed, verdict
		default:
			return d.revising[n], verdict
		}
	}
	return completed, message.Done
}

// close shows the finished reply to the observers, if anybody gets it.
func (d *desk) close(c *chain) []byte {
	if d.q.Refresh {
		return d.r.Finish()
	}
	for _, o := range c.Observers {
		o.Observe(&d.q, &d.r)
	}
	return d.r.Finish()
}

// fail closes a query that the server itself has to give up, without the steps' having a say in it.
func (d *desk) fail(c *chain, err error) []byte {
	d.giveUp()
	d.r.Err = err
	return d.close(c)
}

// giveUp makes the reply SERVFAIL to what the client asked.
func (d *desk) giveUp() {
	d.r.Restart(d.q.First())
	d.r.Fail(message.ServFail)
	d.r.By, d.r.Err = "", nil
}

// survive answers a query whose step or observer panicked.
func (d *desk) survive(v any) []byte {
	d.server.panicked(v, debug.Stack())
	d.giveUp()
	d.server.dropped(&d.q, &d.r)
	return d.r.Finish()
}

var _ message.Resolver = (*Server)(nil)

// Resolve implements message.Resolver. It may wait, so that only a query off the socket loop (Query.MayBlock) may ask:
// for another one, a step that would have to wait answers SERVFAIL here.
func (s *Server) Resolve(from *message.Query, name message.Name, typ message.Type) (reply []byte, covered bool) {
	d := newParked(s)
	if !from.MayBlock {
		d.away = nil
	}
	if from.Inner == nil {
		from.Inner = new(int)
	}
	*from.Inner++
	d.q.Ask(from, name, typ)
	d.r.Begin(&d.q, make([]byte, 0, message.MinUDPSize))
	set := s.chains.Load()
	if from.MayBlock {
		set = s.enter()
		defer set.leave()
	}
	c := set.find(&d.q)
	if !s.admits(c, &d.q, &d.r) {
		return d.r.Finish(), false
	}
	if within, err := s.limits.allow(&d.q); !within {
		return d.fail(c, err), true
	}
	d.chain = c
	if reply = d.wait(func() { d.end(d.walk(c, 0)) }); reply == nil { // a step dropped it
		d.r.Fail(message.ServFail)
		reply = d.r.Finish()
	}
	return reply, !(d.r.Unanswered && d.r.Rcode == message.ServFail)
}

// Errors of questions from inside that are not asked.
var (
	errDeep = errors.New("server: too many questions inside one another: names may lead back to themselves")
	errMany = errors.New("server: a query needs too many further questions: the answer lacks what the rest of them would give")
)

// allow reports whether a question from inside may be asked. That there are too many is said once for each query.
func (l *Limits) allow(q *message.Query) (within bool, err error) {
	switch {
	case *q.Inner == l.InnerQuestions+1:
		return false, errMany
	case *q.Inner > l.InnerQuestions:
		return false, nil
	case q.Depth > l.InnerDepth:
		return false, errDeep
	}
	return true, nil
}
