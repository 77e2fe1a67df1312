package manifest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/cluster"
)

// sink keeps what a source tells, as lines: "+ service prod/web ClusterIP 10.96.1.1 http/80/tcp". It checks what every
// source promises: that changes continue what was told before.
type sink struct {
	t       *testing.T
	known   map[cluster.Kind]map[cluster.Key]cluster.Object
	batches chan []string // one per Apply, and one per Synced
}

func newSink(t *testing.T) *sink {
	return &sink{t: t, known: map[cluster.Kind]map[cluster.Key]cluster.Object{}, batches: make(chan []string, 100)}
}

// Apply implements cluster.Sink.
func (s *sink) Apply(changes []cluster.Change) {
	var lines []string
	for _, c := range changes {
		kind, key := c.Object().Kind(), c.Object().Key()
		if s.known[kind] == nil {
			s.known[kind] = map[cluster.Key]cluster.Object{}
		}
		if old := s.known[kind][key]; old != c.Old {
			s.t.Errorf("%v %v: the change begins at %v, the one before ended at %v", kind, key, c.Old, old)
		}
		switch {
		case c.New == nil:
			delete(s.known[kind], key)
			lines = append(lines, "- "+describe(c.Old))
			continue
		case c.Old == nil:
			lines = append(lines, "+ "+describe(c.New))
		default:
			if c.Old.Equal(c.New) {
				s.t.Errorf("%v %v changes from %v to the same", kind, key, c.Old)
			}
			lines = append(lines, "~ "+describe(c.New))
		}
		s.known[kind][key] = c.New
	}
	s.batches <- lines
}

// Synced implements cluster.Sink.
func (s *sink) Synced(kind cluster.Kind) { s.batches <- []string{"synced " + kind.String()} }

// describe prints an object as one line.
func describe(o cluster.Object) string {
	words := []string{strings.TrimSuffix(o.Kind().String(), "s"), o.Key().String()}
	switch o := o.(type) {
	case *cluster.Service:
		words = append(words, [...]string{"ClusterIP", "Headless", "ExternalName"}[o.Type], o.ExternalName)
		for _, ip := range o.ClusterIPs {
			words = append(words, ip.String())
		}
		words = append(words, ports(o.Ports)...)
	case *cluster.Slice:
		words = append(words, "of", o.Service+o.Multicluster)
		words = append(words, ports(o.Ports)...)
		for i := range o.Endpoints {
			words = append(words, endpoint(&o.Endpoints[i]))
		}
	case *cluster.Pod:
		for _, ip := range o.IPs {
			words = append(words, ip.String())
		}
	case *cluster.Import:
		for _, ip := range o.IPs {
			words = append(words, ip.String())
		}
		words = append(words, ports(o.Ports)...)
	case *cluster.Range:
		for _, prefix := range o.Prefixes {
			words = append(words, prefix.String())
		}
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

func ports(list []cluster.Port) []string {
	var words []string
	for _, p := range list {
		words = append(words, fmt.Sprintf("%s/%d/%s", p.Name, p.Number, p.Protocol))
	}
	return words
}

// endpoint prints ADDRESS(HOSTNAME,POD,NODE,ZONE,hints)STATE, where the state is r, s and t for what it is.
func endpoint(e *cluster.Endpoint) string {
	var about []string
	if e.Hostname != "" {
		about = append(about, e.Hostname)
	}
	if e.Pod != "" {
		about = append(about, "pod="+e.Pod)
	}
	if p := e.Place; p != nil {
		about = append(about, "node="+p.Node, "zone="+p.Zone)
		if len(p.ForZones)+len(p.ForNodes) > 0 {
			about = append(about, fmt.Sprintf("for=%v%v", p.ForZones, p.ForNodes))
		}
	}
	state := ""
	for i, letter := range [...]string{"r", "s", "t", "+"} {
		if e.State&(1<<i) != 0 {
			state += letter
		}
	}
	return fmt.Sprintf("%v(%s)%s", e.Address, strings.Join(about, ","), state)
}

// next waits for the next batch and compares it.
func (s *sink) next(want ...string) {
	s.t.Helper()
	select {
	case got := <-s.batches:
		if diff := cmp.Diff(want, got); diff != "" {
			s.t.Fatalf("next batch: %s", diff)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatalf("nothing came, want %q", want)
	}
}

// run runs a source into a new sink until the test ends, and returns what it logs as it comes.
func run(t *testing.T, s *Source) (*sink, *logLines) {
	t.Helper()
	sink, lines := newSink(t), s.log.Handler().(*logLines)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, sink)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		select {
		case more := <-sink.batches:
			t.Errorf("told more than was looked at: %q", more)
		default:
		}
	})
	return sink, lines
}

// logLines is a log handler that hands the lines on.
type logLines struct {
	slog.Handler
	lines chan string
}

func newLog() *slog.Logger {
	return slog.New(&logLines{Handler: slog.NewTextHandler(io.Discard, nil), lines: make(chan string, 100)})
}

// Handle implements slog.Handler.
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	l.lines <- r.Level.String() + " " + r.Message
	return nil
}

// next waits for the next line and compares it.
func (l *logLines) next(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-l.lines:
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("next line: %s", diff)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no line came, want %s", want)
	}
}

// all returns the lines so far.
func (l *logLines) all() []string {
	var lines []string
	for len(l.lines) > 0 {
		lines = append(lines, <-l.lines)
	}
	return lines
}

// once returns what a source over the texts tells, and what it logs.
func once(t *testing.T, needs cluster.Needs, texts map[string]string) (told, logged []string) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range texts {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	s, err := FromFS(fsys, needs, newLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sink := newSink(t)
	s.take(sink)
	for len(sink.batches) > 0 {
		told = append(told, <-sink.batches...)
	}
	return told, s.log.Handler().(*logLines).all()
}
