package prometheus

import (
	"sync/atomic"

	"github.com/waypost/waypost/message"
)

// Observer counts the queries that one server block gets at one listener.
type Observer struct {
	only  *series                  // where the block has one zone
	zones map[message.Name]*series // where it has several
	root  *series                  // counts names of none of the zones, which a block of another port may have
}

// Observe counts a query under the closest zone of the block. It takes no lock and allocates nothing, but for a zone's
// first query in a shard.
func (o *Observer) Observe(q *message.Query, r *message.Reply) {
	if bare(r) {
		o.series(q).shard(q.Shard).count(q, r, false, 0)
		return
	}
	o.series(q).shard(q.Shard).count(q, r, true, r.UncompressedLen())
}

// bare reports whether no directive wrote the reply: the server made it of an error code. CoreDNS counts those with size
// 0 and for no plugin.
func bare(r *message.Reply) bool {
	switch r.Rcode {
	case message.ServFail, message.Refused, message.FormErr, message.NotImp:
		return r.By == "" && r.Empty()
	}
	return false
}

func (o *Observer) series(q *message.Query) *series {
	if o.only != nil {
		return o.only
	}
	first := q.First()
	for i := 0; i <= first.Labels(); i++ {
		if s, ok := o.zones[message.Name(first.Suffix(i))]; ok {
			return s
		}
	}
	return o.root
}

// Dropped counts the queries of one listener that the server refused or failed before any block had them.
type Dropped struct{ series *series }

// optLen is the length of the OPT record in a reply.
const optLen = 11

// Observe counts a query.
func (d *Dropped) Observe(q *message.Query, r *message.Reply) {
	size := r.UncompressedLen()
	if q.EDNS.Present {
		size += optLen
	}
	d.series.shard(q.Shard).count(q, r, false, size)
}

// series are the counters of one set of labels, in shards.
type series struct {
	shards []atomic.Pointer[counters]
}

// labels are what tells series from each other. plugin is the directive that stands behind prometheus in the block: as
// in CoreDNS it is named for every reply that any directive wrote.
type labels struct{ server, zone, view, plugin string }

// shard is the shard's counters, made on its first use.
func (s *series) shard(i int) *counters {
	at := &s.shards[i]
	if c := at.Load(); c != nil {
		return c
	}
	at.CompareAndSwap(nil, new(counters))
	return at.Load()
}
