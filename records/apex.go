package records

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// The fixed numbers of the SOA record, in seconds, and the most that its own TTL is.
const (
	soaRefresh = 7200
	soaRetry   = 1800
	soaExpire  = 86400
	soaMaxTTL  = 300
)

// writeApex answers the zone's own name: SOA and NS, nothing else is there.
//
//	dig cluster.local NS
func (z *Zone) writeApex(q *message.Query, r *message.Reply, owner int, zone *zoneInfo) {
	switch q.Type {
	case message.TypeSOA:
		z.writeSOA(r, message.Answer, zoneAt(q, r, owner, zone), zone)
	case message.TypeNS:
		z.writeNS(q, r, owner, zone)
	}
}

// zoneAt is where the zone stands in the reply, given that the name of q stands there at offset owner.
func zoneAt(q *message.Query, r *message.Reply, owner int, zone *zoneInfo) int {
	return r.Skip(owner, q.Labels()-zone.labels)
}

// writeSOA appends the zone's SOA record. Its names end in the zone as the client wrote it, which stands at offset at.
func (z *Zone) writeSOA(r *message.Reply, section message.Section, at int, zone *zoneInfo) {
	serial := z.serial
	if zone.multicluster {
		serial = z.mcSerial
	}
	r.Record(section, at, message.TypeSOA, min(z.plan.TTL, soaMaxTTL))
	r.String("\x02ns\x03dns")
	r.Name(at)
	r.String("\x0ahostmaster")
	r.Name(at)
	r.Uint32(serial)
	r.Uint32(soaRefresh)
	r.Uint32(soaRetry)
	r.Uint32(soaExpire)
	r.Uint32(z.plan.TTL)
	r.End()
}

// nsTarget is a name server of the zone, by its labels before the zone, and one of its addresses.
type nsTarget struct {
	labels string
	addr   netip.Addr
}

// nsTargets lists the zone's name servers: the Services that have an endpoint at one of the server's own addresses, by
// their ClusterIPs or, headless, by their endpoints; where no slice has one, "ns.dns" with the own addresses.
func (z *Zone) nsTargets() []nsTarget {
	var targets []nsTarget
	found := false
	for _, ip := range z.plan.LocalIPs {
		for _, ref := range z.local.get(ip) {
			found = true
			if e := z.services.get([]byte(ref.id.key)); e != nil && e.service != nil {
				targets = append(targets, e.nsTargets(z.plan, ip)...)
			}
		}
	}
	if !found {
		for _, ip := range z.plan.LocalIPs {
			targets = append(targets, nsTarget{"\x02ns\x03dns", ip})
		}
	}
	return unique(targets)
}

// nsTargets is what one Service contributes: all of it, or headless the slices that have the address.
func (e *entry) nsTargets(p *plan, ip netip.Addr) []nsTarget {
	var targets []nsTarget
	if e.service.Type != cluster.Headless {
		for _, addr := range e.service.ClusterIPs {
			targets = append(targets, nsTarget{e.id.prefix, addr})
		}
		return targets
	}
	for _, s := range e.slices {
		has := slices.ContainsFunc(s.Endpoints, func(end cluster.Endpoint) bool { return end.Ready() && end.Address == ip })
		for i := range s.Endpoints {
			if has && s.Endpoints[i].Ready() {
				host := hostLabels(string(endpointLabel(nil, s, i, p.PodNames)), s)
				targets = append(targets, nsTarget{host + e.id.prefix, s.Endpoints[i].Address})
			}
		}
	}
	return targets
}

func unique(targets []nsTarget) []nsTarget {
	var out []nsTarget
	for _, t := range targets {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// writeNS appends one NS record for each name server, then their addresses.
func (z *Zone) writeNS(q *message.Query, r *message.Reply, owner int, zone *zoneInfo) {
	targets := z.nsTargets()
	at := make(map[string]int)
	for _, t := range targets {
		if at[t.labels] > 0 {
			continue
		}
		r.Record(message.Answer, owner, message.TypeNS, z.plan.TTL)
		at[t.labels] = r.At()
		r.String(t.labels)
		r.Name(zoneAt(q, r, owner, zone))
		if !r.End() {
			return
		}
	}
	for _, t := range targets {
		writeAddress(r, message.Additional, at[t.labels], t.addr, z.plan.TTL)
	}
	r.ShuffleGlue()
}

// writeNSAddresses answers ns.dns.ZONE with the addresses of the name servers, whatever their names.
func (z *Zone) writeNSAddresses(q *message.Query, r *message.Reply, owner int) {
	var seen []netip.Addr
	for _, t := range z.nsTargets() {
		if familyType(t.addr) == q.Type && !slices.Contains(seen, t.addr) {
			seen = append(seen, t.addr)
			writeAddress(r, message.Answer, owner, t.addr, z.plan.TTL)
		}
	}
}
