package records

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// Check walks the invariants of a zone and returns the first that does not hold: every entry is what compiling its
// objects gives, every address that objects have is in the reverse tree as often as they say, nothing else is, and the
// trees are well-formed. It costs what building the zone costs; tests call it after every change.
func (z *Zone) Check() error {
	want := make(map[reason]int)
	for _, table := range []*trie[*entry]{&z.services, &z.imports} {
		if err := table.check(); err != nil {
			return err
		}
		for e := range table.all {
			if err := e.check(z.plan); err != nil {
				return fmt.Errorf("entry %q: %w", e.key, err)
			}
			if table == &z.services {
				e.countRefs(z.plan, want)
			}
		}
	}
	if err := z.checkReverse(want); err != nil {
		return err
	}
	return z.pods.check()
}

// reason is a ref at an address, by what it says.
type reason struct {
	addr      netip.Addr
	kind      refKind
	key, host string
}

// check compares an entry with what its objects give.
func (e *entry) check(p *plan) error {
	if e.id.key != e.key {
		return fmt.Errorf("is called %q", e.id.key)
	}
	if !slices.IsSortedFunc(e.slices, func(a, b *cluster.Slice) int { return strings.Compare(a.Name, b.Name) }) {
		return fmt.Errorf("slices are not in order")
	}
	fresh := entry{key: e.key, id: e.id, service: e.service, imported: e.imported, slices: e.slices}
	fresh.compile(p)
	switch {
	case fresh.kind != e.kind || fresh.exists != e.exists || fresh.ready != e.ready || fresh.uniform != e.uniform || fresh.names != e.names:
		return fmt.Errorf("facts are not those of its objects")
	case !slices.Equal(fresh.a, e.a) || !slices.Equal(fresh.aaaa, e.aaaa) || !slices.Equal(fresh.srv.records, e.srv.records):
		return fmt.Errorf("answers are not those of its objects")
	case !slices.Equal(fresh.labels, e.labels) || len(fresh.ports) != len(e.ports):
		return fmt.Errorf("index is not that of its objects")
	}
	return nil
}

// countRefs adds what an entry's objects say of addresses.
func (e *entry) countRefs(p *plan, want map[reason]int) {
	if e.service != nil && p.named(e.service.Namespace) {
		for _, ip := range e.service.ClusterIPs {
			want[reason{ip.Unmap(), serviceRef, e.key, ""}]++
		}
	}
	for _, s := range e.slices {
		for i := range s.Endpoints {
			if end := &s.Endpoints[i]; end.Ready() && s.Service != "" && s.FQDNs == nil && p.named(s.Namespace) {
				want[reason{end.Address.Unmap(), endpointRef, e.key, ownLabel(end, p.PodNames)}]++
			}
		}
	}
}

// checkReverse compares the reverse tree with what it should hold.
func (z *Zone) checkReverse(want map[reason]int) error {
	if err := z.reverse.check(); err != nil {
		return err
	}
	for addr, refs := range z.reverse.all {
		for _, r := range refs {
			want[reason{addr, r.kind, r.id.key, r.host}]--
		}
	}
	for r, n := range want {
		if n != 0 {
			return fmt.Errorf("reverse name of %s: %q of %q is there %d times too few", r.addr, r.host, r.key, n)
		}
	}
	return nil
}

// check walks a trie's nodes.
func (t *trie[V]) check() error {
	n := 0
	for v := range t.all {
		if t.get([]byte(v.name())) != v {
			return fmt.Errorf("trie: key %q is there and not found", v.name())
		}
		n++
	}
	if n != t.len {
		return fmt.Errorf("trie: %d entries, counted %d", n, t.len)
	}
	return t.root.check()
}

func (n *trieNode[V]) check() error {
	if n == nil {
		return nil
	}
	if len(n.slots)+len(n.same) == 0 || bits.OnesCount32(n.bitmap) != len(n.slots) {
		return fmt.Errorf("trie: %d slots under bitmap %032b", len(n.slots), n.bitmap)
	}
	var none V
	for _, slot := range n.slots {
		if (slot.child == nil) == (slot.value == none) {
			return fmt.Errorf("trie: a slot is not one of child and value")
		}
		if err := slot.child.check(); err != nil {
			return err
		}
	}
	return nil
}

// check walks a tree's branches.
func (a *addresses) check() error {
	n := 0
	for addr := range a.all {
		if a.get(addr) == nil {
			return fmt.Errorf("addresses: %s is there and not found", addr)
		}
		n++
	}
	if n != a.len {
		return fmt.Errorf("addresses: %d leaves, counted %d", n, a.len)
	}
	for _, root := range []treeLink{a.v4, a.v6} {
		if err := root.check(-1); err != nil {
			return err
		}
	}
	return nil
}

func (l treeLink) check(above int) error {
	if l.branch == nil {
		return nil
	}
	b := l.branch
	if int(b.depth) <= above || len(b.links) < 2 || bits.OnesCount16(b.bitmap) != len(b.links) {
		return fmt.Errorf("addresses: branch at nibble %d below %d with %d links under bitmap %016b", b.depth, above, len(b.links), b.bitmap)
	}
	for nibble := range byte(16) {
		i, ok := b.index(nibble)
		if !ok {
			continue
		}
		if key := keyOf(b.links[i].any().addr); key.at(int(b.depth)) != nibble {
			return fmt.Errorf("addresses: %s stands under nibble %x", b.links[i].any().addr, nibble)
		}
		if err := b.links[i].check(int(b.depth)); err != nil {
			return err
		}
	}
	return nil
}
