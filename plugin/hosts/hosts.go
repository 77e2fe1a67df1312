// Package hosts is the hosts directive: it answers names out of a hosts file, and out of the Corefile itself.
package hosts

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Hosts is one hosts directive at work, a step of its block.
type Hosts struct {
	options Options
	zones   []message.Name
	through []message.Name
	metrics *Metrics
	log     *slog.Logger

	table  atomic.Pointer[table]
	inline *entries
	file   file
	stop   context.CancelFunc
	done   chan struct{} // closed when nothing looks at the file any more
}

// New makes the directive ready to start.
func New(o Options, e env.Env) (*Hosts, error) {
	h := &Hosts{options: o, log: e.Log}
	var err error
	if h.zones, err = message.ParseNames(o.Zones); err != nil {
		return nil, err
	}
	if h.through, err = message.ParseNames(o.Fallthrough); err != nil {
		return nil, err
	}
	if h.metrics, err = NewMetrics(e); err != nil {
		return nil, err
	}
	h.inline = h.reader("Inline hosts entries").read([]byte(strings.Join(o.Inline, "\n")))
	h.table.Store(newTable(o.TTL, h.inline))
	return h, nil
}

// Serve implements the step. A name without any address goes on where fallthrough says so, and is SERVFAIL elsewhere: there
// is no SOA to deny it with.
func (h *Hosts) Serve(q *message.Query, r *message.Reply) message.Verdict {
	t := h.table.Load()
	if q.Type == message.TypePTR { // in any zone, and always passed on
		return h.reverse(t, q, r)
	}
	if !q.UnderAny(h.zones) {
		return message.Next
	}
	found := t.find(q)
	switch q.Type {
	case message.TypeA:
		r.Addresses(message.Answer, message.QuestionAt, found.v4)
	case message.TypeAAAA:
		r.Addresses(message.Answer, message.QuestionAt, found.v6)
	default:
		if h.options.Unsupported && q.UnderAny(h.through) {
			return message.Next
		}
	}
	switch {
	case !found.empty():
		r.Authoritative, r.By = true, "hosts"
	case q.UnderAny(h.through):
		return message.Next
	default:
		r.Fail(message.ServFail)
	}
	return message.Done
}

// reverse answers a PTR question with the names that have the address.
func (h *Hosts) reverse(t *table, q *message.Query, r *message.Reply) message.Verdict {
	names := t.ptrs[reversed(q)]
	if len(names) == 0 {
		return message.Next
	}
	r.Authoritative, r.By = true, "hosts"
	for _, name := range names {
		r.Record(message.Answer, message.QuestionAt, message.TypePTR, h.options.TTL)
		r.String(string(name))
		if !r.End() {
			break // a block list has all its names at one address
		}
	}
	return message.Done
}
