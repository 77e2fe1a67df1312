package forward

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
)

// flight is one question on its way to one server after the other, and who waits for it. The servers' goroutines move it
// on; one at a time has it. It is used again for another question: when it has ended, no server has it any more.
type flight struct {
	relay.Flight[waiter]
	forward  *Forward
	question upstream.Question
	over     message.Transport

	servers   []*upstream.Server // in the order in which to ask them
	next      int
	asked     *upstream.Server
	deadline  time.Time
	attempts  int   // servers that were asked and failed
	down      int   // servers that were found out of use, in this round
	failovers int   // replies after which the next server was asked
	err       error // what went wrong last
}

// patience is how long servers are asked for one question.
const patience = 5 * time.Second

// flight returns one that is free, or a new one.
func (f *Forward) flight(over message.Transport) *flight {
	fl, ok := f.landed.Get().(*flight)
	if !ok {
		fl = new(flight)
	}
	fl.forward, fl.over = f, over
	return fl
}

// begin asks the first server what a query wants to know.
func (fl *flight) begin(w waiter) {
	fl.question.Set(w.q, w.r.Shuffle)
	fl.servers = relay.Order(fl.forward.options.Policy, &fl.forward.turn, fl.forward.servers.all())
	fl.deadline = time.Now().Add(patience)
	fl.ask()
}

// ask asks the next server, and the ones after it as long as they fail at once.
func (fl *flight) ask() {
	for {
		if fl.asked = fl.pick(); fl.asked == nil {
			break
		}
		err := fl.asked.Ask(&fl.question, fl.over, fl)
		if err == nil {
			return
		}
		if !fl.failed(err) {
			break
		}
	}
	fl.end(nil, fl.err)
}

// pick returns the next server that is in use. With none, it is any of those that are out of use because of failed probes:
// perhaps it is the probes that fail. It is nil if nobody is to be asked any more, and err says why.
func (fl *flight) pick() *upstream.Server {
	if fl.err == nil {
		fl.err = errNoHealthy
	}
	if len(fl.servers) == 0 || !time.Now().Before(fl.deadline) {
		return nil
	}
	for {
		if fl.next == len(fl.servers) {
			fl.next, fl.down = 0, 0
		}
		server := fl.servers[fl.next]
		fl.next++
		if !server.Down(fl.forward.options.MaxFails) {
			return server
		}
		if fl.down++; fl.down == len(fl.servers) {
			return fl.lastResort()
		}
	}
}

// lastResort is the server to ask where all are out of use.
func (fl *flight) lastResort() *upstream.Server {
	fl.forward.metrics.broken.Inc()
	var usable []*upstream.Server
	for _, server := range fl.servers {
		if why := server.Disabled(); why != "" {
			fl.err = &loopError{why}
			continue
		}
		server.Wanted()
		usable = append(usable, server)
	}
	if len(usable) == 0 || fl.forward.options.FailFast {
		return nil
	}
	return usable[rand.IntN(len(usable))]
}

// failed notes that a server did not reply, and reports whether to ask another one.
func (fl *flight) failed(err error) bool {
	fl.err = err
	if fl.forward.options.MaxFails > 0 {
		fl.asked.Check()
	}
	most := fl.forward.options.MaxConnectAttempts
	if most < 0 {
		most = attemptsPerServer * len(fl.servers)
	}
	if fl.attempts++; most > 0 && fl.attempts >= most {
		return false
	}
	return fl.down < len(fl.servers)
}

// Answered implements upstream.Asker.
func (fl *flight) Answered(reply *message.Packed, err error) {
	switch {
	case err != nil && fl.failed(err):
		fl.ask()
	case err != nil:
		fl.end(nil, err)
	case reply.Truncated && fl.over == message.UDP && fl.forward.options.PreferUDP:
		fl.over = message.TCP
		if err := fl.asked.Ask(&fl.question, fl.over, fl); err != nil {
			fl.Answered(nil, err)
		}
	case slices.Contains(fl.forward.options.Failover, reply.Rcode) && fl.another():
		fl.ask()
	default:
		fl.end(reply, nil)
	}
}

// another counts a reply that is not good enough, and reports whether there are servers that have not been asked.
func (fl *flight) another() bool {
	fl.failovers++
	return fl.failovers < len(fl.servers)
}

// end tells all who wait.
func (fl *flight) end(reply *message.Packed, err error) {
	for _, w := range fl.forward.flights.Land(&fl.Flight) {
		if err != nil {
			fl.forward.miss(w, err)
		} else {
			fl.forward.give(w, reply, fl.over)
		}
	}
	f := fl.forward
	*fl = flight{}
	f.landed.Put(fl)
}

// errNoHealthy is the error of a question for which there is no server that could be asked.
var errNoHealthy = errors.New("no healthy proxies")

// loopError is the error of a question for which there are only servers that lead back here.
type loopError struct{ why string }

func (e *loopError) Error() string { return e.why }
