package plugin

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/reload"
	"github.com/waypost/waypost/server"
)

// Live is a Corefile that is being served: its Setup, and the servers of its listeners. Another Corefile can take its place
// while queries are answered. Calls come one at a time.
type Live struct {
	compiler *Compiler
	setup    *Setup
	servers  map[string]*server.Server // by the names of their listeners
	retired  chan struct{}             // closed when nothing is left of the Setup before this one
	settling time.Duration             // how long a reload gives new parts to know what those know whose place they take
}

// Serve begins to serve a Corefile. After an error nothing is left running. ctx bounds the start only.
func (c *Compiler) Serve(ctx context.Context, file *config.File) (*Live, error) {
	l := &Live{compiler: c, servers: make(map[string]*server.Server), retired: make(chan struct{}), settling: settling}
	close(l.retired)
	if err := l.Replace(ctx, file); err != nil {
		return nil, err
	}
	return l, nil
}

// Replace serves another Corefile in place of the one that is served. All of the new one is brought up first: it is
// compiled, its new parts are started (a new kubernetes zone waits for its first state), its new listeners are opened.
// Then the blocks of the listeners are exchanged, and what is not wanted any more ends once no query needs it. After an
// error nothing has changed; reload.ErrNotYet is one that may be gone the next time.
func (l *Live) Replace(ctx context.Context, file *config.File) error {
	select {
	case <-l.retired:
	case <-ctx.Done():
		return ctx.Err()
	}
	next, err := l.compiler.compile(file, l.setup)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(l.settling)
	if err := next.Start(ctx); err != nil {
		return err
	}
	if err := l.keepsUp(ctx, next, deadline); err != nil {
		next.Retire(l.setup)
		return err
	}
	opened, err := l.open(next.Listeners)
	if err != nil {
		next.Retire(l.setup)
		return err
	}
	l.exchange(next, opened)
	return nil
}

const settling = 5 * time.Second

// keepsUp waits until no part of a Setup that is started is behind the one whose place it takes: a zone that knows nothing, as
// the API server is away, does not replace one that does.
func (l *Live) keepsUp(ctx context.Context, next *Setup, deadline time.Time) error {
	if l.setup == nil {
		return nil
	}
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		name := next.behind(l.setup)
		switch {
		case name == "":
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("plugin/%s: %w: it does not know the cluster after %s, and the former one does; the former Corefile stays", name, reload.ErrNotYet, l.settling)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pace.C:
		}
	}
}

// open opens the listeners that are not open already.
func (l *Live) open(wanted []*Listener) (map[string]*server.Server, error) {
	opened := make(map[string]*server.Server)
	for _, w := range wanted {
		if l.servers[w.Name] != nil {
			continue
		}
		s, err := server.Listen(w.Server)
		if err != nil {
			_ = shutdown(context.Background(), opened) // nobody has been served there yet
			return nil, err
		}
		opened[w.Name] = s
	}
	return opened, nil
}

// exchange has queries answered by another Setup from now on.
func (l *Live) exchange(next *Setup, opened map[string]*server.Server) {
	former, gone := l.setup, l.servers
	l.setup, l.servers = next, make(map[string]*server.Server)
	if former != nil {
		next.activate()
	}
	var ended []<-chan struct{}
	for _, w := range next.Listeners {
		s := gone[w.Name]
		if s != nil {
			delete(gone, w.Name)
			ended = append(ended, s.SetBlocks(w.Server.Blocks))
		} else {
			s = opened[w.Name]
			s.Start()
		}
		l.servers[w.Name] = s
	}
	if former != nil {
		l.retired = make(chan struct{})
		go l.retire(former, next, gone, ended, l.retired)
	}
}

// patience is how long queries may need the Setup in which they began. None takes that long, unless something is wrong.
const patience = 30 * time.Second

// retire ends what is left of a Setup, after the queries that it still answers.
func (l *Live) retire(former, next *Setup, gone map[string]*server.Server, ended []<-chan struct{}, done chan<- struct{}) {
	defer close(done)
	log := l.compiler.options.Journal.Logger("")
	if err := shutdown(context.Background(), gone); err != nil {
		log.Warn(fmt.Sprintf("Listeners that the Corefile does not have any more: %v", err))
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, e := range ended {
		select {
		case <-e:
		case <-timeout.C:
			log.Warn(fmt.Sprintf("Queries still wait for an answer %s after the Corefile was replaced", patience))
			timeout.Reset(0)
		}
	}
	former.Retire(next)
	if retired := l.compiler.options.Retired; retired != nil {
		retired()
	}
}

// Follow makes what replaces the Corefile by what a source says, whenever that changes or is asked for; then is called with
// each Corefile that is served from there on. tried is the Corefile that was to be served at first, nil where it could not
// be parsed, and failed says that another one is served in its place.
func (l *Live) Follow(source reload.Source, then func(*config.File), tried *config.File, failed bool) *reload.Reload {
	served := reload.Served{
		Replace: func(ctx context.Context, file *config.File) error {
			err := l.Replace(ctx, file)
			if err == nil {
				then(file)
			}
			return err
		},
		Period: func() time.Duration { return l.setup.Period },
		Digest: func() [sha512.Size]byte { return l.setup.Digest },
	}
	c := l.compiler
	return reload.New(source, served, c.reloads, c.env("reload").Log, c.options.Journal.Logger(""), tried, failed)
}

// Listeners are those that are open, in the order of the Corefile.
func (l *Live) Listeners() []*Listener { return l.setup.Listeners }

// Drain says to the outside that the process is about to end, see Setup.Drain.
func (l *Live) Drain(ctx context.Context) { l.setup.Drain(ctx) }

// Shutdown ends the servers without losing what has reached them. The error says where some answers were not given.
func (l *Live) Shutdown(ctx context.Context) error { return shutdown(ctx, l.servers) }

// Stop ends what runs beside the servers.
func (l *Live) Stop() {
	<-l.retired
	l.setup.Stop()
}

// shutdown ends servers, all at the same time.
func shutdown(ctx context.Context, servers map[string]*server.Server) error {
	errs := make(chan error, len(servers))
	for _, s := range servers {
		go func() { errs <- s.Shutdown(ctx) }()
	}
	var all []error
	for range servers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
