package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Listener serves HTTP on an address, and tries again as long as the address cannot be listened on.
type Listener struct {
	Name    string // what it is, for log lines
	Address string // ADDRESS:PORT
	Handler http.Handler
	// Admit, where it is not nil, decides by its local address whether a connection is served or closed at once.
	Admit func(local net.Addr) bool
	// HardFail gives up at the first failure to listen.
	HardFail bool
	// InUse is said beside the failure to listen where somebody else has the address: who that may be.
	InUse string
	Log   *slog.Logger
	// Retry is the time between tries; 0 is five seconds, kube-proxy's.
	Retry time.Duration
}

const defaultRetry = 5 * time.Second

// Start listens, and serves until ctx ends. If it cannot listen yet it tries again in the background. done is closed at the
// end, after the error of HardFail where there is one; at is the address, nil if there is none yet.
func (l *Listener) Start(ctx context.Context) (at net.Addr, done <-chan error) {
	listener, err := l.listen(ctx)
	if err == nil {
		at = listener.Addr()
	}
	end := make(chan error, 1)
	go func() {
		defer close(end)
		if err := l.run(ctx, listener, err); err != nil {
			end <- err
		}
	}()
	return at, end
}

// run serves on what the first try to listen returned, and on what later ones do.
func (l *Listener) run(ctx context.Context, listener net.Listener, err error) error {
	retry := l.Retry
	if retry == 0 {
		retry = defaultRetry
	}
	for {
		if err == nil {
			err = l.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err = fmt.Errorf("serve %s on %s: %w", l.Name, l.Address, err); l.InUse != "" && errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; %s", err, l.InUse)
		}
		if l.HardFail {
			return err
		}
		l.Log.Error(fmt.Sprintf("%v; trying again every %s", err, retry))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
			listener, err = l.listen(ctx)
		}
	}
}

func (l *Listener) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", l.Address)
	if err == nil && l.Admit != nil {
		listener = &doorman{listener, l.Admit}
	}
	return listener, err
}

func (l *Listener) serve(ctx context.Context, listener net.Listener) error {
	server := newServer(l.Handler)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // it ends, whatever a connection says
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// doorman closes connections that are not admitted.
type doorman struct {
	net.Listener
	admit func(local net.Addr) bool
}

// Accept implements net.Listener.
func (d *doorman) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil || d.admit(conn.LocalAddr()) {
			return conn, err
		}
		_ = conn.Close() // nothing was said on it
	}
}

// newServer returns a server that no client can make wait for ever.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		// What clients do wrong on their connections is not worth a line.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}
