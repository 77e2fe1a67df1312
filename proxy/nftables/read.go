package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// found is what the kernel has of a family's table.
type found struct {
	exists     bool
	foreign    bool // the table is not as this program makes it: its sets or base chains are of other kinds, or it is dormant
	sets       map[string]set
	chains     map[string]*hook
	comments   map[string][]string // of the rules of chains that are made for routes, in their order
	routes     map[proxy.Frontend]*state
	hairpins   map[proxy.Hairpin]bool
	clusterIPs map[netip.Addr]bool
	odd        map[oddElement]bool
}

// oddElement is one that this program never adds.
type oddElement struct {
	set setID
	key string
}

// readTries is how often a read that a change interrupts is begun again.
const readTries = 10

// read tells what the kernel has. It walks over all elements: for a start, or when somebody else has changed something.
func (t *Tables) read(f *family) (*found, error) {
	for range readTries {
		k, err := t.readOnce(f)
		if !errors.Is(err, nfnetlink.ErrInterrupted) {
			return k, err
		}
	}
	return nil, fmt.Errorf("read nftables table %s %s: it changed during %d tries", f.word, t.table, readTries)
}

func (t *Tables) readOnce(f *family) (*found, error) {
	k := &found{
		sets: map[string]set{}, chains: map[string]*hook{}, comments: map[string][]string{},
		routes: map[proxy.Frontend]*state{}, hairpins: map[proxy.Hairpin]bool{}, clusterIPs: map[netip.Addr]bool{},
		odd: map[oddElement]bool{},
	}
	err := t.ask(f, unix.NFT_MSG_GETSET, "sets", func(b *nfnetlink.Buffer) { b.Text(unix.NFTA_SET_TABLE, t.table) },
		func(m nfnetlink.Message) {
			s := parseSet(m.Body)
			k.sets[s.name] = s
		})
	if errors.Is(err, unix.ENOENT) {
		return k, nil
	}
	dormant := false
	if err == nil {
		k.exists = true
		err = t.eachTable(f, func(name string, flags uint32) {
			dormant = dormant || name == t.table && flags&unix.NFT_TABLE_F_DORMANT != 0
		})
	}
	if err == nil {
		err = t.readChains(f, k)
	}
	if err == nil {
		err = t.readComments(f, k)
	}
	// Kernels refuse to wake a table up in a transaction that adds base chains to it.
	k.foreign = dormant || k.strange(f)
	if err != nil || k.foreign {
		return k, err
	}
	return k, t.readElements(f, k)
}

// ask dumps something of the kernel's.
func (t *Tables) ask(f *family, what uint16, name string, filter func(*nfnetlink.Buffer), each func(nfnetlink.Message)) error {
	var b nfnetlink.Buffer
	b.Begin(kindOf(what), nfnetlink.Dump, f.number)
	filter(&b)
	b.End()
	err := t.conn.Ask(&b, func(m nfnetlink.Message) error {
		each(m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s of nftables table %s %s: %w", name, f.word, t.table, err)
	}
	return nil
}

// eachTable tells of a family's tables, whoever made them.
func (t *Tables) eachTable(f *family, each func(name string, flags uint32)) error {
	var b nfnetlink.Buffer
	b.Begin(kindOf(unix.NFT_MSG_GETTABLE), nfnetlink.Dump, f.number)
	b.End()
	err := t.conn.Ask(&b, func(m nfnetlink.Message) error {
		if m.Family == f.number {
			each(nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_TABLE_NAME)),
				nfnetlink.Uint32(nfnetlink.Attribute(m.Body, unix.NFTA_TABLE_FLAGS)))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the %s tables of nftables: %w", f.word, err)
	}
	return nil
}

func (t *Tables) readChains(f *family, k *found) error {
	return t.ask(f, unix.NFT_MSG_GETCHAIN, "chains", func(*nfnetlink.Buffer) {}, func(m nfnetlink.Message) {
		if nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_CHAIN_TABLE)) != t.table || m.Family != f.number {
			return
		}
		k.chains[nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_CHAIN_NAME))] =
			parseHook(nfnetlink.Attribute(m.Body, unix.NFTA_CHAIN_HOOK))
	})
}

func parseHook(value []byte) *hook {
	if value == nil {
		return nil
	}
	return &hook{
		number:   int32(nfnetlink.Uint32(nfnetlink.Attribute(value, unix.NFTA_HOOK_HOOKNUM))),
		priority: int32(nfnetlink.Uint32(nfnetlink.Attribute(value, unix.NFTA_HOOK_PRIORITY))),
	}
}

// readComments reads the rules of chains that are made for routes. What they say stands in their comments too.
func (t *Tables) readComments(f *family, k *found) error {
	return t.ask(f, unix.NFT_MSG_GETRULE, "rules", func(b *nfnetlink.Buffer) { b.Text(unix.NFTA_RULE_TABLE, t.table) },
		func(m nfnetlink.Message) {
			chain := nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_CHAIN))
			comment, ok := comment(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_USERDATA))
			if ok && madeForRoutes(chain) {
				k.comments[chain] = append(k.comments[chain], comment)
			}
		})
}

// comment is the comment among what nft keeps with a rule.
func comment(data []byte) (string, bool) {
	// The library's reader trusts lengths, and anyone may write what is read here.
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		if data[0] == byte(userdata.TypeComment) {
			return strings.TrimSuffix(string(data[2:2+data[1]]), "\x00"), true
		}
		data = data[2+data[1]:]
	}
	return "", false
}

