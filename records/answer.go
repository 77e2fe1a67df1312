package records

import "github.com/waypost/waypost/message"

// Outcome is what came of a question.
type Outcome uint8

const (
	// Hit wrote the answer.
	Hit Outcome = iota
	// NoData is a name that exists and has nothing of the type (RFC 2308 section 2.2).
	NoData
	// Between is NoData in a reverse zone, at a name that exists only because of names below it (RFC 8020). It may fall
	// through, since part of what is below may be somebody else's.
	Between
	// NoName is a name that does not exist.
	NoName
	// NotOurs is a name outside the zones.
	NotOurs
	// NotReady is a name of which nothing can be said before the first full state of the cluster is known.
	NotReady
	// Refused is a zone transfer, which no one allowed.
	Refused
	// Elsewhere wrote nothing, or CNAME records up to a name outside the zone: Targets are what the asker wants to know.
	Elsewhere
)

// Result is the outcome of Zone.Answer and what is needed to finish the reply.
type Result struct {
	Outcome Outcome
	Targets []Target // for Elsewhere
	Partial bool     // with Targets: there is data of the type beside what they have
	zone    *zoneInfo
}

// Target is a name whose records belong into the answer but are not, or not surely, in the zone.
type Target struct {
	Wire   []byte // the name in wire form, in the letter case of its source
	Inside bool   // it is in the question's zone: without data it is left out, CNAME and all
	Chain  bool   // the CNAME to it is written; else it is one of several at one owner, of which none is
	At     int    // where in the reply the target stands, if Chain, else the owner of the CNAME to come
}

// maxChain is how many CNAME records of ExternalName Services are followed inside the zone.
const maxChain = 16

// Answer looks the question up and writes what there is into the reply: records, not yet the SOA of a negative answer,
// see Deny. It has to be called with an empty reply.
func (z *Zone) Answer(q *message.Query, r *message.Reply) Result {
	zone := z.plan.match(q)
	switch {
	case zone == nil:
		return Result{Outcome: NotOurs}
	case q.Type == message.TypeAXFR || q.Type == message.TypeIXFR:
		return Result{Outcome: Refused}
	}
	f := z.find(q, zone)
	if f.what == service && f.entry.kind == external && q.Type != message.TypeCNAME {
		return z.follow(q, r, zone, f.entry)
	}
	return z.write(q, r, message.QuestionAt, zone, &f)
}

// Deny finishes a negative answer: the zone's SOA in the authority section (RFC 2308 section 3).
func (z *Zone) Deny(q *message.Query, r *message.Reply, result Result, rcode message.Rcode) {
	r.Rcode, r.Authoritative = rcode, true
	z.writeSOA(r, message.Authority, zoneAt(q, r, message.QuestionAt, result.zone), result.zone)
}

// write answers the question with what its name was found to be. The name stands at offset owner of the reply.
func (z *Zone) write(q *message.Query, r *message.Reply, owner int, zone *zoneInfo, f *found) Result {
	before := r.Count(message.Answer)
	result := Result{Outcome: NoData, zone: zone}
	switch f.what {
	case nothing:
		result.Outcome = NoName
		if !z.synced {
			result.Outcome = NotReady
		}
	case arpaNode:
		if q.Type != message.TypeSOA { // which CoreDNS denies without asking anybody else
			result.Outcome = Between
		}
	case apex:
		z.writeApex(q, r, owner, zone)
	case nsName:
		z.writeNSAddresses(q, r, owner)
	case versionName:
		writeVersion(q, r, owner)
	case service:
		result.Targets = z.writeService(q, r, owner, zone, f)
	case address:
		if q.Type == message.TypePTR {
			z.writePTR(r, owner, f)
		}
	case pod:
		z.writePod(q, r, owner, f, zone)
	}
	switch {
	case len(result.Targets) > 0:
		result.Outcome, result.Partial = Elsewhere, r.Count(message.Answer) > before
	case r.Count(message.Answer) > before || r.Truncated:
		result.Outcome = Hit
	}
	return result
}

// writeVersion answers dns-version.ZONE with the version of the DNS specification that is kept (its section 2.2).
//
//	dig dns-version.cluster.local TXT
func writeVersion(q *message.Query, r *message.Reply, owner int) {
	if q.Type != message.TypeTXT {
		return
	}
	r.Record(message.Answer, owner, message.TypeTXT, versionTTL)
	r.Uint8(uint8(len(version)))
	r.String(version)
	r.End()
}
