// Package probe asks the endpoints of a few Services, those of the cluster's DNS, whether they are there, from the node that
// sends its Pods' questions to them. When a node dies, the API server takes most of a minute to say so, and each question
// that is sent there meanwhile costs its client a timeout of seconds.
package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Options of a Prober. Those up to Use are needed.
type Options struct {
	// Endpoints returns who is to be asked from now on. It is called before each round, and after Refresh. Where there is
	// nobody, there are no rounds until Refresh.
	Endpoints func() []netip.AddrPort
	// Use is told the addresses of those that may be sent questions, sorted, whenever these are others than before.
	Use func([]netip.Addr)
	// Asked is told after each round how many have answered their last question and how many have not; nil drops.
	Asked func(answered, unanswered int)
	Log   *slog.Logger
	// Every is the time between two rounds. Default: 400 ms.
	Every time.Duration
	// Failures is how many questions in a row have to stay without an answer. Default: 3.
	Failures int
	// Soon is the time between two questions to one that waits. Default: 50 ms.
	Soon time.Duration
	// Patience is how many questions without an answer one waits for. Default: 20, so that it takes a second.
	Patience int
}

// most bounds how many endpoints are asked: each node of the cluster asks them. All others are used.
const most = 64

// Prober asks. An endpoint that has answered, and then does not for as often as Options.Failures, is silent until it answers
// again. One that comes while others answer waits until it has answered once, as the cluster may say that it is ready before
// it listens; but no longer than for Options.Patience questions: somebody may keep the node's questions from it, and let those
// of Pods through.
type Prober struct {
	o    Options
	conn *net.UDPConn
	wake chan struct{} // has a token where there may be somebody to ask

	mu       sync.Mutex
	backends map[netip.AddrPort]*backend
	beyond   []netip.AddrPort // endpoints that are not asked, as there are too many
	begun    bool             // Options.Use has been told something
	used     []netip.Addr     // as told last
}

// backend is an endpoint that is asked. All questions to one have the same number, so that late answers count.
type backend struct {
	id       uint16
	asked    bool // there was a question
	answered bool // since it was asked last
	known    bool // it has answered ever
	waits    bool // it is not used before it has answered
	failures int  // questions in a row without an answer
}

// isSilent reports whether b has ceased to answer.
func (p *Prober) isSilent(b *backend) bool { return b.known && b.failures >= p.o.Failures }

// Open makes a prober that asks from the network namespace of the thread that calls it.
func Open(o Options) (*Prober, error) {
	if o.Every == 0 {
		o.Every = 400 * time.Millisecond
	}
	if o.Failures == 0 {
		o.Failures = 3
	}
	if o.Soon == 0 {
		o.Soon = 50 * time.Millisecond
	}
	if o.Patience == 0 {
		o.Patience = 20
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("open a socket to ask DNS servers: %w", err)
	}
	return &Prober{o: o, conn: conn, wake: make(chan struct{}, 1), backends: map[netip.AddrPort]*backend{}}, nil
}

// Refresh says that Options.Endpoints may return others now.
func (p *Prober) Refresh() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends. It closes the prober. Those that are endpoints when it begins are used until they fall silent.
func (p *Prober) Run(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(p.listen)
	rounds, soon := newTicks(p.o.Every), newTicks(p.o.Soon)
	defer rounds.Stop()
	defer soon.Stop()
	p.Refresh()
	for {
		select {
		case <-ctx.Done():
			_ = p.conn.Close() // which ends listen
			listening.Wait()
			return
		case <-p.wake:
			p.meet()
			p.ask(unasked)
		case <-rounds.C:
			p.round()
		case <-soon.C:
			p.ask(waiting)
		}
		anybody, anybodyWaits := p.toAsk()
		rounds.run(anybody)
		soon.run(anybodyWaits)
	}
}

// Who is due to be asked: of a change, a round, or between rounds.
func unasked(b *backend) bool { return !b.asked }
func settled(b *backend) bool { return !b.waits || !b.asked }
func waiting(b *backend) bool { return b.waits }

