// Package loop is the loop directive: it finds out whether a server that questions are forwarded to sends them back here.
//
// Each such server is asked, soon after the start, for a name that nobody can guess (HINFO NUMBER.NUMBER.ZONE, as CoreDNS
// asks). If this question comes here, it goes in a circle. Other than in CoreDNS the process goes on, without that server.
package loop

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/upstream"
)

// Loop is a loop directive at work. It is a step of its block, before those that forward.
type Loop struct {
	zone     message.Name
	exit     func()
	log      *slog.Logger
	disabled *upstreams
	rhythm   rhythm

	routes []Route
	stop   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	sent   map[message.Name]*watched // by the names of their last probes
	states map[*upstream.Server]*watched
}

// Route is a directive that forwards.
type Route struct {
	Zone    message.Name              // whose names it forwards
	Over    message.Transport         // how it asks
	Servers func() []*upstream.Server // that it asks, by now
}

// rhythm is when servers are probed, after the start or since the last probe.
type rhythm struct {
	tick  time.Duration   // how often to look whether a probe is due
	first []time.Duration // when to look at a server again that does not lead back, since it was first there
	again time.Duration   // until the next probe of one that has; each further pause is twice as long
	most  time.Duration   // but not longer
}

// New makes the step of one server block. exit is called when the options want the process to end.
func New(o Options, e env.Env, exit func()) (*Loop, error) {
	l := &Loop{
		log: e.Log, done: make(chan struct{}), sent: make(map[message.Name]*watched), states: make(map[*upstream.Server]*watched),
		rhythm: rhythm{
			tick: time.Second, first: []time.Duration{2 * time.Second, 8 * time.Second, 30 * time.Second},
			again: 30 * time.Second, most: 10 * time.Minute,
		},
	}
	if o.Exit {
		l.exit = exit
	}
	var err error
	if l.zone, err = message.ParseName(o.Zone); err != nil {
		return nil, fmt.Errorf("zone of loop: %w", err)
	}
	l.disabled, err = newUpstreams(e)
	return l, err
}

// Watch adds what forwards behind the step. It is called before Start.
func (l *Loop) Watch(r Route) { l.routes = append(l.routes, r) }

// Serve implements the step: a probe that comes back ends here.
func (l *Loop) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if q.Type != message.TypeHINFO {
		return message.Next
	}
	l.mu.Lock()
	w := l.sent[message.Name(q.Lower())]
	l.mu.Unlock()
	if w == nil {
		return message.Next
	}
	l.found(w, q)
	r.Fail(message.Refused)
	return message.Done
}

// found takes the server out of use that a probe was sent to, or ends the process.
func (l *Loop) found(w *watched, q *message.Query) {
	line := fmt.Sprintf("Loop (%s -> %s) detected for zone %q", q.From, here(q.Listener), message.Name(w.zone))
	if l.exit != nil {
		l.log.Log(context.Background(), journal.LevelFatal, fmt.Sprintf("%s, see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO %s\"", line, message.Name(q.Lower())))
		l.exit()
		return
	}
	l.mu.Lock()
	known := w.looping || l.states[w.server] != w // or nobody wants to know any more
	w.looping, w.seen = true, true
	if !w.asking { // it took its time
		w.next = time.Now().Add(l.rhythm.again)
	}
	if !known {
		w.server.Disable(fmt.Sprintf("upstream %s is out of use: it sends questions back here", w.server))
		l.disabled.show(w, true)
	}
	l.mu.Unlock()
	if known {
		return
	}
	l.log.Error(fmt.Sprintf("%s: %s sends questions back here. Nothing is forwarded there until it no longer does; other names go on. Query: \"HINFO %s\"",
		line, w.server, message.Name(q.Lower())))
}

// here is the address of a listener, as CoreDNS has it in its line: ":53".
func here(listener string) string {
	_, addr, _ := strings.Cut(listener, "://")
	return addr
}

// watched is a server that is being watched.
type watched struct {
	server *upstream.Server
	zone   message.Name // of its probes
	over   message.Transport
	since  time.Time    // when it was first there
	name   message.Name // of its last probe
	asking bool         // which has no reply yet
	seen   bool         // which has come back here
	next   time.Time    // when to probe it again; zero is not any more

	looping bool          // it is out of use
	pause   time.Duration // between its last probes, since then
}

