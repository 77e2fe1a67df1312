package rewrite

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/whole"
)

// ownerChange changes the owner of a record.
type ownerChange func(string) string

func (f ownerChange) change(_ *dns.Msg, rr dns.RR, _ asker) error {
	rr.Header().Name = f(rr.Header().Name)
	return nil
}

// valueChange changes the name that a record leads to, if its type has one.
type valueChange func(string) string

func (f valueChange) change(_ *dns.Msg, rr dns.RR, _ asker) error {
	if value := target(rr); value != nil && *value != "" {
		*value = f(*value)
	}
	return nil
}

// target is the name that a record leads to.
func target(rr dns.RR) *string {
	switch rr := rr.(type) {
	case *dns.SRV:
		return &rr.Target
	case *dns.MX:
		return &rr.Mx
	case *dns.CNAME:
		return &rr.Target
	case *dns.NS:
		return &rr.Ns
	case *dns.DNAME:
		return &rr.Target
	case *dns.NAPTR:
		return &rr.Replacement
	case *dns.SOA:
		return &rr.Ns
	case *dns.PTR:
		return &rr.Ptr
	}
	return nil
}

func (t *TTL) change(_ *dns.Msg, rr dns.RR, _ asker) error {
	h := rr.Header()
	h.Ttl = min(max(h.Ttl, t.Min), t.Max)
	return nil
}

func (r *Rcode) change(m *dns.Msg, _ dns.RR, _ asker) error {
	r.set(m)
	return nil
}

func (r *Rcode) set(m *dns.Msg) {
	if m.Rcode == r.From {
		m.Rcode = r.To
	}
}

// errWait is returned where something has to be looked up for a query that may not wait.
var errWait = errors.New("the target of an alias has to be asked for")

// change gives an alias its new target: what stood behind it in the answer makes way for what that has.
func (c *CNAME) change(m *dns.Msg, rr dns.RR, ask asker) error {
	alias, ok := rr.(*dns.CNAME)
	if !ok {
		return nil
	}
	from := alias.Target
	to, ok := c.Names.replace(from, c.To)
	if !ok {
		return nil
	}
	found, err := ask(to)
	if found == nil {
		return err
	}
	var answer []dns.RR
	for _, rr := range m.Answer {
		if alias, ok := rr.(*dns.CNAME); ok {
			answer = append(answer, alias)
			if alias.Target == from {
				alias.Target = to
				break
			}
		}
	}
	m.Answer = append(answer, found.Answer...)
	m.Truncated = found.Truncated
	return nil
}

// ask looks up what a name has. A name that cannot be looked up is logged, and the answer stays as it is.
func (c *change) ask(q *message.Query, name string) (*dns.Msg, error) {
	if !q.MayBlock {
		return nil, errWait
	}
	m, err := whole.Resolve(q, name, uint16(q.Type))
	if err != nil {
		c.log.Error(fmt.Sprintf("upstream lookup failed: %v", err))
	}
	return m, nil
}
