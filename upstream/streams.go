package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// streams exchanges questions over TCP and TLS, one at a time over each connection: many servers, CoreDNS among them, answer the
// questions of a connection one after the other, and one that takes long would hold up all behind it. Only where there are as many
// connections as there may be does one carry several (RFC 7766 section 6.2.1.1).
type streams struct {
	server *Server
	most   int // connections

	mu      sync.Mutex // before that of a stream, where both are held
	open    []*stream  // the oldest first
	closing atomic.Bool
}

// maxStreams bounds the connections to one server: some 10 MB of memory with TLS.
const maxStreams = 256

// ask sends a question over the oldest connection at which nothing waits, or over a new one.
func (ss *streams) ask(q *Question, a Asker) error {
	ss.enqueue(newPending(q, a, time.Now()))
	return nil
}

// enqueue gives a question to a connection.
func (ss *streams) enqueue(p *pending) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.open {
		if s.add(p, 1) {
			ss.server.metrics.tcp.hits.Inc()
			return
		}
	}
	ss.place(p)
}

// place gives a question to a new connection, or where there are as many as there may be to the one at which the fewest wait. The
// caller holds mu.
func (ss *streams) place(p *pending) {
	if len(ss.open) >= ss.most && ss.addToAny(p) {
		ss.server.metrics.tcp.hits.Inc()
		return
	}
	ss.connect(p)
}

// connect opens a connection for a question. The caller holds mu.
func (ss *streams) connect(p *pending) {
	ss.server.metrics.tcp.misses.Inc()
	s := &stream{owner: ss, opened: time.Now(), writable: make(chan struct{}, 1)}
	s.age = ss.server.config.MaxAge - rand.N(ss.server.config.MaxAge/10+1) // not all at once
	s.add(p, 1)
	ss.open = append(ss.open, s)
	go s.run()
}

// retry asks a question once more whose connection has ended, over none that has been idle: the server may have closed that too.
func (ss *streams) retry(p *pending) {
	p.again = true
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.place(p)
}

// addToAny gives a question to the connection at which the fewest wait.
func (ss *streams) addToAny(p *pending) bool {
	var best *stream
	fewest := 0
	for _, s := range ss.open {
		if n := s.load(); best == nil || n < fewest {
			best, fewest = s, n
		}
	}
	return best != nil && best.add(p, maxPerStream)
}

// maxPerStream is how many questions can wait at one connection at all: of so many the IDs can still be told apart.
const maxPerStream = 4096

// forget takes a connection off the list.
func (ss *streams) forget(s *stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for i, other := range ss.open {
		if other == s {
			ss.open = append(ss.open[:i], ss.open[i+1:]...)
			return
		}
	}
}

// dismiss has a connection at which nothing waits end, if there are more of these than are to be kept.
func (ss *streams) dismiss(s *stream) {
	most := ss.server.config.MaxIdle
	if most == 0 {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	idle := 0
	for _, other := range ss.open {
		if other.idle() {
			idle++
		}
	}
	if idle > most && s.idle() {
		s.mu.Lock()
		s.expire = true
		s.mu.Unlock()
	}
}

// close closes the connections at which nothing waits, and has the others close when nothing does any more.
func (ss *streams) close() {
	ss.closing.Store(true)
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.open {
		s.wake()
	}
}

// dialTime bounds opening a connection, TLS included.
func (ss *streams) dialTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), ss.server.config.Dial)
}

// errIdle ends a connection that nobody needs.
var errIdle = errors.New("idle")
