// Package env is what the process gives to each of its directives.
package env

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/journal"
)

// Env is what one directive of one server block gets from the process. All of it may be used until the process ends.
type Env struct {
	// Log prints the directive's lines: "[INFO] plugin/NAME: ...".
	Log *slog.Logger
	// Journal takes whole lines, for a directive that prints one for every query.
	Journal *journal.Journal
	// Metrics is what /metrics shows. Register puts a collector there.
	Metrics prometheus.Registerer
	// Bound are the addresses that the block's bind directive names, as text; without bind there are none, and the
	// block is asked at every address of the host.
	Bound []string
	// View is the name of the block's view; "" without one.
	View string
	// Shards is how many shards a counter needs to be counted by many at once: message.Query.Shard is below it.
	Shards int
	// Version is Waypost's own, as in "0.1.0"; Commit is what it was built from, "" where that is not known.
	Version, Commit string
}

// Register puts a collector among the metrics and returns it, or the one that is there already under the same names: a
// directive that stands in several blocks, or that was there before a reload, counts on in that. It returns an error
// where another collector has one of its names.
func Register[C prometheus.Collector](e Env, c C) (C, error) {
	err := e.Metrics.Register(c)
	var registered prometheus.AlreadyRegisteredError
	if errors.As(err, &registered) {
		if there, ok := registered.ExistingCollector.(C); ok {
			return there, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("register metrics: %w", err)
	}
	return c, nil
}
