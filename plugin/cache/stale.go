package cache

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/waypost/waypost/message"
)

// Extended DNS Errors (RFC 8914 sections 4.4, 4.14 and 4.20).
var (
	staleAnswer   = []byte{0, 3}
	cachedError   = []byte{0, 13}
	staleNXDomain = []byte{0, 19}
)

// serveStale answers with an item that has expired, or has a better one asked for first, as the options say (RFC 8767).
func (c *Cache) serveStale(found finding, q *message.Query, r *message.Reply, n *counters, now time.Time) message.Verdict {
	o := &c.options.Stale
	switch i := found.item; {
	case found.state == hopeless:
	case !o.Verify:
		c.refresh(i, q, n, now)
	case o.Timeout > 0 && i.ready(now):
		return message.Park
	case o.Timeout > 0:
	case o.Recheck == 0 || i.begin(now):
		return c.pass(r)
	}
	c.giveStale(found.item, q, r, now)
	return message.Done
}

// giveStale makes an expired item the reply. One that has been replaced meanwhile may not have expired.
func (c *Cache) giveStale(i *item, q *message.Query, r *message.Reply, now time.Time) {
	left := i.left(now)
	if left > 0 {
		c.give(i, r, uint32(left))
		return
	}
	c.counters(q).stale.Add(1)
	if i.reply.Rcode == message.NXDomain {
		r.Option(message.OptionError, staleNXDomain)
	} else {
		r.Option(message.OptionError, staleAnswer)
	}
	c.give(i, r, c.options.Stale.TTL)
	if c.options.Stale.TTL > 0 {
		r.SetTTL(c.options.Stale.TTL) // also with KeepTTL
	}
}

// worse reports whether a new reply is worse than an item, expired as that may be: it is no data and no denial, or it is
// not the answer that PreferPositive wants to keep.
func (c *Cache) worse(i *item, v verdict, r *message.Reply) bool {
	o := &c.options.Stale
	switch {
	case o.UpTo == 0:
		return false
	case v.kind == failure || v.kind == other || r.Truncated:
		return true
	}
	return o.PreferPositive && i.answering && !v.answering
}

// refresh has the steps behind answer q for the cache, if nobody else does.
func (c *Cache) refresh(i *item, q *message.Query, n *counters, now time.Time) {
	if i.begin(now) {
		n.prefetches.Add(1)
		q.Resolver.Refresh(q)
	}
}

// prefetch refreshes an item that is asked for often, before it expires.
func (c *Cache) prefetch(i *item, q *message.Query, n *counters, now time.Time) {
	p := &c.options.Prefetch
	if p.Amount == 0 || i.kind == failure || !i.popular(p, now) {
		return
	}
	if i.left(now) <= int(math.Ceil(float64(p.Percent)/100*float64(i.ttl))) {
		c.refresh(i, q, n, now)
	}
}

// tried notes how it ended that an item was asked for again.
func (c *Cache) tried(i *item, k *key, worse bool, now time.Time) {
	pause := time.Duration(0)
	if worse {
		pause = c.options.Stale.Recheck
	}
	i.finish(now, pause)
	if heir := c.data(k, now); heir != nil && heir != i {
		heir.inherit(i)
	}
}

// waiting are queries that wait for a better reply than a stale one.
type waiting struct {
	mu    sync.Mutex
	byKey map[uint64][]*verifying
}

// verifying is one of them.
type verifying struct {
	cache  *Cache
	hash   uint64 // of its key
	q      *message.Query
	r      *message.Reply
	resume func(message.Verdict)
	timer  *time.Timer // nil before limit
}

// Wait implements server.Waiter: a query whose stale reply is to be verified waits for the new one, but not for too long.
func (c *Cache) Wait(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
	var space [64]byte
	k := newKey(c.stores.seed, q, space[:0])
	now := c.now()
	v := &verifying{cache: c, hash: k.hash, q: q, r: r, resume: resume}
	found := c.find(&k, now)
	if found.state != stale || !found.item.begin(now) {
		v.answer(&k, now)
		return
	}
	c.counters(q).prefetches.Add(1)
	c.waiting.add(k.hash, v)
	q.Resolver.Refresh(q)
	c.waiting.limit(v, c.options.Stale.Timeout) // from now on: q is another's once it has its answer, and Refresh reads it
}

// late answers with what there is, if nobody else has done so.
func (v *verifying) late() {
	if !v.cache.waiting.remove(v.hash, v) {
		return
	}
	var space [64]byte
	k := newKey(v.cache.stores.seed, v.q, space[:0])
	v.answer(&k, v.cache.now())
}

// wake answers those who have waited for a question.
func (c *Cache) wake(k *key, now time.Time) {
	for _, v := range c.waiting.take(k.hash) {
		if v.timer != nil {
			v.timer.Stop()
		}
		v.answer(k, now)
	}
}

// answer answers with the best that there is now.
func (v *verifying) answer(k *key, now time.Time) {
	found := v.cache.find(k, now)
	if found.state == nothing {
		v.resume(v.cache.pass(v.r))
		return
	}
	v.cache.giveStale(found.item, v.q, v.r, now)
	v.resume(message.Done)
}

func (w *waiting) add(key uint64, v *verifying) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = make(map[uint64][]*verifying)
	}
	w.byKey[key] = append(w.byKey[key], v)
}

// limit has one of them, if it still waits, wait no longer than that.
func (w *waiting) limit(v *verifying, most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.byKey[v.hash], v) {
		v.timer = time.AfterFunc(most, v.late)
	}
}

// take takes all who wait under a key.
func (w *waiting) take(key uint64) []*verifying {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.byKey[key]
	delete(w.byKey, key)
	return all
}

// remove takes one of them, and reports whether it was still there.
func (w *waiting) remove(key uint64, v *verifying) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.byKey[key] {
		if other == v {
			w.byKey[key] = append(w.byKey[key][:i], w.byKey[key][i+1:]...)
			if len(w.byKey[key]) == 0 {
				delete(w.byKey, key)
			}
			return true
		}
	}
	return false
}