// Start begins to probe.
func (l *Loop) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.run(ctx)
	return nil
}

// Stop ends that. What was out of use is not shown any more: whoever forwards there by now finds out anew.
func (l *Loop) Stop() {
	if l.stop == nil {
		return
	}
	l.stop()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(nil)
}

// run probes servers when it is time. The first look comes a moment after the start, when the listeners answer.
func (l *Loop) run(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(l.rhythm.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, w := range l.due(now) {
				l.probe(w)
			}
		}
	}
}

// due are the servers to probe now. It forgets those that are not there any more.
func (l *Loop) due(now time.Time) []*watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	states := make(map[*upstream.Server]*watched)
	var due []*watched
	for _, route := range l.routes {
		zone, ok := l.zoneOf(route)
		if !ok {
			continue
		}
		for _, server := range route.Servers() {
			w := l.states[server]
			if w == nil {
				w = &watched{server: server, zone: zone, over: route.Over, since: now, next: now}
			}
			if states[server] = w; !w.asking && !w.next.IsZero() && !now.Before(w.next) {
				due = append(due, w)
			}
		}
	}
	l.keep(states)
	return due
}

// keep goes on with these servers, and forgets the others. The caller holds mu.
func (l *Loop) keep(states map[*upstream.Server]*watched) {
	for server, w := range l.states {
		if states[server] == nil {
			delete(l.sent, w.name)
			l.disabled.forget(w)
		}
	}
	l.states = states
}

// zoneOf is where the probes of a route have their names: in the zone of the block, or in that of the route if it is
// smaller.
func (l *Loop) zoneOf(r Route) (message.Name, bool) {
	switch {
	case l.zone.Under(r.Zone):
		return l.zone, true
	case r.Zone.Under(l.zone):
		return r.Zone, true
	}
	return "", false
}

// probe asks a server.
func (l *Loop) probe(w *watched) {
	name := message.Name(unguessable()) + w.zone
	if len(name) > message.MaxNameLen {
		return
	}
	l.mu.Lock()
	delete(l.sent, w.name)
	w.name, w.asking, w.seen = name, true, false
	l.sent[name] = w
	l.mu.Unlock()
	var q message.Query
	q.Ask(&message.Query{Bits: message.BitRD}, name, message.TypeHINFO)
	p := &probe{loop: l, watched: w}
	if err := w.server.Ask(upstream.NewQuestion(&q, false), w.over, p); err != nil {
		p.Answered(nil, err)
	}
}

// unguessable are two labels of random digits, as CoreDNS makes them.
func unguessable() string {
	var labels strings.Builder
	for range 2 {
		var b [8]byte
		rand.Read(b[:]) // it never returns an error
		digits := strconv.FormatUint(binary.BigEndian.Uint64(b[:])>>2, 10)
		labels.WriteByte(byte(len(digits)))
		labels.WriteString(digits)
	}
	return labels.String()
}

// probe is a question on its way.
type probe struct {
	loop    *Loop
	watched *watched
}

// Answered implements upstream.Asker. Whatever was answered, the question has come back before that, if it does at all.
func (p *probe) Answered(_ *message.Packed, err error) {
	l, w, now := p.loop, p.watched, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w.asking = false
	switch {
	case w.seen:
		w.pause = min(max(2*w.pause, l.rhythm.again), l.rhythm.most)
		w.next = now.Add(w.pause)
	case !w.looping:
		w.next = l.rhythm.after(w.since, now)
	case err != nil: // it may be silent for any reason
		w.next = now.Add(l.rhythm.again)
	default:
		w.looping, w.pause, w.next = false, 0, time.Time{}
		if l.states[w.server] != w { // nobody wants to know any more
			return
		}
		w.server.Enable()
		l.disabled.show(w, false)
		l.log.Info(fmt.Sprintf("%s no longer sends questions back here and is forwarded to again", w.server))
	}
}

// after is when to probe a server again that is there since some time and does not lead back: zero is not any more.
func (r *rhythm) after(since, now time.Time) time.Time {
	for _, wait := range r.first {
		if at := since.Add(wait); at.After(now) {
			return at
		}
	}
	return time.Time{}
}
