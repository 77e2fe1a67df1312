// Package nftables makes the kernel route Services with nf_tables, over netlink: one table of each family, whose rules
// depend on the node only, and sets that hold the routes. A change of one endpoint is a change of one or two elements, at
// any number of Services. See program for what a packet meets, and "nft list table ip waypost" for what is there.
//
// The design rests on measurements, and on what nft 1.0.6 can print: a verdict map of all frontends would be looked up
// once where this looks up a few sets, but the kernel walks over such a map, and over all rules that it leads to, with
// each change of a verdict.
package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// Options of Tables. The zero value of each field means its default.
type Options struct {
	// Table is the name of the tables. The default is "waypost".
	Table string
	// MasqueradeBit is the bit of a packet's mark that says "masquerade", from 0 to 31. The default, for nil, is 14. Others'
	// bits of the mark stay as they are.
	MasqueradeBit *int
}

// defaultBit is kube-proxy's too.
const defaultBit = 14

// Tables is the kernel's two tables. It implements proxy.Kernel.
type Tables struct {
	table    string
	mark     uint32
	conn     *nfnetlink.Conn
	families [2]family
	tx       *transaction

	synced   bool       // what the kernel has is known: the last Sync or Apply succeeded
	node     proxy.Node // that the rules were written for
	made     [2]made
	retired  []retired
	snapshot *snapshot // what Read has read, for a Sync that follows

	audience audience
}

var _ proxy.Kernel = (*Tables)(nil)

// made is what this program has made in a family's table besides elements.
type made struct {
	classes [2]class       // how many classes the rules know, for all endpoints and for local ones
	guards  map[string]int // chains of sources: how many routes use each
	numbers numbers
}

// retired is a chain that nothing leads to any more. Kernels before 6.2 count the element that led to it for a while longer
// and would refuse to delete the chain with it.
type retired struct {
	family familyIndex
	chain  string
	since  time.Time
}

// retirement is how long that while can be.
const retirement = 2 * time.Second

// sendBuffer holds the largest transaction: a chunk and, on top, all endpoints of one route.
const sendBuffer = 32 << 20

// Open opens the tables of the network namespace of the thread that calls it. It changes nothing: Sync does.
func Open(o Options) (*Tables, error) {
	bit := defaultBit
	if o.MasqueradeBit != nil {
		bit = *o.MasqueradeBit
	}
	if bit < 0 || bit > 31 {
		return nil, fmt.Errorf("open nftables: masquerade bit %d: must be from 0 to 31", bit)
	}
	if o.Table == "" {
		o.Table = "waypost"
	}
	conn, err := nfnetlink.Dial(nfnetlink.Options{SendBuffer: sendBuffer, ReceiveBuffer: 1 << 20})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	t := &Tables{table: o.Table, mark: 1 << bit, conn: conn, families: families()}
	t.tx = newTransaction(t.table, &t.families)
	return t, nil
}

// Close ends the connection to the kernel. The routes stay.
func (t *Tables) Close() error { return t.conn.Close() }

// String tells what is where, for logs: "nftables tables ip waypost and ip6 waypost".
func (t *Tables) String() string {
	return fmt.Sprintf("nftables tables %s %s and %s %s", t.families[0].word, t.table, t.families[1].word, t.table)
}

// errUnknown is returned by Apply where the state that it would change is not known.
var errUnknown = errors.New("change nftables: the last change failed, or there was none yet: a Sync must come first")

// Apply implements proxy.Kernel. A change that is larger than some 25,000 elements is made in pieces, each of whole routes.
func (t *Tables) Apply(c *proxy.Changes) error {
	if !t.synced {
		return errUnknown
	}
	if c.Empty() {
		return nil
	}
	t.synced, t.snapshot = false, nil
	if err := t.apply(c); err != nil {
		return err
	}
	t.tx = t.tx.rested()
	t.synced = true
	return nil
}

func (t *Tables) apply(c *proxy.Changes) error {
	if err := t.bury(); err != nil {
		return err
	}
	if err := t.prepare(c); err != nil {
		return err
	}
	for _, r := range c.Routes {
		if err := t.route(r, stateOf(r.Old)); err != nil {
			return err
		}
	}
	t.dismiss(c.Routes)
	for _, h := range c.Hairpins {
		t.hairpin(h.Hairpin, h.Gone)
	}
	for _, a := range c.ClusterIPs {
		t.clusterIP(a.Address, a.Gone)
	}
	return t.tx.commit(t.conn)
}

