// Package autopath is the autopath directive: the server goes through a client's search domains, so that the client need
// not ask for one after the other.
package autopath

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/whole"
)

// AutoPath is the step of one server block.
type AutoPath struct {
	zones    []message.Name
	search   []message.Name
	searcher Searcher // nil where all clients have the same search domains
	inert    bool     // the searcher is not there
	success  *prometheus.CounterVec
}

// Searcher knows the search domains of clients. The kubernetes directive is one.
type Searcher interface {
	// SearchPath returns the search domains of the client that asks, if the question's name is at or below the first of
	// them; else nil.
	SearchPath(q *message.Query) []message.Name
}

// New makes the step. With Options.From it does nothing before Follow.
func New(o Options, e env.Env) (*AutoPath, error) {
	a := &AutoPath{search: o.Search, inert: o.From != ""}
	var err error
	if a.zones, err = message.ParseNames(o.Zones); err != nil {
		return nil, err
	}
	a.success, err = env.Register(e, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "coredns", Subsystem: "autopath", Name: "success_total", Help: "Counter of requests that did autopath.",
	}, []string{"server"}))
	return a, err
}

// Follow says who knows the search domains. It is called before the step serves.
func (a *AutoPath) Follow(s Searcher) { a.searcher, a.inert = s, false }

// Serve has the steps behind asked for a name in each of the search domains, where the client begins with the first.
func (a *AutoPath) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if a.inert || !q.UnderAny(a.zones) {
		return message.Next
	}
	search := a.path(q)
	if search == nil {
		return message.Next
	}
	base := q.Labels() - search[0].Labels()
	if base == 0 {
		r.Fail(message.ServFail)
		r.Err = fmt.Errorf("trimzone: overshot qname: %sfor zone %s", message.AppendName(nil, q.Name()), search[0])
		return message.Done
	}
	r.Revisions = append(r.Revisions, &walk{
		step: a, search: search[1:], base: append([]byte(nil), q.Name()[:q.Start(base)]...),
	})
	return message.Next
}

// path are the client's search domains, the last of them being the root: the name as the client's user wrote it. It is nil
// for a name that is not in the first.
func (a *AutoPath) path(q *message.Query) []message.Name {
	var path []message.Name
	if a.searcher != nil {
		if path = a.searcher.SearchPath(q); path == nil {
			return nil
		}
	} else if len(a.search) == 0 || !q.Under(a.search[0]) {
		return nil
	}
	return append(append(path, a.search...), message.Root)
}

// walk is one query on its way through the search domains.
type walk struct {
	step   *AutoPath
	search []message.Name // what is still to be tried
	base   []byte         // what the client's user wrote, without the final zero byte

	asked    []byte          // the question's name as the client had it, once another one is asked for
	original *message.Query  // Query.Original at that time
	first    *message.Packed // the reply to the client's own question
	bare     bool            // that one was an error code of the server's
	by       string          // who wrote it
}

// Revise implements message.Revision. The first reply that is not NXDOMAIN is the client's; if there is none, the first of
// all is.
func (w *walk) Revise(q *message.Query, r *message.Reply) message.Verdict {
	bare := r.By == "" && r.Empty() && isError(r.Rcode)
	switch {
	case r.Err != nil:
		err, rcode := r.Err, r.Rcode
		w.restore(q, r)
		r.Fail(rcode)
		r.Err = err
		return message.Done
	case !bare && r.Rcode != message.NXDomain:
		return w.finish(q, r)
	}
	if w.asked == nil {
		w.first, w.bare, w.by = r.Pack(), bare, r.By
	}
	if w.next(q, r) {
		return message.Next
	}
	w.restore(q, r)
	if w.bare {
		r.Fail(w.first.Rcode)
		return message.Done
	}
	r.Take(w.first)
	r.By = w.by
	return message.Done
}

func isError(rcode message.Rcode) bool {
	switch rcode {
	case message.ServFail, message.Refused, message.FormErr, message.NotImp:
		return true
	}
	return false
}

// next asks for the name in the next search domain. It reports false behind the last one.
func (w *walk) next(q *message.Query, r *message.Reply) bool {
	for len(w.search) > 0 {
		domain := w.search[0]
		w.search = w.search[1:]
		if len(w.base)+len(domain) > message.MaxNameLen {
			continue
		}
		if w.asked == nil {
			w.asked, w.original = append([]byte(nil), q.Name()...), q.Original
			q.Change()
		}
		q.Rename(append(append([]byte(nil), w.base...), domain...))
		r.Restart(q)
		r.DropOption(message.OptionError) // that was about the name before
		return true
	}
	return false
}

// restore makes the question the client's again, and begins a reply to it.
func (w *walk) restore(q *message.Query, r *message.Reply) {
	if w.asked != nil {
		q.Rename(w.asked)
		q.Original = w.original
	}
	r.Restart(q)
	r.Err = nil
}

// finish makes the reply one to what the client asked: with an alias that leads there from the client's name, where a
// record has another owner. As in CoreDNS that may also be a record behind an alias.
func (w *walk) finish(q *message.Query, r *message.Reply) message.Verdict {
	w.step.success.WithLabelValues(q.Listener).Inc()
	if w.asked == nil && !strays(r) {
		return message.Done
	}
	by := r.By
	m, err := whole.Read(r)
	w.restore(q, r)
	if err == nil {
		err = errors.Join(alias(q, m), whole.Write(q, r, m))
	}
	if err != nil {
		r.Fail(message.ServFail)
		r.Err = err
		return message.Done
	}
	r.By = by
	return message.Done
}

// strays reports whether a record of the answer has another owner than the question's name.
func strays(r *message.Reply) bool {
	for c := r.Cursor(); c.Next() && c.Section == message.Answer; {
		if !c.Same(c.Owner(), message.QuestionAt) {
			return true
		}
	}
	return false
}

// alias puts an alias in front of the answer: from the question's name to the first other owner.
func alias(q *message.Query, m *dns.Msg) error {
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	if err != nil {
		return err
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		if dns.CanonicalName(h.Name) == dns.CanonicalName(name) {
			continue
		}
		m.Answer = append([]dns.RR{&dns.CNAME{
			Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: h.Ttl},
			Target: h.Name,
		}}, m.Answer...)
		return nil
	}
	return nil
}
