package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
)

// recorder is a sink that checks what every source owes its sink, and remembers.
type recorder struct {
	t    *testing.T
	busy atomic.Bool

	mu     sync.Mutex
	news   *sync.Cond
	state  map[string]cluster.Object // by kind and key
	synced []cluster.Kind
	log    []string // every call: "+ services prod/web", "~ ...", "- ...", "synced services"
	calls  int      // of Apply
	late   bool
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{t: t, state: map[string]cluster.Object{}}
	r.news = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) Apply(changes []cluster.Change) {
	defer r.enter()()
	r.calls++
	if len(changes) == 0 {
		r.t.Error("Apply without changes")
	}
	for _, c := range changes {
		name := c.Object().Kind().String() + " " + c.Object().Key().String()
		if old := r.state[name]; old != c.Old {
			r.t.Errorf("%s: the old value is %v, but %v was told", name, c.Old, old)
		}
		switch {
		case c.New == nil:
			delete(r.state, name)
			r.log = append(r.log, "- "+name)
		case c.Old == nil:
			r.state[name] = c.New
			r.log = append(r.log, "+ "+name)
		default:
			r.state[name] = c.New
			r.log = append(r.log, "~ "+name)
			if c.Old.Equal(c.New) {
				r.t.Errorf("%s: a change that changes nothing", name)
			}
		}
	}
}

func (r *recorder) Synced(kind cluster.Kind) {
	defer r.enter()()
	if slices.Contains(r.synced, kind) {
		r.t.Errorf("%s were synced twice", kind)
	}
	r.synced = append(r.synced, kind)
	r.log = append(r.log, "synced "+kind.String())
}

// enter guards a call: there must be one at a time.
func (r *recorder) enter() (leave func()) {
	if r.busy.Swap(true) {
		r.t.Error("two calls at once")
	}
	r.mu.Lock()
	return func() {
		r.busy.Store(false)
		r.news.Broadcast()
		r.mu.Unlock()
	}
}

// patience is how long anything may take before a test gives up. Nothing waits so long that works.
const patience = 20 * time.Second

// wait returns when is holds.
func (r *recorder) wait(what string, is func() bool) {
	r.t.Helper()
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.late = true
		r.news.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !is() {
		if r.late {
			r.t.Fatalf("waited in vain for %s; told so far:\n%s", what, strings.Join(r.log, "\n"))
		}
		r.news.Wait()
	}
}

// waitSynced returns when so many kinds are synced.
func (r *recorder) waitSynced(kinds int) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%d kinds synced", kinds), func() bool { return len(r.synced) == kinds })
}

// waitFor returns when the last change told of what is named is change.
func (r *recorder) waitFor(change string) {
	r.t.Helper()
	sign, name, _ := strings.Cut(change, " ")
	r.wait(change, func() bool {
		for _, line := range slices.Backward(r.log) {
			if s, n, _ := strings.Cut(line, " "); n == name {
				return s == sign
			}
		}
		return false
	})
}

// taken returns what was told since the last call.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

// follow runs a source into r until the test ends, and returns how to end it before.
func (r *recorder) follow(source cluster.Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		source.Run(ctx, r)
		close(done)
	}()
	stop = func() {
		cancel()
		<-done
	}
	r.t.Cleanup(stop)
	return stop
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, err.Error())
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}
