package plugin

import (
	"context"
	"crypto/sha512"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/ready"
)

// Setup is what a Corefile comes to: listeners with their blocks, for package server, and parts that live beside these.
// Its life is Start, then the servers, then Drain, the end of the servers, and Stop; or, where another Setup takes its
// place, Start of that one, the exchange of the blocks, and Retire. Live goes through all of it.
type Setup struct {
	// Listeners in the order of the Corefile.
	Listeners []*Listener
	// Period is how often the Corefile wants to be looked at for changes (reload); 0 is never.
	Period time.Duration
	// Digest is that of the Corefile.
	Digest [sha512.Size]byte

	compiler *Compiler
	before   *Setup   // the one whose place this one is to take, until it has
	order    []string // in which directives act
	chain    []string // those of them that are links of CoreDNS's chain
	blocks   []*block
	parts    []*part // in the order in which they start
	warnings []config.Warning

	ready  *ready.Ready
	health []*health.Health
	// What becomes of the process with this Setup, see activate.
	enabled    []prometheus.Enabled
	runtime    bool // prometheus shows all of the runtime's metrics
	waits      int  // which waits of goroutines are recorded, as runtime.SetBlockProfileRate has it (pprof)
	stacktrace bool // a panic is logged with its stack
	handlers   []func()
}

// Start starts what runs beside the servers, in the directives' order, so that /health and /ready are there while
// kubernetes waits for its first state. What is taken over from another Setup runs already. After an error nothing is left
// running but that. ctx bounds the start only.
func (s *Setup) Start(ctx context.Context) error {
	for _, p := range s.parts {
		if err := p.start(ctx); err != nil {
			s.Retire(s.before)
			return err
		}
	}
	if s.before == nil {
		s.activate()
	}
	return nil
}

// activate makes this Setup the one that the process shows to the outside: at the endpoints that it has taken over, and in
// the metrics.
func (s *Setup) activate() {
	for _, handle := range s.handlers {
		handle()
	}
	s.compiler.metrics.Enable(s.enabled)
	s.compiler.metrics.ShowRuntime(s.runtime)
	s.compiler.stacktrace.Store(s.stacktrace)
	runtime.SetBlockProfileRate(s.waits)
	s.before, s.handlers = nil, nil
}

// Drain says to the outside that the process is about to end, and waits as long as the Corefile wants clients to have for
// going elsewhere (health's lameduck), or until ctx ends. All goes on meanwhile.
func (s *Setup) Drain(ctx context.Context) {
	var wait sync.WaitGroup
	for _, p := range s.parts {
		if v, ok := p.value.(drainer); ok {
			wait.Go(func() { v.Drain(ctx) })
		}
	}
	wait.Wait()
}

// Stop ends what runs beside the servers, which have ended before: what was started last first.
func (s *Setup) Stop() { s.Retire(nil) }

// Retire stops what the Setup does not share with another one, which may be nil.
func (s *Setup) Retire(other *Setup) {
	for _, p := range slices.Backward(s.parts) {
		if other == nil || !slices.Contains(other.parts, p) {
			p.stop()
		}
	}
}

// serve has an endpoint answered by a handler, over plain HTTP, see serveBy.
func (s *Setup) serve(address, path string, handler http.Handler, tolerate func(error)) *endpoint.Endpoint {
	return s.serveBy(endpoint.Way{}, address, path, handler, tolerate)
}

// serveBy has an endpoint answered by a handler. Several directives that name one address and path share it, and the way of
// the first of them. One that is open already changes over when the Setup becomes active. One that cannot be opened keeps the
// Setup from starting, unless tolerate is told instead.
func (s *Setup) serveBy(way endpoint.Way, address, path string, handler http.Handler, tolerate func(error)) *endpoint.Endpoint {
	place := "endpoint " + path + " " + address + " "
	if i := slices.IndexFunc(s.parts, func(p *part) bool { return strings.HasPrefix(p.key, place) }); i >= 0 {
		return s.parts[i].value.(*endpoint.Endpoint)
	}
	e, kept, _ := have(s, place+way.Name, func() (*endpoint.Endpoint, error) { // which returns no error
		return endpoint.New(address, path, way, handler), nil
	})
	if kept {
		s.handlers = append(s.handlers, func() { e.Handle(handler) })
	} else {
		s.parts[len(s.parts)-1].tolerate = tolerate
	}
	return e
}

// panicked counts and logs a panic that the server at a listener survived.
func (c *Compiler) panicked(listener string, value any, stack []byte) {
	c.metrics.Panic()
	text := fmt.Sprintf("Recovered from panic in server: %q %v", listener, value)
	if c.stacktrace.Load() {
		text += "\n" + string(stack)
	}
	c.options.Journal.Logger("").Error(text)
}

// behind is the name of a directive that is not ready, where the Setup before has one of that name that is; "" if there is none.
func (s *Setup) behind(before *Setup) string {
	was := make(map[string]bool)
	for _, b := range before.blocks {
		for _, r := range b.ready {
			was[r.name] = was[r.name] || r.part.Ready()
		}
	}
	for _, b := range s.blocks {
		for _, r := range b.ready {
			if was[r.name] && !r.part.Ready() {
				return r.name
			}
		}
	}
	return ""
}

// watchReadiness has /ready ask the directives of all blocks that have a ready directive.
func (s *Setup) watchReadiness() {
	for _, b := range s.blocks {
		if !b.asked {
			continue
		}
		for _, r := range b.ready {
			s.ready.Watch(r.name, r.part)
		}
	}
}