func madeForRoutes(chain string) bool {
	return strings.HasPrefix(chain, "sources-") || strings.HasPrefix(chain, "sticky-") || strings.HasPrefix(chain, "local-sticky-")
}

// strange reports whether the table cannot be kept: another version of this program or somebody else made it so.
func (k *found) strange(f *family) bool {
	for id := range sets {
		declared := f.declare(id)
		if s, ok := k.sets[declared.name]; ok && !declared.same(&s) {
			return true
		}
	}
	p := program{family: f, node: &proxy.Node{}}
	base := map[string]hook{}
	for _, c := range p.write() {
		if c.hook != nil {
			base[c.name] = *c.hook
		}
	}
	for name, h := range k.chains {
		wanted, isBase := base[name]
		if isBase != (h != nil) || isBase && wanted != *h {
			return true
		}
	}
	return false
}

func (t *Tables) readElements(f *family, k *found) error {
	seed := maphash.MakeSeed()
	for id := range sets {
		if _, ok := k.sets[setName(id)]; !ok || id == affinity {
			continue
		}
		if err := t.readSet(f, id, k, seed); err != nil {
			return err
		}
	}
	return nil
}

// walk stands for the elements that the kernel has told of, whatever their order.
type walk struct {
	elements int
	sum      uint64
}

// readSet reads the elements of a set. Some time after a change, the kernel makes a set's hash table larger or smaller. It
// goes on telling of the elements meanwhile, in an order that is another one then: it leaves some out, tells of some twice,
// and says nothing about it. So what counts is what it tells twice in a row.
func (t *Tables) readSet(f *family, id setID, k *found, seed maphash.Seed) error {
	last := walk{elements: -1}
	for range readTries {
		var now walk
		err := t.ask(f, unix.NFT_MSG_GETSETELEM, "elements", func(b *nfnetlink.Buffer) {
			b.Text(unix.NFTA_SET_ELEM_LIST_TABLE, t.table)
			b.Text(unix.NFTA_SET_ELEM_LIST_SET, setName(id))
		}, func(m nfnetlink.Message) {
			for _, e := range nfnetlink.Attributes(nfnetlink.Attribute(m.Body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				now.elements++
				now.sum += maphash.Bytes(seed, e)
				k.take(f, id, parseElement(e))
			}
		})
		if err != nil || now == last {
			return err
		}
		last = now
	}
	return fmt.Errorf("read set %s of nftables table %s %s: the kernel told of it in %d ways", setName(id), f.word, t.table, readTries)
}

// element is one of a set's, as the kernel tells it.
type element struct {
	key, data []byte
	verdict   verdict
}

func parseElement(b []byte) element {
	e := element{}
	for kind, value := range nfnetlink.Attributes(b) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = nfnetlink.Attribute(value, unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_DATA:
			e.data = nfnetlink.Attribute(value, unix.NFTA_DATA_VALUE)
			if v := nfnetlink.Attribute(value, unix.NFTA_DATA_VERDICT); v != nil {
				e.verdict = verdict{
					expr.VerdictKind(int32(nfnetlink.Uint32(nfnetlink.Attribute(v, unix.NFTA_VERDICT_CODE)))),
					nfnetlink.String(nfnetlink.Attribute(v, unix.NFTA_VERDICT_CHAIN)),
				}
			}
		}
	}
	return e
}

// take adds an element to what was found.
func (k *found) take(f *family, id setID, e element) {
	ok := false
	switch id {
	case clusterIPs:
		var a netip.Addr
		if a, ok = netip.AddrFromSlice(e.key); ok {
			k.clusterIPs[a] = true
		}
	case hairpins:
		var h proxy.Hairpin
		if h, ok = f.parseHairpin(e.key); ok {
			k.hairpins[h] = true
		}
	default:
		ok = k.takeRoute(f, id, e)
	}
	if !ok {
		k.odd[oddElement{id, string(e.key)}] = true
	}
}

// takeRoute adds an element that belongs to a frontend.
func (k *found) takeRoute(f *family, id setID, e element) bool {
	frontend, ok := f.parseFrontend(e.key)
	if !ok {
		return false
	}
	s := k.routes[frontend]
	if s == nil {
		s = &state{}
		k.routes[frontend] = s
	}
	switch id {
	case endpoints:
		endpoint, ok := f.parseEndpoint(e.data)
		return ok && len(e.key) == f.frontendLen()+4 && s.fill(binary.NativeEndian.Uint32(e.key[f.frontendLen():]), endpoint)
	case guards:
		s.guard = e.verdict
	case sticky:
		s.sticky = e.verdict
	case localSticky:
		s.localSticky = e.verdict
	default:
		s.sets |= bit(id)
	}
	return true
}

// fill puts an endpoint in its slot, if there is such a slot.
func (s *state) fill(slot uint32, e netip.AddrPort) bool {
	list := &s.endpoints
	if slot >= localSlot {
		list, slot = &s.local, slot-localSlot
	}
	if slot >= mostEndpoints {
		return false
	}
	for len(*list) <= int(slot) {
		*list = append(*list, netip.AddrPort{})
	}
	(*list)[slot] = e
	return true
}
