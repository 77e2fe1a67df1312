package records

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// keyed is a value that knows the key it is stored under.
type keyed interface {
	comparable
	name() string
}

// trie is a persistent map from the values' own keys to the values: a hash array mapped trie, five bits of the hash a
// level. A copy of the struct is a snapshot that later changes to the original leave alone. Lookups take no lock and
// allocate nothing.
//
// Nodes made in the same generation are changed in place, so a batch of changes copies each node at most once. The
// writer starts a new generation after it has handed out a snapshot.
type trie[V keyed] struct {
	root *trieNode[V]
	len  int
}

// hashSeed is the seed of every trie's hash, so that clients cannot choose names that collide.
var hashSeed = maphash.MakeSeed()

type trieNode[V keyed] struct {
	generation uint64
	bitmap     uint32 // which of the 32 slots are in use
	slots      []trieSlot[V]
	same       []V // below the last level instead of slots: values whose hashes are the same
}

// trieSlot is a child or, where that is nil, a value.
type trieSlot[V keyed] struct {
	child *trieNode[V]
	value V
	tag   uint32 // of the value's hash: most keys that are not there end here, and no value comes into the cache for them
}

// Each level takes trieBits of the 64-bit hash, as long as there are some left.
const (
	trieBits  = 5
	trieDepth = 65 // where the shift has got to when none are
)

func tagOf(hash uint64) uint32 { return uint32(hash >> 32) }

func slotOf(hash uint64) uint32 { return uint32(1) << (hash & (1<<trieBits - 1)) }

func (n *trieNode[V]) index(bit uint32) int { return bits.OnesCount32(n.bitmap & (bit - 1)) }

// get finds the value of a key, which may be a slice of a packet; V's zero value if there is none.
func (t *trie[V]) get(key []byte) V {
	var none V
	hash := maphash.Bytes(hashSeed, key)
	tag := tagOf(hash)
	for n := t.root; n != nil; hash >>= trieBits {
		bit := slotOf(hash)
		if n.bitmap&bit == 0 {
			return n.among(key)
		}
		slot := &n.slots[n.index(bit)]
		if slot.child == nil {
			if slot.tag == tag && slot.value.name() == string(key) {
				return slot.value
			}
			return none
		}
		n = slot.child
	}
	return none
}

// among finds a key among those of one hash.
func (n *trieNode[V]) among(key []byte) V {
	var none V
	for _, v := range n.same {
		if v.name() == string(key) {
			return v
		}
	}
	return none
}

// set stores a value under its key.
func (t *trie[V]) set(generation uint64, value V) {
	t.root = t.insert(t.root, generation, maphash.String(hashSeed, value.name()), 0, value)
}

// insert puts a value below a node; hash is without the shift bits that led there.
func (t *trie[V]) insert(n *trieNode[V], generation, hash uint64, shift uint, value V) *trieNode[V] {
	n = n.writable(generation)
	if shift >= trieDepth {
		before := len(n.same)
		n.same = append(without(n.same, value.name()), value)
		t.len += len(n.same) - before
		return n
	}
	bit := slotOf(hash)
	i := n.index(bit)
	if n.bitmap&bit == 0 {
		n.bitmap |= bit
		n.slots = slices.Insert(n.slots, i, trieSlot[V]{value: value, tag: tagOf(maphash.String(hashSeed, value.name()))})
		t.len++
		return n
	}
	slot := &n.slots[i]
	switch {
	case slot.child != nil:
		slot.child = t.insert(slot.child, generation, hash>>trieBits, shift+trieBits, value)
	case slot.value.name() == value.name():
		slot.value = value
	default: // the two part further down
		old := slot.value
		child := t.insert(nil, generation, maphash.String(hashSeed, old.name())>>(shift+trieBits), shift+trieBits, old)
		t.len--
		*slot = trieSlot[V]{child: t.insert(child, generation, hash>>trieBits, shift+trieBits, value)}
	}
	return n
}

// delete removes a key; one that is not there is no error.
func (t *trie[V]) delete(generation uint64, key string) {
	var none V
	if t.get([]byte(key)) != none {
		t.root = remove(t.root, generation, maphash.String(hashSeed, key), key)
		t.len--
	}
}

// remove takes out a key that is there and returns the node, nil where nothing is left of it.
func remove[V keyed](n *trieNode[V], generation, hash uint64, key string) *trieNode[V] {
	n = n.writable(generation)
	bit := slotOf(hash)
	if n.bitmap&bit == 0 {
		n.same = without(n.same, key)
	} else {
		i := n.index(bit)
		slot := &n.slots[i]
		if slot.child != nil {
			slot.child = remove(slot.child, generation, hash>>trieBits, key)
		}
		if slot.child == nil {
			n.bitmap &^= bit
			n.slots = slices.Delete(n.slots, i, i+1)
		}
	}
	if n.bitmap == 0 && len(n.same) == 0 {
		return nil
	}
	return n
}

// without copies values, leaving out the one of a key.
func without[V keyed](values []V, key string) []V {
	return slices.DeleteFunc(slices.Clone(values), func(v V) bool { return v.name() == key })
}

// writable returns the node itself where it belongs to the generation, else a copy that does.
func (n *trieNode[V]) writable(generation uint64) *trieNode[V] {
	if n == nil {
		return &trieNode[V]{generation: generation}
	}
	if n.generation == generation {
		return n
	}
	return &trieNode[V]{generation: generation, bitmap: n.bitmap, slots: slices.Clone(n.slots), same: n.same}
}

// all calls yield for every value, in no particular order, until it returns false.
func (t *trie[V]) all(yield func(V) bool) { t.root.all(yield) }

func (n *trieNode[V]) all(yield func(V) bool) bool {
	if n == nil {
		return true
	}
	for _, slot := range n.slots {
		if slot.child != nil && !slot.child.all(yield) || slot.child == nil && !yield(slot.value) {
			return false
		}
	}
	for _, v := range n.same {
		if !yield(v) {
			return false
		}
	}
	return true
}
