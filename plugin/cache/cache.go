// Package cache is the directive that keeps replies and gives them to all who ask the same.
//
// A reply is kept encoded, as it stands behind the question. Giving it means to copy it, and to set what is the client's
// own: ID, flags, the letter case of the name, TTLs, the order of addresses, and how much of it fits. That is done on the
// socket loop, and allocates nothing.
package cache

import (
	"hash/maphash"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Cache is a cache directive at work. It is two steps of its block, Early and Late.
type Cache struct {
	options Options
	zones   []message.Name
	view    string         // the block's
	fresh   []message.Name // names in these are answered from the cluster's state first, see Late
	except  [2][]message.Name
	log     *slog.Logger
	now     func() time.Time

	stores  *stores
	waiting waiting // for stale replies to be asked for again
	metrics *metrics
	series  atomic.Pointer[[]*series] // of the listeners that queries have come by
}

// stores are what is kept; failures are among the denials.
type stores struct {
	seed    maphash.Seed
	success *store
	denial  *store
}

// New makes the cache of one server block. Names in the zones fresh are those that a directive behind Early answers from
// what it knows itself: they are looked for only behind it.
func New(o Options, e env.Env, fresh config.Zones) (*Cache, error) {
	c := &Cache{
		options: o, view: e.View, log: e.Log, now: time.Now,
		stores: &stores{seed: maphash.MakeSeed(), success: newStore(o.Success.Capacity), denial: newStore(o.Denial.Capacity)},
	}
	var err error
	for _, list := range []struct {
		zones []string
		names *[]message.Name
	}{{o.Zones, &c.zones}, {fresh, &c.fresh}, {o.Success.Except, &c.except[0]}, {o.Denial.Except, &c.except[1]}} {
		if *list.names, err = message.ParseNames(list.zones); err != nil {
			return nil, err
		}
	}
	if c.metrics, err = newMetrics(e); err != nil {
		return nil, err
	}
	c.series.Store(new([]*series))
	return c, nil
}

// Stop lets go of what is kept, as far as the metrics know of it. Queries that are still under way are answered.
func (c *Cache) Stop() {
	for _, s := range *c.series.Load() {
		s.cache.CompareAndSwap(c, nil)
	}
}

// Options are what the directive says.
func (c *Cache) Options() Options { return c.options }

// Early is the step at cache's own place in the order of directives.
type Early struct{ *Cache }

// Late is the step behind the directives that answer from what they know themselves (kubernetes): their names are kept
// only where these pass them on.
type Late struct{ *Cache }

// Serve implements the step.
func (s Early) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if !q.UnderAny(s.zones) || q.UnderAny(s.fresh) {
		return message.Next
	}
	return s.serve(q, r)
}

// Serve implements the step.
func (s Late) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if !q.UnderAny(s.fresh) || !q.UnderAny(s.zones) {
		return message.Next
	}
	return s.serve(q, r)
}

// serve answers from what is kept, or has the steps behind answer and keeps that.
func (c *Cache) serve(q *message.Query, r *message.Reply) message.Verdict {
	if q.Refresh {
		return c.pass(r)
	}
	n := c.counters(q)
	n.requests.Add(1)
	var space [64]byte
	k := newKey(c.stores.seed, q, space[:0])
	now := q.Received
	switch found := c.find(&k, now); found.state {
	case good:
		if c.give(found.item, r, uint32(found.item.left(now))) {
			n.hit(found.item.kind)
			c.prefetch(found.item, q, n, now)
			return message.Done
		}
	case stale, hopeless:
		n.hit(found.item.kind)
		return c.serveStale(found, q, r, n, now)
	}
	n.misses.Add(1)
	return c.pass(r)
}

// pass has the steps behind answer, to the last record, and wants to see that.
func (c *Cache) pass(r *message.Reply) message.Verdict {
	r.Whole()
	r.Revisions = append(r.Revisions, c)
	return message.Next
}

// state is what there is for a question.
type state uint8

const (
	nothing  state = iota
	good           // a reply that has not expired, or a failure that has not
	stale          // one that has, but is better than nothing
	hopeless       // the same, and somebody has just tried in vain to get a better one
)

type finding struct {
	state state
	item  *item
}

