package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/message"
)

// item is a reply that is kept, under what was asked for it. But for the atomic fields it does not change.
type item struct {
	name    string // in wire form and lower case
	options string // EDNS options that went on to other servers
	typ     message.Type
	class   message.Class
	flags   byte // of the question: DO, CD

	reply     *message.Packed
	kind      kind
	answering bool      // the reply answers the question, at the end of its CNAMEs
	good      *item     // an older one that answers, kept for PreferPositive
	ttl       uint32    // seconds that it is good for
	stored    time.Time // since when

	// Times in nanoseconds since stored: whoever sets the machine's clock does not change how long ago that is.
	notBefore atomic.Int64 // when it may be asked for again; 0 is at once
	asked     atomic.Int64 // when it was last asked for, for Prefetch
	hits      atomic.Int64 // how often without a pause
}

// matches reports whether the item is kept under this question.
func (i *item) matches(k *key) bool {
	return i.typ == k.q.Type && i.class == k.q.Class && i.flags == k.flags &&
		i.name == string(k.q.Lower()) && i.options == string(k.options)
}

// left is for how many seconds the item is still good; 0 or less is since when it is not.
func (i *item) left(now time.Time) int {
	return int(i.ttl) - int(max(0, now.Sub(i.stored))/time.Second)
}

// age is how long ago it was stored, in nanoseconds.
func (i *item) age(now time.Time) int64 { return int64(now.Sub(i.stored)) }

// ready reports whether it can be asked for again: nobody is doing so, and the last failure is long enough ago.
func (i *item) ready(now time.Time) bool { return i.age(now) >= i.notBefore.Load() }

// begin reports whether it is for the caller to ask for the item again. finish has to follow; without it the next one may
// begin after a while.
func (i *item) begin(now time.Time) bool {
	at := i.notBefore.Load()
	return i.age(now) >= at && i.notBefore.CompareAndSwap(at, i.age(now)+int64(mostRefresh))
}

// mostRefresh is how long a question to the steps behind can take, and some more.
const mostRefresh = 15 * time.Second

// finish ends what begin has begun. It can be tried again after a pause.
func (i *item) finish(now time.Time, pause time.Duration) {
	i.notBefore.Store(i.age(now) + int64(pause))
}

// popular counts a question, and reports whether there have been so many without a pause.
func (i *item) popular(p *Prefetch, now time.Time) bool {
	age := i.age(now)
	before := i.asked.Swap(age)
	if age-before > int64(p.Gap) {
		i.hits.Store(1)
		return p.Amount <= 1
	}
	return i.hits.Add(1) >= int64(p.Amount)
}

// inherit takes over how popular the item was that i replaces.
func (i *item) inherit(old *item) {
	i.asked.Store(old.asked.Load() - old.age(i.stored))
	i.hits.Store(old.hits.Load())
}

// lastGood is the item, if it answers the question, or the older one that does.
func (i *item) lastGood() *item {
	if i.answering {
		return i
	}
	return i.good
}

// key is a question, as what items are kept under.
type key struct {
	q       *message.Query
	hash    uint64
	flags   byte
	options []byte
}

const (
	flagDO byte = 1 << iota
	flagCD
)

// newKey works out what a question is kept under: all that changes the answer. space is for the options.
func newKey(seed maphash.Seed, q *message.Query, space []byte) key {
	k := key{q: q}
	if q.EDNS.DO {
		k.flags |= flagDO
	}
	if q.Bits&message.BitCD != 0 {
		k.flags |= flagCD
	}
	h := uint64(q.Type)<<32 | uint64(q.Class)<<16 | uint64(k.flags)
	if len(q.EDNS.Options) > 0 {
		k.options = q.EDNS.EndToEnd(space)
	}
	if len(k.options) > 0 {
		h ^= maphash.Bytes(seed, k.options)
	}
	k.hash = maphash.Bytes(seed, q.Lower()) ^ h*0x9E3779B97F4A7C15 // spread over all bits
	return k
}

// failed is the hash under which a failure is kept, beside the data.
func (k *key) failed() uint64 { return ^k.hash }
