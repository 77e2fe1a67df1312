// Package reload is the reload directive: it looks at the Corefile again and again, and has a changed one served.
package reload

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/config"
)

// Reload keeps what is served up to date with a Corefile: when its period is over, if there is one, and when it is asked
// to. It outlives the Corefiles.
type Reload struct {
	source  Source
	served  Served
	metrics *Metrics
	log     *slog.Logger // the directive's
	process *slog.Logger // of lines that are not about the directive, but about reloading

	tried   [sha512.Size]byte // the digest of the last Corefile that was to be served
	refused bool              // which could not be
	shown   info              // the digest of tried, as the metrics show it
	serving info              // that of what is served
}

// Source is a Corefile.
type Source struct {
	// Read returns its text by now.
	Read func() ([]byte, error)
	// Parse reads the text, and what it imports.
	Parse func(text []byte) (*config.File, error)
}

// Served is what serves a Corefile.
type Served struct {
	// Replace has another Corefile served. After an error nothing has changed. After ErrNotYet it is tried again when the Corefile
	// is next looked at.
	Replace func(context.Context, *config.File) error
	// Period is how often the Corefile that is served wants to be looked at, 0 for never. It is the same each time it is
	// asked, until the next Replace.
	Period func() time.Duration
	// Digest is that of the Corefile that is served.
	Digest func() [sha512.Size]byte
}

// ErrNotYet says that there is nothing wrong with a Corefile that cannot be served now.
var ErrNotYet = errors.New("not yet")

// New makes what reloads. tried is the Corefile that was to be served at the start, nil where it could not be parsed;
// failed says that another one is served in its place.
func New(source Source, served Served, m *Metrics, log, process *slog.Logger, tried *config.File, failed bool) *Reload {
	r := &Reload{source: source, served: served, metrics: m, log: log, process: process, refused: failed}
	r.shown.metric, r.serving.metric = m.version, m.serving
	r.serving.show(served.Digest())
	if tried != nil {
		r.tried = tried.Digest
	}
	r.fail(failed)
	return r
}

// Announce logs which configuration is being served, if that has the directive.
func (r *Reload) Announce() {
	if r.served.Period() > 0 {
		r.log.Info(fmt.Sprintf("Running configuration SHA512 = %x", r.served.Digest()))
	}
}

// Run reloads until ctx ends.
func (r *Reload) Run(ctx context.Context, asked <-chan struct{}) {
	for ctx.Err() == nil {
		r.wait(ctx, asked)
	}
}

// wait reloads when it is time, and returns when the period may be another one.
func (r *Reload) wait(ctx context.Context, asked <-chan struct{}) {
	var tick <-chan time.Time
	if period := r.served.Period(); period > 0 {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			if r.look(ctx) {
				return
			}
		case <-asked:
			r.obey(ctx)
			return
		}
	}
}

// look has the Corefile served if it is another one than the last time, and reports whether it is served now.
func (r *Reload) look(ctx context.Context) bool {
	text, err := r.source.Read()
	if err != nil { // CoreDNS says nothing
		r.fail(true)
		return false
	}
	file, err := r.source.Parse(text)
	if err != nil {
		r.log.Warn(fmt.Sprintf("Corefile parse failed: %v", err))
		r.fail(true)
		return false
	}
	if file.Digest == r.tried {
		r.fail(r.refused)
		return false
	}
	if err := r.replace(ctx, file); err != nil {
		r.log.Error(fmt.Sprintf("Corefile changed but reload failed: %s%v", starting, err))
		r.metrics.failures.Inc()
		return false
	}
	return true
}

// obey has the Corefile served because a signal asks for it, changed or not.
func (r *Reload) obey(ctx context.Context) {
	r.process.Info("SIGUSR1: Reloading")
	text, err := r.source.Read()
	if err != nil {
		r.process.Error(fmt.Sprintf("SIGUSR1: loading updated Caddyfile: %v", err))
		r.fail(true)
		return
	}
	file, err := r.source.Parse(text)
	if err != nil {
		r.process.Info(reloading)
		r.refuse(err)
	} else {
		err = r.replace(ctx, file)
	}
	if err != nil {
		r.process.Error(fmt.Sprintf("SIGUSR1: %s%v", starting, err))
	}
}

// CoreDNS's words.
const (
	reloading = "Reloading"
	starting  = "starting with listener file descriptors: "
)

// replace has another Corefile served, or says why that cannot be.
func (r *Reload) replace(ctx context.Context, file *config.File) error {
	r.process.Info(reloading)
	r.tried = file.Digest // it is not tried again, even if it is wrong
	err := r.served.Replace(ctx, file)
	if ctx.Err() != nil { // the process ends
		return nil
	}
	r.shown.show(file.Digest)
	r.serving.show(r.served.Digest())
	r.refused = err != nil
	if errors.Is(err, ErrNotYet) {
		r.tried = [sha512.Size]byte{}
	}
	if err != nil {
		r.refuse(err)
		return err
	}
	r.fail(false)
	r.Announce()
	r.process.Info("Reloading complete")
	return nil
}

func (r *Reload) refuse(err error) {
	r.process.Error(fmt.Sprintf("Restart failed: %v", err))
	r.fail(true)
}

// info is a metric that shows the digest of a Corefile.
type info struct {
	metric *prometheus.GaugeVec
	value  string // "" before there is one
}

// show has the metric show a digest, and no other.
func (i *info) show(digest [sha512.Size]byte) {
	const hash = "sha512"
	i.metric.DeleteLabelValues(hash, i.value)
	i.value = hex.EncodeToString(digest[:])
	i.metric.WithLabelValues(hash, i.value).Set(1)
}

// fail notes whether what is served is another Corefile than the one that is there.
func (r *Reload) fail(failed bool) {
	value := 0.0
	if failed {
		value = 1
	}
	r.metrics.failed.Set(value)
}
