// Package ready is the ready directive: /ready says whether everything that answers queries is able to.
package ready

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/env"
)

// Ready is what the ready directives of all server blocks come to: one list of directives to ask, and the addresses
// where the outcome is served.
type Ready struct {
	log       *slog.Logger
	addresses []string
	endpoints []*endpoint.Endpoint

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

// Add takes up one ready directive. Each address is served once; of several monitor modes the last one counts.
func (r *Ready) Add(o Options) {
	if !slices.Contains(r.addresses, o.Address) {
		r.addresses = append(r.addresses, o.Address)
	}
	r.continuously = o.Continuously
}

// Watch asks part, which belongs to the directive called name. Several of one name must all be ready.
func (r *Ready) Watch(name string, part Readiness) {
	r.watched = append(r.watched, watched{name, part})
}

// Start opens the endpoints. As in CoreDNS one that cannot be opened keeps nobody from being served; it is logged.
func (r *Ready) Start(context.Context) error {
	for _, address := range r.addresses {
		e, err := endpoint.Open(address, "/ready", r)
		if err != nil {
			r.log.Error(err.Error())
			continue
		}
		r.endpoints = append(r.endpoints, e)
	}
	return nil
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

// Stop closes the endpoints.
func (r *Ready) Stop() {
	for _, e := range r.endpoints {
		e.Close()
	}
}

// Addrs are where the endpoints listen.
func (r *Ready) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, e := range r.endpoints {
		addrs = append(addrs, e.Addr())
	}
	return addrs
}