// find looks for what is kept under a question. Data come first, expired or not; a failure is for those who have none.
func (c *Cache) find(k *key, now time.Time) finding {
	data := c.data(k, now)
	if data != nil && data.left(now) > 0 {
		return finding{good, data}
	}
	failed := c.stores.denial.get(k.failed())
	if failed != nil && (failed.kind != failure || !failed.matches(k) || failed.left(now) <= 0) {
		failed = nil
	}
	switch {
	case data != nil && c.usable(data, now) && failed != nil:
		return finding{hopeless, data}
	case data != nil && c.usable(data, now):
		return finding{stale, data}
	case failed != nil:
		return finding{good, failed}
	}
	return finding{}
}

// data is what is kept of the data under a question: there is one item, unless PreferPositive wants both.
func (c *Cache) data(k *key, now time.Time) *item {
	positive := c.stores.success.get(k.hash)
	if positive != nil && !positive.matches(k) {
		positive = nil
	}
	if positive != nil && !c.options.Stale.PreferPositive {
		return positive
	}
	if positive != nil {
		if good := positive.lastGood(); good != nil && c.usable(good, now) {
			return good
		}
	}
	if i := c.stores.denial.get(k.hash); i != nil && i.matches(k) {
		return i
	}
	return positive
}

// usable reports whether an item can be given: it is good, or not for too long not any more.
func (c *Cache) usable(i *item, now time.Time) bool {
	left := i.left(now)
	return left > 0 || -left < int(c.options.Stale.UpTo/time.Second)
}

// give makes an item the reply, with so many seconds to live.
func (c *Cache) give(i *item, r *message.Reply, ttl uint32) bool {
	if i.kind == failure {
		r.Option(message.OptionError, cachedError)
	}
	if !r.Take(i.reply) {
		return false
	}
	if c.options.KeepTTL {
		ttl = i.ttl
	}
	r.SetTTL(ttl)
	r.By = "cache"
	return true
}

// Revise implements message.Revision: it keeps what the steps behind have answered. The client gets the TTL that the reply
// is kept by.
func (c *Cache) Revise(q *message.Query, r *message.Reply) message.Verdict {
	var space [64]byte
	k := newKey(c.stores.seed, q, space[:0])
	now := c.now()
	v := c.options.classify(q, r, now)
	before := c.data(&k, now)
	worse := before != nil && c.usable(before, now) && c.worse(before, v, r)
	c.keep(&k, r, v, now)
	if before != nil {
		c.tried(before, &k, worse, now)
	}
	if q.Refresh {
		c.wake(&k, now)
		return message.Done
	}
	if worse {
		r.Reset()
		c.giveStale(before, q, r, now)
	} else {
		r.SetTTL(v.ttl)
	}
	r.Fit()
	return message.Done
}

// keep keeps a reply, if it is one to be kept. A failure is put beside the data, which stay; data and denials take each
// other's place. What was asked without recursion says nothing to those who want it.
func (c *Cache) keep(k *key, r *message.Reply, v verdict, now time.Time) {
	if !v.storable || k.q.Bits&message.BitRD == 0 || k.q.UnderAny(c.except[v.kind.class()]) {
		return
	}
	hash, at := k.hash, c.stores.success
	if v.kind != success {
		at = c.stores.denial
	}
	if v.kind == failure {
		hash = k.failed()
	}
	if i := at.get(hash); i != nil && i.matches(k) && !i.stored.Before(k.q.Received) && !k.q.Refresh {
		return // one of many who have waited for the same reply has kept it
	}
	i := &item{
		name: string(k.q.Lower()), options: string(k.options), typ: k.q.Type, class: k.q.Class, flags: k.flags,
		reply: r.Pack(), kind: v.kind, answering: v.answering, ttl: v.ttl, stored: now,
	}
	positive := c.options.Stale.PreferPositive
	if before := at.get(hash); positive && before != nil && before.matches(k) && !i.answering {
		i.good = before.lastGood()
	}
	if at.add(hash, i) {
		c.counters(k.q).evictions[v.kind.class()].Add(1)
	}
	switch {
	case v.kind == success && (!positive || i.answering):
		c.stores.denial.remove(k.hash)
	case v.kind == denial && !positive:
		c.stores.success.remove(k.hash)
	}
	if v.kind != failure {
		c.stores.denial.remove(k.failed())
	}
}
