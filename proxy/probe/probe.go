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

// Options of a Prober. Those up to Silent are needed.
type Options struct {
	// Endpoints returns who is to be asked from now on. It is called before each round. Where there is nobody, there are no
	// rounds until Refresh.
	Endpoints func() []netip.AddrPort
	// Silent is told the addresses of those that have ceased to answer, sorted, whenever these are others than before.
	Silent func([]netip.Addr)
	// Asked is told after each round how many have answered and how many have not; nil drops.
	Asked func(answered, unanswered int)
	Log   *slog.Logger
	// Every is the time between two rounds. Default: 400 ms.
	Every time.Duration
	// Failures is how many questions in a row have to stay without an answer. Default: 3.
	Failures int
}

// most bounds how many endpoints are asked: each node of the cluster asks them.
const most = 64

// Prober asks. An endpoint that has answered, and then does not for as often as Options.Failures, is silent until it answers
// again. One that has never answered is not: somebody may keep the node's questions from it, and let those of Pods through.
type Prober struct {
	o    Options
	conn *net.UDPConn
	wake chan struct{} // has a token where there may be somebody to ask

	mu       sync.Mutex
	backends map[netip.AddrPort]*backend
	silent   []netip.Addr // as told last
}

// backend is an endpoint that is asked. All questions to one have the same number, so that late answers count.
type backend struct {
	id       uint16
	asked    bool // there was a question in the last round
	answered bool // since then
	known    bool // it has answered ever
	failures int  // rounds in a row without an answer
}

// Open makes a prober that asks from the network namespace of the thread that calls it.
func Open(o Options) (*Prober, error) {
	if o.Every == 0 {
		o.Every = 400 * time.Millisecond
	}
	if o.Failures == 0 {
		o.Failures = 3
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

// Run asks until ctx ends. It closes the prober.
func (p *Prober) Run(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(p.listen)
	ticks := time.NewTicker(p.o.Every)
	defer ticks.Stop()
	resting := false // nobody is asked, and nothing ticks
	for {
		select {
		case <-ctx.Done():
			_ = p.conn.Close() // which ends listen
			listening.Wait()
			return
		case <-p.wake:
			if resting {
				ticks.Reset(p.o.Every)
				resting = false
			}
		case <-ticks.C:
			if resting = !p.round(); resting {
				ticks.Stop()
			}
		}
	}
}

// round takes stock of the last round's answers, and asks again. It reports whether there is anybody to ask.
func (p *Prober) round() bool {
	endpoints := p.o.Endpoints()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(endpoints[:min(len(endpoints), most)])
	answered, unanswered := 0, 0
	for at, b := range p.backends {
		switch {
		case !b.asked:
		case b.answered:
			answered++
		default:
			unanswered++
			b.failures++
		}
		b.asked, b.answered = true, false
		// What cannot be sent is not answered.
		_, _ = p.conn.WriteToUDPAddrPort(question(b.id), at)
	}
	if p.o.Asked != nil {
		p.o.Asked(answered, unanswered)
	}
	p.tell()
	return len(p.backends) > 0
}

// keep forgets those that are no endpoints any more, and gets to know new ones.
func (p *Prober) keep(endpoints []netip.AddrPort) {
	for at := range p.backends {
		if !slices.Contains(endpoints, at) {
			delete(p.backends, at)
		}
	}
	for _, at := range endpoints {
		if p.backends[at] == nil {
			p.backends[at] = &backend{id: uint16(rand.Uint32())}
		}
	}
}

// tell passes on who is silent, where that has changed.
func (p *Prober) tell() {
	silent := []netip.Addr{}
	for at, b := range p.backends {
		if b.known && b.failures >= p.o.Failures {
			silent = append(silent, at.Addr())
		}
	}
	slices.SortFunc(silent, netip.Addr.Compare)
	if silent = slices.Compact(silent); slices.Equal(silent, p.silent) {
		return
	}
	for _, a := range silent {
		if !slices.Contains(p.silent, a) {
			p.o.Log.Warn(fmt.Sprintf("the DNS server %s has left %d questions in a row unanswered: others are used, while there are any", a, p.o.Failures))
		}
	}
	for _, a := range p.silent {
		if !slices.Contains(silent, a) {
			p.o.Log.Info(fmt.Sprintf("the DNS server %s answers again, or is an endpoint no more", a))
		}
	}
	p.silent = silent
	p.o.Silent(slices.Clone(silent))
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

// hear takes an answer. Whoever was silent is back at once.
func (p *Prober) hear(message []byte, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backends[from]
	if b == nil || !answers(message, b.id) {
		return
	}
	b.answered, b.known = true, true
	if b.failures > 0 {
		b.failures = 0
		p.tell()
	}
}
