package records

import (
	"math/bits"
	"net/netip"
	"slices"
)

// addresses is a persistent map from IP addresses that can also tell whether anything lies below a prefix, as reverse
// names need it: a radix tree by nibbles (half bytes) in which a branch stands only where keys part. Copies of the
// struct are snapshots; generations work as in trie.
type addresses struct {
	v4, v6 treeLink
	len    int
}

// treeLink is a branch or, where that is nil, a leaf or nothing.
type treeLink struct {
	branch *treeBranch
	leaf   *treeLeaf
}

// treeBranch parts keys by the nibble at depth.
type treeBranch struct {
	generation uint64
	depth      uint8
	bitmap     uint16
	links      []treeLink
}

// treeLeaf is what is known of one address.
type treeLeaf struct {
	addr netip.Addr
	refs []*ref // never empty
}

// nibbles is an address as a key. Those of one family have one length.
type nibbles struct {
	bytes [16]byte
	len   int
}

func keyOf(a netip.Addr) nibbles {
	if a.Is4() {
		k := nibbles{len: 8}
		b := a.As4()
		copy(k.bytes[:], b[:])
		return k
	}
	return nibbles{bytes: a.As16(), len: 32}
}

func (k *nibbles) at(i int) byte {
	if i&1 == 0 {
		return k.bytes[i>>1] >> 4
	}
	return k.bytes[i>>1] & 0xF
}

// differ returns the first nibble in which two keys of one family differ, their length if none does.
func (k *nibbles) differ(other *nibbles) int {
	for i := range k.len {
		if k.at(i) != other.at(i) {
			return i
		}
	}
	return k.len
}

func (a *addresses) root(v4 bool) *treeLink {
	if v4 {
		return &a.v4
	}
	return &a.v6
}

// get returns what is known of an address, nil if nothing is.
func (a *addresses) get(addr netip.Addr) []*ref {
	key := keyOf(addr)
	if leaf := a.root(addr.Is4()).near(&key, key.len); leaf != nil && leaf.addr == addr {
		return leaf.refs
	}
	return nil
}

// below reports whether any address starts with the first n nibbles of the key.
func (a *addresses) below(key *nibbles, n int) bool {
	leaf := a.root(key.len == 8).near(key, n)
	if leaf == nil {
		return false
	}
	found := keyOf(leaf.addr)
	return found.differ(key) >= n
}

// near walks along the first n nibbles of the key and returns a leaf below where that leads: the key's own, if it is
// there, or one that tells how far the tree agrees with the key.
func (l *treeLink) near(key *nibbles, n int) *treeLeaf {
	at := *l
	for at.branch != nil {
		b := at.branch
		next := 0
		if int(b.depth) < n {
			bit := uint16(1) << key.at(int(b.depth))
			if b.bitmap&bit != 0 {
				next = bits.OnesCount16(b.bitmap & (bit - 1))
			}
		}
		at = b.links[next]
	}
	return at.leaf
}

// update replaces what is known of an address by what change makes of it; nothing left removes the address.
func (a *addresses) update(generation uint64, addr netip.Addr, change func([]*ref) []*ref) {
	key := keyOf(addr)
	root := a.root(addr.Is4())
	leaf := root.near(&key, key.len)
	if leaf == nil || leaf.addr != addr {
		if refs := change(nil); len(refs) > 0 {
			split := 0
			if leaf != nil {
				near := keyOf(leaf.addr)
				split = near.differ(&key)
			}
			*root = root.insert(generation, &key, split, &treeLeaf{addr, refs})
			a.len++
		}
		return
	}
	refs := change(leaf.refs)
	if len(refs) == 0 {
		*root = root.remove(generation, &key)
		a.len--
		return
	}
	*root = root.replace(generation, &key, &treeLeaf{addr, refs})
}

// insert adds a leaf whose key parts from all others at nibble split, or later than the branches above it.
func (l treeLink) insert(generation uint64, key *nibbles, split int, leaf *treeLeaf) treeLink {
	if l.branch == nil && l.leaf == nil {
		return treeLink{leaf: leaf}
	}
	if l.branch == nil || int(l.branch.depth) > split {
		other := keyOf(l.any().addr)
		b := &treeBranch{generation: generation, depth: uint8(split)}
		b.put(other.at(split), l)
		b.put(key.at(split), treeLink{leaf: leaf})
		return treeLink{branch: b}
	}
	b := l.branch.writable(generation)
	nibble := key.at(int(b.depth))
	if i, ok := b.index(nibble); ok {
		b.links[i] = b.links[i].insert(generation, key, split, leaf)
	} else {
		b.put(nibble, treeLink{leaf: leaf})
	}
	return treeLink{branch: b}
}

// replace puts another leaf in the place of the key's.
func (l treeLink) replace(generation uint64, key *nibbles, leaf *treeLeaf) treeLink {
	if l.branch == nil {
		return treeLink{leaf: leaf}
	}
	b := l.branch.writable(generation)
	i, _ := b.index(key.at(int(b.depth)))
	b.links[i] = b.links[i].replace(generation, key, leaf)
	return treeLink{branch: b}
}

// remove takes out the key's leaf. A branch with one link left gives way to it.
func (l treeLink) remove(generation uint64, key *nibbles) treeLink {
	if l.branch == nil {
		return treeLink{}
	}
	b := l.branch.writable(generation)
	nibble := key.at(int(b.depth))
	i, _ := b.index(nibble)
	b.links[i] = b.links[i].remove(generation, key)
	if b.links[i] == (treeLink{}) {
		b.links = slices.Delete(b.links, i, i+1)
		b.bitmap &^= 1 << nibble
		if len(b.links) == 1 {
			return b.links[0]
		}
	}
	return treeLink{branch: b}
}

// any is some leaf below the link.
func (l treeLink) any() *treeLeaf {
	for l.branch != nil {
		l = l.branch.links[0]
	}
	return l.leaf
}

func (b *treeBranch) index(nibble byte) (int, bool) {
	bit := uint16(1) << nibble
	return bits.OnesCount16(b.bitmap & (bit - 1)), b.bitmap&bit != 0
}

func (b *treeBranch) put(nibble byte, l treeLink) {
	i, _ := b.index(nibble)
	b.bitmap |= 1 << nibble
	b.links = slices.Insert(b.links, i, l)
}

func (b *treeBranch) writable(generation uint64) *treeBranch {
	if b.generation == generation {
		return b
	}
	return &treeBranch{generation, b.depth, b.bitmap, slices.Clone(b.links)}
}

// all calls yield for every address in ascending order, IPv4 first.
func (a *addresses) all(yield func(netip.Addr, []*ref) bool) {
	_ = a.v4.all(yield) && a.v6.all(yield)
}

func (l treeLink) all(yield func(netip.Addr, []*ref) bool) bool {
	if l.branch == nil {
		return l.leaf == nil || yield(l.leaf.addr, l.leaf.refs)
	}
	for _, next := range l.branch.links {
		if !next.all(yield) {
			return false
		}
	}
	return true
}
