// Package ready is the ready directive: /ready says whether everything that answers queries is able to.
package ready

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/waypost/waypost/plugin/env"
)

// Ready is what the ready directives of all server blocks come to: one list of directives to ask. It is the handler of
// their endpoints.
type Ready struct {
	log *slog.Logger

	mu           sync.Mutex
	watched      []watched
	continuously bool
	ending       bool
}

// Readiness is a directive that may not be able to answer yet.
type Readiness interface {
	Ready() bool
}

type watched struct {
	name string
	part Readiness // nil once it has been ready and need not be asked again
}

// New makes an empty list.
func New(e env.Env) *Ready { return &Ready{log: e.Log} }

// Path is that of the endpoints.
const Path = "/ready"

// Add takes up one ready directive. Of several monitor modes the last one counts.
func (r *Ready) Add(o Options) { r.continuously = o.Continuously }

// Watch asks part, which belongs to the directive called name. Several of one name must all be ready.
func (r *Ready) Watch(name string, part Readiness) {
	r.watched = append(r.watched, watched{name, part})
}

// ServeHTTP says 200 "OK", or 503 with the names of those that are not ready.
func (r *Ready) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	text, ok := r.state()
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	io.WriteString(w, text)
}

func (r *Ready) state() (text string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return "Shutting down", false
	}
	var missing []string
	for i, w := range r.watched {
		switch {
		case w.part == nil:
		case !w.part.Ready():
			missing = append(missing, w.name)
		case !r.continuously:
			r.watched[i].part = nil
		}
	}
	if len(missing) == 0 {
		return "OK", true
	}
	slices.Sort(missing)
	text = strings.Join(slices.Compact(missing), ",")
	r.log.Info(fmt.Sprintf("Plugins not ready: %q", text))
	return text, false
}

// Drain says 503 from now on, so that no new client is led here while those that are go on being served.
func (r *Ready) Drain(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
}
