// Package rewrite is the rewrite directive: it asks the directives behind it something else than the client asked, and
// makes their reply the reply to what the client asked.
package rewrite

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/whole"
)

// Rewrite is the step of one server block: all its rewrite directives.
type Rewrite struct {
	rules []Rule
	log   *slog.Logger
}

// New makes the step.
func New(o Options, e env.Env) *Rewrite { return &Rewrite{rules: o.Rules, log: e.Log} }

// Serve lets the rules look at the query, each at what those before it have made of it.
func (w *Rewrite) Serve(q *message.Query, r *message.Reply) message.Verdict {
	c := &change{q: q, log: w.log}
	for _, rule := range w.rules {
		if !rule.Action.apply(c) {
			continue
		}
		if c.err != nil {
			*q = *q.First()
			r.Fail(message.ServFail)
			r.Err = c.err
			return message.Done
		}
		if c.written = !rule.Continue; c.written {
			break
		}
	}
	c.q = nil
	if q.Original != nil {
		r.Restart(q)
	}
	if c.written = c.written || len(c.changes) > 0; c.written || q.Original != nil {
		r.Revisions = append(r.Revisions, c)
	}
	if q.Class != message.ClassIN && q.Class == q.First().Class { // let in only to be changed
		r.Fail(message.Refused)
		return message.Done
	}
	return message.Next
}

// Chaos reports whether the block has to let class CH in.
func (w *Rewrite) Chaos() bool {
	return slices.ContainsFunc(w.rules, func(r Rule) bool {
		class, ok := r.Action.(*Class)
		return ok && class.From == dns.ClassCHAOS
	})
}

// change is what the rules have done with one query, and want to be done with its reply.
type change struct {
	q       *message.Query // until the rules are through
	log     *slog.Logger
	text    string // the question's name, once a rule wanted to see it
	changes []answerChange
	reverts []revert
	written bool  // the reply is ours to write, even if it is only an error code
	err     error // why the query cannot be asked
}

// name is the question's name in lower case.
func (c *change) name() string {
	if c.text == "" {
		c.text = string(message.AppendName(nil, c.q.Lower()))
	}
	return c.text
}

// rename changes the question's name.
func (c *change) rename(text string) {
	wire, err := message.PackName(text)
	if err != nil {
		c.err = fmt.Errorf("invalid name after rewrite: %s", text)
		return
	}
	c.q.Change()
	c.q.Rename(wire)
	c.text = ""
}

// options lets f change the options of the request. One without EDNS gets it.
func (c *change) options(f func(*message.EDNS)) {
	q := c.q
	q.Change()
	if !q.EDNS.Present {
		q.EDNS = message.EDNS{Present: true, UDPSize: 4096}
		q.Size += optLen
	}
	before := len(q.EDNS.Options)
	f(&q.EDNS)
	q.Size += len(q.EDNS.Options) - before
}

// optLen is the length in bytes of an OPT record without options.
const optLen = 11

// answer has changes made in the reply.
func (c *change) answer(changes ...answerChange) { c.changes = append(c.changes, changes...) }

func (a *Class) apply(c *change) bool {
	if uint16(c.q.Class) != a.From {
		return false
	}
	c.q.Change()
	c.q.Class = message.Class(a.To)
	return true
}

func (a *Type) apply(c *change) bool {
	if uint16(c.q.Type) != a.From {
		return false
	}
	c.q.Change()
	c.q.Type = message.Type(a.To)
	return true
}

// answerChange is something to be done with a reply.
type answerChange interface {
	// change is called for each record of the reply, with the message that is being made of it.
	change(m *dns.Msg, rr dns.RR, ask asker) error
}

// asker looks up what a name has, of the type that is asked for.
type asker func(name string) (*dns.Msg, error)

// Revise makes the reply one to what the client asked.
func (c *change) Revise(q *message.Query, r *message.Reply) message.Verdict {
	m, err := whole.Read(r)
	if err == nil {
		err = c.revise(m, func(name string) (*dns.Msg, error) { return c.ask(q, name) })
	}
	if err == errWait {
		return message.Park
	}
	by := r.By
	if by == "" && c.written {
		by = "rewrite"
	}
	r.Restart(q.First())
	if err == nil {
		err = whole.Write(q, r, m)
	}
	if err != nil {
		r.Fail(message.ServFail)
		r.Err = err
	}
	for _, v := range slices.Backward(c.reverts) {
		v.apply(r)
	}
	r.By = by
	return message.Done
}

// revise lets the changes have each record, the last change first. As in CoreDNS a change of the response code is made once
// for each record, or once if there is none.
func (c *change) revise(m *dns.Msg, ask asker) error {
	for _, section := range [][]dns.RR{m.Ns, m.Answer, m.Extra} {
		for _, rr := range section {
			for _, a := range slices.Backward(c.changes) {
				if err := a.change(m, rr, ask); err != nil {
					return err
				}
			}
		}
	}
	if len(m.Ns)+len(m.Answer)+len(m.Extra) > 0 {
		return nil
	}
	for _, a := range slices.Backward(c.changes) {
		if rcode, ok := a.(*Rcode); ok {
			rcode.set(m)
		}
	}
	return nil
}