// ticks is a ticker that can rest.
type ticks struct {
	*time.Ticker
	every   time.Duration
	resting bool
}

// newTicks returns ticks that rest.
func newTicks(every time.Duration) *ticks {
	t := &ticks{Ticker: time.NewTicker(every), every: every, resting: true}
	t.Stop()
	return t
}

// run has t tick, or rest.
func (t *ticks) run(run bool) {
	if run != t.resting {
		return
	}
	if t.resting = !run; run {
		t.Reset(t.every)
	} else {
		t.Stop()
	}
}

// toAsk reports whether there is anybody to ask, and anybody who waits.
func (p *Prober) toAsk() (anybody, anybodyWaits bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		anybodyWaits = anybodyWaits || b.waits
	}
	return len(p.backends) > 0, anybodyWaits
}

// meet forgets those that are no endpoints any more, and gets to know new ones.
func (p *Prober) meet() {
	endpoints := p.o.Endpoints()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(endpoints), most)
	endpoints, p.beyond = endpoints[:n], endpoints[n:]
	somebodyAnswers := false
	for at, b := range p.backends {
		if !slices.Contains(endpoints, at) {
			delete(p.backends, at)
			continue
		}
		somebodyAnswers = somebodyAnswers || b.known && !p.isSilent(b)
	}
	for _, at := range endpoints {
		if p.backends[at] == nil {
			p.backends[at] = &backend{id: uint16(rand.Uint32()), waits: somebodyAnswers}
		}
	}
	p.tell()
}

// round asks all but those that wait.
func (p *Prober) round() {
	p.meet()
	if answered, unanswered := p.ask(settled); p.o.Asked != nil {
		p.o.Asked(answered, unanswered)
	}
}

// ask takes stock of the last questions to those that are due, and asks them again.
func (p *Prober) ask(due func(*backend) bool) (answered, unanswered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, b := range p.backends {
		if !due(b) {
			continue
		}
		switch {
		case !b.asked:
		case b.answered:
			answered++
		default:
			unanswered++
			p.miss(at, b)
		}
		b.asked, b.answered = true, false
		// What cannot be sent is not answered.
		_, _ = p.conn.WriteToUDPAddrPort(question(b.id), at)
	}
	p.tell()
	return answered, unanswered
}

// miss takes note that b has left a question without an answer.
func (p *Prober) miss(at netip.AddrPort, b *backend) {
	b.failures++
	switch {
	case b.known && b.failures == p.o.Failures:
		p.o.Log.Warn(fmt.Sprintf("the DNS server %s has left %d questions in a row unanswered: others are used, while there are any", at, b.failures))
	case b.waits && b.failures == p.o.Patience:
		b.waits = false
		p.o.Log.Info(fmt.Sprintf("the DNS server %s is new and has answered none of %d questions: it is used nevertheless, as it may answer others than this node", at, b.failures))
	}
}

// tell passes on who is to be used, where that has changed.
func (p *Prober) tell() {
	used := make([]netip.Addr, 0, len(p.backends)+len(p.beyond))
	for _, at := range p.beyond {
		used = append(used, at.Addr())
	}
	for at, b := range p.backends {
		if !b.waits && !p.isSilent(b) {
			used = append(used, at.Addr())
		}
	}
	slices.SortFunc(used, netip.Addr.Compare)
	if used = slices.Compact(used); p.begun && slices.Equal(used, p.used) {
		return
	}
	p.begun, p.used = true, used
	p.o.Use(slices.Clone(used))
}

// listen hears answers until the socket is closed.
func (p *Prober) listen() {
	buffer := make([]byte, 512)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			p.hear(buffer[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}

// hear takes an answer. Whoever was silent, or waits, is used at once.
func (p *Prober) hear(message []byte, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backends[from]
	if b == nil || !answers(message, b.id) {
		return
	}
	if p.isSilent(b) {
		p.o.Log.Info(fmt.Sprintf("the DNS server %s answers again", from))
	}
	b.answered, b.known, b.waits, b.failures = true, true, false, 0
	p.tell()
}
