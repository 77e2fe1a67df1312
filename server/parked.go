package server

import (
	"errors"
	"sync/atomic"

	"github.com/waypost/waypost/message"
)

// parked is a query that is answered away from the socket loop. It is used again for another one.
type parked struct {
	desk
	chain   *chain
	step    int     // where it goes on
	counted bool    // it has a place of Limits.Parked
	place   *quota  // and one of Limits.ParkedPerStep; nil for one that nobody waits for
	within  *chains // what it has entered

	out      []byte                // where the reply is written
	exit     exit                  // gets the answer
	peer     peer                  // of a query that came over UDP
	tell     func(message.Verdict) // told
	awaiting atomic.Bool           // a Waiter has it, and has not called told yet
}

// exit is where the answer to a parked query goes: nil if nothing is to be sent. The query and the answer are the exit's
// until it frees them.
type exit interface {
	leave(p *parked, answer []byte)
}

func newParked(s *Server) *parked {
	p := &parked{out: make([]byte, 0, message.MinUDPSize)}
	p.server, p.away, p.tell = s, p, p.told
	return p
}

// parked returns one that is free, or a new one.
func (s *Server) parked() *parked {
	if p, ok := s.parks.Get().(*parked); ok {
		return p
	}
	return newParked(s)
}

// maxOut is how large a buffer is kept for the next query.
const maxOut = 4096

// free gives p back, whose answer is nobody's any more.
func (p *parked) free(answer []byte) {
	if cap(answer) > cap(p.out) && cap(answer) <= maxOut {
		p.out = answer[:0]
	}
	p.chain, p.exit, p.counted, p.place, p.within = nil, nil, false, nil, nil
	p.q.Original = nil
	p.server.parks.Put(p)
}

// Errors of queries that could not be parked.
var (
	errFull   = errors.New("server: too many queries are waiting for an answer from elsewhere")
	errShare  = errors.New("server: too many queries are waiting for the same upstreams, which leaves places for those of others")
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
	if !c.set.enter() {
		d.outdated = true
		return nil, nil
	}
	place := c.parkedAt(i)
	if !place.takeOf(int64(d.server.limits.ParkedPerStep)) {
		c.set.leave()
		return d.fail(c, errShare), nil
	}
	if !d.server.parking.take() {
		place.give()
		c.set.leave()
		return d.fail(c, errFull), nil
	}
	p := d.server.parked()
	p.chain, p.step, p.counted, p.place, p.within = c, i, true, place, c.set
	p.q.Copy(&d.q)
	p.revising = append(p.revising[:0], d.revising...)
	if i == completed {
		p.r.Move(&d.r, &p.q)
	} else {
		p.r.Continue(&d.r, &p.q, p.out)
	}
	return nil, p
}

// goOn lets the query go on, here or elsewhere, and gives the answer to the exit.
func (p *parked) goOn() {
	if w, waits := p.chain.waiter(p.step); waits {
		p.await(w)
		return
	}
	go p.block()
}

// wait runs what lets the query go on, and returns the answer, which is the caller's to keep.
func (p *parked) wait(run func()) []byte {
	here := make(insider, 1)
	p.exit = here
	run()
	return <-here
}

// insider is the exit of a question from inside, which is not used again.
type insider chan []byte

func (i insider) leave(_ *parked, answer []byte) { i <- answer }

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
	w.Wait(&p.q, &p.r, p.tell)
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
		if p.place != nil {
			p.place.give()
		}
		p.within.leave()
	}
	p.exit.leave(p, reply)
}

// Refresh implements message.Resolver.
func (s *Server) Refresh(q *message.Query) {
	if !s.parking.take() {
		return
	}
	p := s.parked()
	p.counted, p.within, p.exit = true, s.enter(), nobody{}
	p.q.Copy(q.First())
	p.q.Refresh, p.q.MayBlock, p.q.Inner = true, false, nil
	p.r.Begin(&p.q, p.out)
	p.revising = p.revising[:0]
	if p.chain = p.within.find(&p.q); p.chain == nil {
		p.end(nil, nil)
		return
	}
	p.end(p.walk(p.chain, 0))
}

// nobody is the exit of a question that is asked for the steps' sake.
type nobody struct{}

func (nobody) leave(p *parked, answer []byte) { p.free(answer) }
