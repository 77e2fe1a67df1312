package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/ready"
)

// Setup is what a Corefile comes to: listeners with their blocks, for package server, and what runs beside them. Its life
// is Start, then the servers, then Drain, the end of the servers, and Stop.
type Setup struct {
	// Listeners in the order of the Corefile.
	Listeners []*Listener

	compiler   *Compiler
	blocks     []*block
	ready      *ready.Ready
	health     []*health.Health
	prometheus *prometheus.Endpoints
	stacktrace bool // a panic is logged with its stack
	warnings   []config.Warning

	start []func(context.Context) error
	drain []func(context.Context)
	stop  []func()
}

func newSetup(c *Compiler) *Setup { return &Setup{compiler: c} }

func (s *Setup) onStart(f func(context.Context) error) { s.start = append(s.start, f) }
func (s *Setup) onDrain(f func(context.Context))       { s.drain = append(s.drain, f) }
func (s *Setup) onStop(f func())                       { s.stop = append(s.stop, f) }

// Start starts what runs beside the servers, in the directives' order, so that /health and /ready are there while
// kubernetes waits for its first state. After an error nothing is left running. ctx bounds the start only.
func (s *Setup) Start(ctx context.Context) error {
	for _, start := range s.start {
		if err := start(ctx); err != nil {
			s.Stop()
			return err
		}
	}
	return nil
}

// Drain says to the outside that the process is about to end, and waits as long as the Corefile wants clients to have for
// going elsewhere (health's lameduck), or until ctx ends. All goes on meanwhile.
func (s *Setup) Drain(ctx context.Context) {
	var wait sync.WaitGroup
	for _, drain := range s.drain {
		wait.Go(func() { drain(ctx) })
	}
	wait.Wait()
}

// Stop ends what runs beside the servers, which have ended before: what was started last first.
func (s *Setup) Stop() {
	for _, stop := range slices.Backward(s.stop) {
		stop()
	}
}

// panicked counts and logs a panic that the server at a listener survived.
func (s *Setup) panicked(listener string, value any, stack []byte) {
	s.compiler.metrics.Panic()
	text := fmt.Sprintf("Recovered from panic in server: %q %v", listener, value)
	if s.stacktrace {
		text += "\n" + string(stack)
	}
	s.compiler.options.Journal.Logger("").Error(text)
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
