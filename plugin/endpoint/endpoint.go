// Package endpoint is a small HTTP server with one path: /health, /ready and /metrics are endpoints.
package endpoint

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Endpoint serves one path at one address.
type Endpoint struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

// timeout bounds reading a request, writing its answer, an idle connection, and the end.
const timeout = 5 * time.Second

// Open listens at addr ("host:port", with an empty host at all addresses) and serves handler under path; any other path
// is 404. Like CoreDNS it shares the address with another process that does so too (SO_REUSEPORT), so that the next one
// can start before this one ends. The error names the address.
func Open(addr, path string, handler http.Handler) (*Endpoint, error) {
	config := net.ListenConfig{Control: share}
	listener, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve %s at %q: %w", path, addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle(path, handler)
	e := &Endpoint{
		listener: listener,
		server:   &http.Server{Handler: mux, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout},
		ended:    make(chan struct{}),
	}
	go func() {
		defer close(e.ended)
		_ = e.server.Serve(listener) // it ends when the listener is closed, and only then
	}()
	return e, nil
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

// Addr is where the endpoint listens, with the port it got where 0 was asked for.
func (e *Endpoint) Addr() net.Addr { return e.listener.Addr() }

// Close answers what has been asked and ends; after five seconds it cuts off who still waits.
func (e *Endpoint) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close() // what is cut off anyway
	}
	<-e.ended
}
