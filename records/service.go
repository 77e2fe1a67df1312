package records

import (
	"bytes"
	"slices"

	"github.com/waypost/waypost/message"
)

// writeService answers the name of a Service, of one of its ports or of its endpoints. Endpoints that are names come back
// as targets.
//
//	dig web.prod.svc.cluster.local
//	dig _http._tcp.web.prod.svc.cluster.local SRV
func (z *Zone) writeService(q *message.Query, r *message.Reply, owner int, zone *zoneInfo, f *found) []Target {
	e := f.entry
	switch {
	case e.kind == external:
		writeCNAME(r, owner, e.target, z.plan.TTL)
	case q.Type != message.TypeA && q.Type != message.TypeAAAA && q.Type != message.TypeSRV && q.Type != message.TypeCNAME:
	case e.names:
		return z.writeNames(q, r, owner, zone, f)
	case q.Type == message.TypeCNAME:
	case f.sel.host != nil && q.Type != message.TypeSRV:
		z.writeEndpoint(q, r, owner, f)
	default:
		set, srv := e.compiled(z.plan, f, q.Type)
		r.Addresses(message.Answer, owner, set)
		if len(srv.records) > 0 { // e.id need not come into the cache for anything else
			srv.write(r, owner, z.targets(q, zone, e), z.plan.TTL)
		}
	}
	return nil
}

// targets is how the SRV targets of an entry end, in the letter case of the question's zone.
func (z *Zone) targets(q *message.Query, zone *zoneInfo, e *entry) srvName {
	return srvName{prefix: e.id.prefix, zone: q.Name()[q.Start(q.Labels()-zone.labels):]}
}

// compiled returns the answer of a type, from what was compiled where that fits the selection.
func (e *entry) compiled(p *plan, f *found, typ message.Type) ([]byte, srvSet) {
	whole := f.exact || f.sel.host == nil && f.sel.zone == nil && (e.kind == clusterIP || e.uniform)
	switch {
	case typ == message.TypeSRV && f.exact:
		return nil, e.srv
	case typ == message.TypeSRV:
		if set, ok := e.portSRV(&f.sel); ok {
			return nil, set
		}
	case typ == message.TypeA && whole:
		return e.a, srvSet{}
	case typ == message.TypeAAAA && whole:
		return e.aaaa, srvSet{}
	}
	found := gather(p, e, f.sel)
	switch typ {
	case message.TypeA:
		return found.a, srvSet{}
	case message.TypeAAAA:
		return found.aaaa, srvSet{}
	}
	return nil, found.srv
}

// portSRV is the compiled answer for a port that is selected by name and protocol.
func (e *entry) portSRV(sel *selection) (srvSet, bool) {
	if len(sel.port) == 0 || len(sel.protocol) == 0 {
		return srvSet{}, false
	}
	for i := range e.ports {
		if port := &e.ports[i]; foldEqual(sel.port, port.name) && string(sel.protocol) == port.protocol.String() {
			return port.set, true
		}
	}
	return srvSet{}, false
}

// writeEndpoint answers the name of one endpoint, the hot path of StatefulSets, without gathering.
//
//	dig web-0.myapp.default.svc.cluster.local
func (z *Zone) writeEndpoint(q *message.Query, r *message.Reply, owner int, f *found) {
	refs := f.entry.named(f.sel.host)
	for i, l := range refs {
		if !f.entry.is(z.plan, l, &f.sel) {
			continue
		}
		ip := f.entry.slices[l.slice].Endpoints[l.endpoint].Address
		repeated := false
		for _, m := range refs[:i] {
			repeated = repeated || f.entry.slices[m.slice].Endpoints[m.endpoint].Address == ip && f.entry.is(z.plan, m, &f.sel)
		}
		if !repeated && familyType(ip) == q.Type {
			writeAddress(r, message.Answer, owner, ip, z.plan.TTL)
		}
	}
}

// writeNames is writeService for an entry with endpoints that are names: each is a CNAME for address questions, the first
// for a CNAME question, and SRV knows only the others.
func (z *Zone) writeNames(q *message.Query, r *message.Reply, owner int, zone *zoneInfo, f *found) []Target {
	all := gather(z.plan, f.entry, f.sel)
	var targets []Target
	for _, name := range all.names {
		wire, err := message.PackName(name)
		if err != nil {
			continue
		}
		if q.Type == message.TypeCNAME && all.a == nil && all.aaaa == nil {
			writeCNAME(r, owner, wire, z.plan.TTL)
			return nil
		}
		var target message.Query
		target.Ask(q, lowerName(wire), q.Type)
		below := target.Under(message.Name(q.Lower()))
		if !below {
			targets = append(targets, Target{Wire: wire, Inside: target.Under(zone.name), At: owner})
		}
	}
	switch q.Type {
	case message.TypeA:
		r.Addresses(message.Answer, owner, all.a)
	case message.TypeAAAA:
		r.Addresses(message.Answer, owner, all.aaaa)
	case message.TypeSRV:
		all.srv.write(r, owner, z.targets(q, zone, f.entry), z.plan.TTL)
		return nil
	}
	return targets
}

// lowerName is a name in wire form as a Name.
func lowerName(wire []byte) message.Name { return message.Name(bytes.ToLower(wire)) }

// writeCNAME appends a CNAME record and returns the offset of its target, 0 where it did not fit.
func writeCNAME(r *message.Reply, owner int, target []byte, ttl uint32) int {
	r.Record(message.Answer, owner, message.TypeCNAME, ttl)
	at := r.At()
	r.NameUnder(target, owner)
	if !r.End() {
		return 0
	}
	return at
}

// follow answers the name of an ExternalName Service: the CNAME always, whatever the type, then what its target has if
// that is in the zone too, and the outcome of the last name (RFC 1034 section 3.6.2, RFC 6604).
//
//	dig docs.prod.svc.cluster.local TXT
func (z *Zone) follow(q *message.Query, r *message.Reply, zone *zoneInfo, e *entry) Result {
	owner := message.QuestionAt
	owners := append(make([]message.Name, 0, maxChain), message.Name(q.Lower()))
	var inner message.Query
	for len(owners) < maxChain {
		at := writeCNAME(r, owner, e.target, z.plan.TTL)
		if at == 0 {
			break
		}
		target := lowerName(e.target)
		inner.Ask(q, message.Name(e.target), q.Type)
		if !inner.Under(zone.name) {
			return Result{Outcome: Elsewhere, zone: zone, Targets: []Target{{Wire: e.target, Chain: true, At: at}}}
		}
		if slices.Contains(owners, target) {
			break // a loop
		}
		f := z.find(&inner, zone)
		if f.what != service || f.entry.kind != external {
			return z.write(&inner, r, at, zone, &f)
		}
		e, owner, owners = f.entry, at, append(owners, target)
	}
	return Result{Outcome: Hit, zone: zone}
}
