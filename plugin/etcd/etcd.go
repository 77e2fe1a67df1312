// Package etcd is the directive that answers with the SkyDNS records of an etcd, as external-dns writes them: each key below
// a path is a name, each value a record in JSON. It reads etcd anew for each query.
package etcd

import (
	"context"
	"errors"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/whole"
)

// Etcd is one etcd directive at work. It is a step of its block.
type Etcd struct {
	options Options
	zones   []zone
	through []message.Name
	store   store
	places  chan bool // holds a token for each query that reads etcd
}

type zone struct {
	name message.Name
	text string
}

// maxReading is how many queries may read etcd at a time. What waits for one that is away must not take all the places that
// the server has for queries that wait, of which others want theirs.
const maxReading = 1000

// errFull is why a query is not answered while so many are read.
var errFull = errors.New("too many queries are waiting for etcd")

// New makes the directive ready to start.
func New(o Options, e env.Env) (*Etcd, error) {
	return newEtcd(o, &client{options: o, log: e.Log})
}

func newEtcd(o Options, s store) (*Etcd, error) {
	names, err := message.ParseNames(o.Zones)
	if err != nil {
		return nil, err
	}
	through, err := message.ParseNames(o.Fallthrough)
	if err != nil {
		return nil, err
	}
	d := &Etcd{options: o, through: through, store: s, places: make(chan bool, maxReading)}
	for _, name := range names {
		d.zones = append(d.zones, zone{name, name.String()})
	}
	return d, nil
}

// Start connects to etcd. It does not wait for one that is away, but returns an error where that does not accept the
// credentials.
func (e *Etcd) Start(ctx context.Context) error { return e.store.start(ctx) }

// Stop ends the connection.
func (e *Etcd) Stop() { e.store.stop() }

// Serve implements the step: a query in the zones is answered off the socket loop, as etcd has to be asked for all but SOA;
// one outside goes on.
func (e *Etcd) Serve(q *message.Query, r *message.Reply) message.Verdict {
	zone := e.zone(q)
	switch {
	case zone == nil:
		return message.Next
	case !q.MayBlock && q.Type != message.TypeSOA:
		return message.Park
	}
	r.By = "etcd"
	if q.Type != message.TypeSOA {
		select {
		case e.places <- true:
			defer func() { <-e.places }()
		default:
			r.Fail(message.ServFail)
			r.Err = errFull
			return message.Done
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := answer{lookup: lookup{ctx: ctx, store: e.store, options: &e.options}, query: q, zone: zone.text}
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	exists := true
	if err == nil {
		exists, err = a.find(dns.Name(name).String(), uint16(q.Type))
	}
	if !exists && err == nil && q.UnderAny(e.through) {
		r.By = ""
		return message.Next
	}
	a.write(r, exists, err)
	return message.Done
}

// zone is the closest of the zones that the question's name is in, nil where it is in none.
func (e *Etcd) zone(q *message.Query) (closest *zone) {
	for i := range e.zones {
		zone := &e.zones[i]
		if (closest == nil || len(zone.name) > len(closest.name)) && q.Under(zone.name) {
			closest = zone
		}
	}
	return closest
}

// write writes the reply. Anything may stand in etcd: records that no message can hold are left out.
func (a *answer) write(r *message.Reply, exists bool, err error) {
	r.Err = err
	m := a.message(exists, err)
	if whole.Write(a.query, r, m) == nil {
		return
	}
	a.records, a.extra = sound(a.records), sound(a.extra)
	m = a.message(exists, err)
	if err := whole.Write(a.query, r, m); err != nil {
		r.Fail(message.ServFail)
		r.Err = err
	}
}

// message is what was found, or the zone's SOA with the reason why there is nothing.
func (a *answer) message(exists bool, err error) *dns.Msg {
	m := new(dns.Msg)
	m.Authoritative = true
	switch {
	case err != nil:
		m.Rcode = dns.RcodeServerFailure
	case !exists:
		m.Rcode = dns.RcodeNameError
	case len(a.records) > 0:
		m.Answer, m.Extra, m.Truncated = a.records, a.extra, a.truncated
		return m
	}
	m.Ns = []dns.RR{soa(a.zone)}
	return m
}

// sound leaves out records that no message can hold, as with a name that is none: anything may stand in etcd.
func sound(records []dns.RR) []dns.RR {
	var kept []dns.RR
	for _, rr := range records {
		if _, err := dns.PackRR(rr, make([]byte, dns.Len(rr)+1), 0, nil, false); err == nil {
			kept = append(kept, rr)
		}
	}
	return kept
}
