// Package endpoint is a small HTTP server with one path: /health, /ready and /metrics are endpoints, and /debug/pprof/ is.
package endpoint

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns/caddy/caddyfile"
	"golang.org/x/sys/unix"
)

// Endpoint serves one path at one address. It lives on over reloads, while who answers changes.
type Endpoint struct {
	address, path string
	way           Way
	handler       atomic.Pointer[http.Handler]
	listener      net.Listener
	server        *http.Server
	ended         chan struct{}
}

// Way is how an endpoint talks to who asks. The zero value is plain HTTP, for everybody.
type Way struct {
	// Name tells ways from each other.
	Name string
	// Check, if not nil, says what keeps the endpoint from being opened.
	Check func() error
	// Serve answers what comes to the listener until that or the server is closed.
	Serve func(*http.Server, net.Listener) error
}

// timeout bounds reading a request, writing its answer, an idle connection, and the end.
const timeout = 5 * time.Second

// New makes an endpoint for handler, reached by a way; Start opens it. A path with a slash at its end is all that is below it, and itself
// without the slash.
func New(address, path string, way Way, handler http.Handler) *Endpoint {
	if way.Serve == nil {
		way.Serve = (*http.Server).Serve
	}
	e := &Endpoint{address: address, path: path, way: way, ended: make(chan struct{})}
	e.Handle(handler)
	return e
}

// Handle has another handler answer from now on.
func (e *Endpoint) Handle(handler http.Handler) { e.handler.Store(&handler) }

// ServeHTTP lets the handler answer.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*e.handler.Load()).ServeHTTP(w, r)
}

// Start listens at the address ("host:port", with an empty host at all addresses) and serves the path; any other path is
// 404. Like CoreDNS it shares the address with another process that does so too (SO_REUSEPORT), so that the next one can
// start before this one ends. The error names the address.
func (e *Endpoint) Start(ctx context.Context) error {
	listener, err := e.listen(ctx)
	if err != nil {
		return fmt.Errorf("serve %s at %q: %w", e.path, e.address, err)
	}
	mux := http.NewServeMux()
	mux.Handle(e.path, e)
	if above, tree := strings.CutSuffix(e.path, "/"); tree {
		mux.Handle(above, e)
	}
	e.listener = listener
	e.server = &http.Server{Handler: mux, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout}
	go func() {
		defer close(e.ended)
		_ = e.way.Serve(e.server, listener) // plain HTTP ends when the listener is closed, and only then
		_ = listener.Close()                // which no other way may leave to clients who would wait
	}()
	return nil
}

func (e *Endpoint) listen(ctx context.Context) (net.Listener, error) {
	if e.way.Check != nil {
		if err := e.way.Check(); err != nil {
			return nil, err
		}
	}
	config := net.ListenConfig{Control: share}
	return config.Listen(ctx, "tcp", e.address)
}

// share sets SO_REUSEPORT.
func share(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// ParseAddress reads the argument that a directive may have behind its name: the address of its endpoint, as host:port. It
// is otherwise where there is none.
func ParseAddress(c *caddyfile.Dispenser, otherwise string) (string, error) {
	args := c.RemainingArgs()
	switch len(args) {
	case 0:
		return otherwise, nil
	case 1:
		if _, _, err := net.SplitHostPort(args[0]); err != nil {
			return "", c.Err(err.Error())
		}
		return args[0], nil
	}
	return "", c.ArgErr()
}

// Way is how the endpoint talks.
func (e *Endpoint) Way() Way { return e.way }

// Addr is where the endpoint listens since Start, with the port it got where 0 was asked for.
func (e *Endpoint) Addr() net.Addr { return e.listener.Addr() }

// Stop answers what has been asked and ends; after five seconds it cuts off who still waits. It follows a Start without an
// error.
func (e *Endpoint) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close() // what is cut off anyway
	}
	<-e.ended
}