// prepare writes the rules anew where the node has changed, or where a route has more endpoints than the rules know.
func (t *Tables) prepare(c *proxy.Changes) error {
	if c.Node != nil {
		t.node = *c.Node
	}
	for i := range t.families {
		grown := t.made[i].grow(familyIndex(i), func(yield func(*proxy.Route) bool) {
			for _, r := range c.Routes {
				if r.New != nil && !yield(r.New) {
					return
				}
			}
		})
		if c.Node == nil && !grown {
			continue
		}
		if err := t.writeRules(familyIndex(i)); err != nil {
			return err
		}
	}
	return nil
}

// grow notes the classes that the family's routes need.
func (m *made) grow(family familyIndex, routes func(func(*proxy.Route) bool)) (grown bool) {
	for r := range routes {
		if familyOf(r.Address) != family {
			continue
		}
		for i, list := range [2][]netip.AddrPort{r.Endpoints, r.Local} {
			if len(list) > 0 && classOf(len(list)) >= m.classes[i] {
				m.classes[i] = classOf(len(list)) + 1
				grown = true
			}
		}
	}
	return grown
}

// writeRules makes the sets that are not there, and all rules of the node anew. Packets meet the old ones or the new ones.
func (t *Tables) writeRules(i familyIndex) error {
	f, m := &t.families[i], &t.made[i]
	for id := range sets {
		inUse := id < upTo || id < upTo+setID(m.classes[0]) || id >= localUpTo && id < localUpTo+setID(m.classes[1])
		if inUse {
			t.tx.addSet(f, id)
		}
	}
	p := program{family: f, node: &t.node, mark: t.mark, classes: m.classes}
	return t.tx.addChains(f, p.write())
}

// route brings one route's change into the transaction, given what the kernel has of it.
func (t *Tables) route(c proxy.RouteChange, from state) error {
	if c.New != nil {
		if err := t.chainsOf(c); err != nil {
			return err
		}
	}
	wanted := stateOf(c.New)
	t.tx.move(frontendOf(c), &from, &wanted)
	if t.tx.large() {
		return t.tx.commit(t.conn)
	}
	return nil
}

func frontendOf(c proxy.RouteChange) proxy.Frontend {
	if c.New != nil {
		return c.New.Frontend
	}
	return c.Old.Frontend
}

// hairpin adds or removes one.
func (t *Tables) hairpin(h proxy.Hairpin, gone bool) {
	var space [keySpace]byte
	t.element(familyOf(h.Endpoint.Addr()), hairpins, appendHairpin(space[:0], h), gone)
}

// clusterIP adds or removes one.
func (t *Tables) clusterIP(a netip.Addr, gone bool) {
	var space [keySpace]byte
	t.element(familyOf(a), clusterIPs, appendAddress(space[:0], a), gone)
}

func (t *Tables) element(family familyIndex, id setID, key []byte, gone bool) {
	p := &t.tx.parts[family]
	if gone {
		p.remove(id, key)
	} else {
		p.put(id, key, nil)
	}
}

// retire empties a chain that nothing leads to and keeps it in mind, to be deleted later.
func (t *Tables) retire(family familyIndex, chain string) {
	t.tx.flush(&t.families[family], chain)
	t.retired = append(t.retired, retired{family, chain, time.Now()})
}

// revive forgets that a chain was to be deleted.
func (t *Tables) revive(family familyIndex, chain string) {
	for i, r := range t.retired {
		if r.family == family && r.chain == chain {
			t.retired = append(t.retired[:i], t.retired[i+1:]...)
			return
		}
	}
}

// bury deletes chains that retired long enough ago.
func (t *Tables) bury() error {
	n := 0
	for n < len(t.retired) && time.Since(t.retired[n].since) > retirement {
		n++
	}
	if n == 0 {
		return nil
	}
	for _, r := range t.retired[:n] {
		t.tx.deleteChain(&t.families[r.family], r.chain)
	}
	t.retired = t.retired[n:]
	return t.tx.commit(t.conn)
}

// generation is the number of changes that anyone has made to nf_tables in the network namespace.
func (t *Tables) generation() (uint32, error) {
	var b nfnetlink.Buffer
	b.Begin(kindOf(unix.NFT_MSG_GETGEN), nfnetlink.Acknowledge, unix.AF_UNSPEC)
	b.End()
	var id uint32
	err := t.conn.Ask(&b, func(m nfnetlink.Message) error {
		id = nfnetlink.Uint32(nfnetlink.Attribute(m.Body, unix.NFTA_GEN_ID))
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	return id, nil
}
