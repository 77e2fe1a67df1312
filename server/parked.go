package server

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/waypost/waypost/message"
)

// parked is a query that is answered away from the socket loop.
type parked struct {
	desk
	chain   *chain
	step    int  // where it goes on
	counted bool // it has a place of Limits.Parked

	leave    func(reply []byte) // is given the answer in the end, nil if nothing is to be sent
	awaiting atomic.Bool        // a Waiter has it, and has not called told yet
}

func newParked(s *Server) *parked {
	p := new(parked)
	p.server, p.away = s, p
	return p
}

// Errors of queries that could not be parked.
var (
	errFull   = errors.New("server: too many queries are waiting for an answer from elsewhere")
	errParked = errors.New("server: a directive wanted to wait where it must not")
)

// park puts the query aside, away from the socket loop, where it is to go on with step i or with the revisions of its reply.
func (d *desk) park(c *chain, i int) ([]byte, *parked) {
	if p := d.away; p != nil {
		if _, waits := c.waiter(i); d.q.MayBlock && !waits {
			return d.fail(c, errParked), nil
		}
		p.step = i
		return nil, p
	}
	if d.q.MayBlock || d.q.Depth > 0 {
		return d.fail(c, errParked), nil
	}
	if !d.server.parking.take() {
		return d.fail(c, errFull), nil
	}
	p := newParked(d.server)
	p.chain, p.step, p.counted = c, i, true
	p.q = *d.q.Detach()
	p.revising = slices.Clone(d.revising)
	if i == completed {
		p.r.Move(&d.r, &p.q)
	} else {
		p.r.Continue(&d.r, &p.q, make([]byte, 0, message.MinUDPSize))
	}
	return nil, p
}

// goOn lets the query go on, here or elsewhere, and gives the answer to leave.
func (p *parked) goOn() {
	if w, waits := p.chain.waiter(p.step); waits {
		p.await(w)
		return
	}
	go p.block()
}

// wait runs what lets the query go on, and returns the answer.
func (p *parked) wait(run func()) []byte {
	answer := make(chan []byte, 1)
	p.leave = func(reply []byte) { answer <- reply }
	run()
	return <-answer
}

// block goes on with the step where that may wait.
func (p *parked) block() {
	p.q.MayBlock = true
	p.end(p.walk(p.chain, p.step))
}

// await leaves the query to a step until that tells what has become of it.
func (p *parked) await(w Waiter) {
	defer func() {
		if v := recover(); v != nil && p.awaiting.Swap(false) {
			p.end(p.survive(v), nil)
		}
	}()
	p.q.MayBlock = false
	p.awaiting.Store(true)
	w.Wait(&p.q, &p.r, p.told)
}

// told goes on after a Waiter's step. The goroutine is the Waiter's, so that nothing may wait here.
func (p *parked) told(verdict message.Verdict) {
	if !p.awaiting.Swap(false) {
		return
	}
	switch verdict {
	case message.Next:
		p.passed(p.step)
		p.end(p.walk(p.chain, p.step+1))
	case message.Done:
		p.settle()
		p.end(p.walk(p.chain, completed))
	case message.Park:
		go p.block()
	case message.Drop:
		p.end(nil, nil)
	}
}

// end gives the answer out, if it is there; later is p itself where it is not.
func (p *parked) end(reply []byte, later *parked) {
	if later != nil {
		p.goOn()
		return
	}
	if p.counted {
		p.server.parking.give()
	}
	p.leave(reply)
}

// Refresh implements message.Resolver.
func (s *Server) Refresh(q *message.Query) {
	if !s.parking.take() {
		return
	}
	p := newParked(s)
	p.counted = true
	p.q = *q.First().Detach()
	p.q.Refresh, p.q.MayBlock = true, false
	p.r.Begin(&p.q, make([]byte, 0, message.MinUDPSize))
	p.leave = func([]byte) {}
	if p.chain = s.chains.Load().find(&p.q); p.chain == nil {
		p.end(nil, nil)
		return
	}
	p.end(p.walk(p.chain, 0))
}
