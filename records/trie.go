package records

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// trie is a persistent map from strings: a hash array mapped trie, five bits of the hash a level. A copy of the struct
// is a snapshot that later changes to the original leave alone. Lookups take no lock and allocate nothing.
//
// Nodes made in the same generation are changed in place, so a batch of changes copies each node at most once. The
// writer starts a new generation after it has handed out a snapshot.
type trie[V any] struct {
	root *trieNode[V]
	len  int
}

// hashSeed is the seed of every trie's hash, so that clients cannot choose names that collide.
var hashSeed = maphash.MakeSeed()

type trieNode[V any] struct {
	generation uint64
	bitmap     uint32 // which of the 32 slots are in use
	slots      []trieSlot[V]
}

// trieSlot is a child or, where that is nil, a list of entries.
type trieSlot[V any] struct {
	child *trieNode[V]
	entry *trieEntry[V]
}

type trieEntry[V any] struct {
	key   string
	value V
	next  *trieEntry[V] // another key with the same 64-bit hash
}

const trieLevels = 60 // bits of the hash that choose slots; beyond them keys are listed

// get finds what is stored under the key, which may be a slice of a packet.
func (t *trie[V]) get(key []byte) (V, bool) {
	hash := maphash.Bytes(hashSeed, key)
	node := t.root
	for node != nil {
		bit := uint32(1) << (hash & 31)
		if node.bitmap&bit == 0 {
			break
		}
		slot := &node.slots[bits.OnesCount32(node.bitmap&(bit-1))]
		if slot.child == nil {
			for e := slot.entry; e != nil; e = e.next {
				if e.key == string(key) {
					return e.value, true
				}
			}
			break
		}
		node = slot.child
		hash >>= 5
	}
	var none V
	return none, false
}

// set stores a value.
func (t *trie[V]) set(generation uint64, key string, value V) {
	entry := &trieEntry[V]{key: key, value: value}
	t.root = t.insert(t.root, generation, maphash.String(hashSeed, key), 0, entry)
}

func (t *trie[V]) insert(n *trieNode[V], generation, hash uint64, shift uint, e *trieEntry[V]) *trieNode[V] {
	n = n.writable(generation)
	bit := uint32(1) << (hash >> shift & 31)
	i := bits.OnesCount32(n.bitmap & (bit - 1))
	if n.bitmap&bit == 0 {
		n.bitmap |= bit
		n.slots = slices.Insert(n.slots, i, trieSlot[V]{entry: e})
		t.len++
		return n
	}
	slot := &n.slots[i]
	switch {
	case slot.child != nil:
		slot.child = t.insert(slot.child, generation, hash, shift+5, e)
	case slot.entry.key == e.key && slot.entry.next == nil:
		slot.entry = e
	case shift >= trieLevels:
		before := slot.entry.count()
		e.next = slot.entry.without(e.key)
		slot.entry = e
		t.len += e.count() - before
	default:
		old := slot.entry
		child := (*trieNode[V])(nil).writable(generation)
		oldBit := uint32(1) << (maphash.String(hashSeed, old.key) >> (shift + 5) & 31)
		child.bitmap, child.slots = oldBit, []trieSlot[V]{{entry: old}}
		*slot = trieSlot[V]{child: t.insert(child, generation, hash, shift+5, e)}
	}
	return n
}

// delete removes a key; one that is not there is no error.
func (t *trie[V]) delete(generation uint64, key string) {
	if _, ok := t.get([]byte(key)); ok {
		t.root = remove(t.root, generation, maphash.String(hashSeed, key), key)
		t.len--
	}
}

// remove takes out a key that is there and returns the node, nil where nothing is left of it.
func remove[V any](n *trieNode[V], generation, hash uint64, key string) *trieNode[V] {
	n = n.writable(generation)
	bit := uint32(1) << (hash & 31)
	i := bits.OnesCount32(n.bitmap & (bit - 1))
	slot := &n.slots[i]
	if slot.child != nil {
		slot.child = remove(slot.child, generation, hash>>5, key)
	} else {
		slot.entry = slot.entry.without(key)
	}
	if slot.child == nil && slot.entry == nil {
		n.bitmap &^= bit
		n.slots = slices.Delete(n.slots, i, i+1)
	}
	if n.bitmap == 0 {
		return nil
	}
	return n
}

// writable returns the node itself where it belongs to the generation, else a copy that does.
func (n *trieNode[V]) writable(generation uint64) *trieNode[V] {
	if n == nil {
		return &trieNode[V]{generation: generation}
	}
	if n.generation == generation {
		return n
	}
	return &trieNode[V]{generation: generation, bitmap: n.bitmap, slots: slices.Clone(n.slots)}
}

// without copies a list of entries, leaving out the key.
func (e *trieEntry[V]) without(key string) *trieEntry[V] {
	if e == nil {
		return nil
	}
	rest := e.next.without(key)
	if e.key == key {
		return rest
	}
	return &trieEntry[V]{key: e.key, value: e.value, next: rest}
}

func (e *trieEntry[V]) count() int {
	n := 0
	for ; e != nil; e = e.next {
		n++
	}
	return n
}

// all calls yield for every entry, in no particular order, until it returns false.
func (t *trie[V]) all(yield func(key string, value V) bool) { t.root.all(yield) }

func (n *trieNode[V]) all(yield func(key string, value V) bool) bool {
	if n == nil {
		return true
	}
	for _, slot := range n.slots {
		if slot.child != nil && !slot.child.all(yield) {
			return false
		}
		for e := slot.entry; e != nil; e = e.next {
			if !yield(e.key, e.value) {
				return false
			}
		}
	}
	return true
}
