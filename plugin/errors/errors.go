// Package errors is the errors directive: it prints what went wrong while a query was answered.
package errors

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Errors prints the error of each reply that has one: "[ERROR] plugin/errors: 2 example.org. A: TEXT".
type Errors struct {
	log     *slog.Logger
	tallies []*tally
}

// New makes the observer of one server block.
func New(o Options, e env.Env) *Errors {
	errors := &Errors{log: e.Log}
	for _, rule := range o.Consolidate {
		errors.tallies = append(errors.tallies, &tally{rule: rule, log: e.Log})
	}
	return errors
}

// Observe prints the reply's error, or counts it where it is consolidated.
func (e *Errors) Observe(q *message.Query, r *message.Reply) {
	if r.Err == nil {
		return
	}
	text, level := r.Err.Error(), slog.LevelError
	for _, t := range e.tallies {
		if !t.rule.Pattern.MatchString(text) {
			continue
		}
		if t.take() {
			return
		}
		level = t.rule.Level
		break
	}
	name := message.AppendName(nil, q.Lower())
	e.log.Log(context.Background(), level, fmt.Sprintf("%d %s %s: %s", r.Rcode, name, dns.Type(q.Type), text))
}

// Stop prints the numbers that were not due yet. Later errors are printed one by one.
func (e *Errors) Stop() {
	for _, t := range e.tallies {
		t.stop()
	}
}

// tally counts the errors of one consolidate line.
type tally struct {
	rule Consolidate
	log  *slog.Logger

	mu      sync.Mutex
	count   int
	timer   *time.Timer // runs while count is not 0
	stopped bool
}

// take counts an error; it reports false for one that is to be printed by itself.
func (t *tally) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	t.count++
	if t.count == 1 {
		t.timer = time.AfterFunc(t.rule.Period, t.print)
		return !t.rule.ShowFirst
	}
	return true
}

// print ends a period.
func (t *tally) print() {
	t.mu.Lock()
	count := t.count
	t.count = 0
	t.mu.Unlock()
	if count > 1 || count == 1 && !t.rule.ShowFirst {
		text := fmt.Sprintf("%d errors like '%s' occurred in last %s", count, t.rule.Pattern, t.rule.Period)
		t.log.Log(context.Background(), t.rule.Level, text)
	}
}

func (t *tally) stop() {
	t.mu.Lock()
	t.stopped = true
	timer := t.timer
	t.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	t.print()
}
