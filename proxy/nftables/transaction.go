package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// transaction collects what is to change in the tables of both families, and makes the kernel change it all at once.
type transaction struct {
	table    string
	parts    [2]part
	messages nfnetlink.Buffer
	notes    []note // what each message does, from the second on: the first opens the batch
	commits  uint32 // how many were carried out: each is a generation of nf_tables
}

// part is one family's.
type part struct {
	family  *family
	changes [sets]elements
	touched []setID // those with changes
	size    int     // bytes of all elements
}

// elements of one set, encoded as attributes.
type elements struct{ gone, come []byte }

// note says what a message does, to name it in an error.
type note struct {
	family *family
	does   string // as "add chain"
	name   string
}

// chunk is how many bytes of changes make a transaction large enough to be carried out: the kernel lets nobody else change
// anything meanwhile. It takes about 20 ms.
const chunk = 1 << 20

// mostElements is how many bytes of elements go into one message; an attribute's length has 16 bits.
const mostElements = 60_000

func newTransaction(table string, families *[2]family) *transaction {
	t := &transaction{table: table}
	for i := range families {
		t.parts[i].family = &families[i]
	}
	return t
}

// put adds an element, remove takes one away. A transaction that does both with one key replaces it.
func (p *part) put(id setID, key, data []byte) {
	e := p.touch(id)
	before := len(e.come)
	e.come = appendElement(e.come, key, data)
	p.size += len(e.come) - before
}

func (p *part) remove(id setID, key []byte) {
	e := p.touch(id)
	before := len(e.gone)
	e.gone = appendElement(e.gone, key, nil)
	p.size += len(e.gone) - before
}

func (p *part) putVerdict(id setID, key []byte, v verdict) {
	e := p.touch(id)
	before := len(e.come)
	e.come = appendVerdictElement(e.come, key, v)
	p.size += len(e.come) - before
}

func (p *part) touch(id setID) *elements {
	e := &p.changes[id]
	if len(e.gone) == 0 && len(e.come) == 0 {
		p.touched = append(p.touched, id)
	}
	return e
}

// keeps is how many bytes of memory an empty transaction may hold on to, for the next change of a few endpoints.
const keeps = 64 << 10

// rested is t, or a new one where t has grown large over what it was used for.
func (t *transaction) rested() *transaction {
	held := cap(t.messages.Bytes())
	for i := range t.parts {
		for _, e := range t.parts[i].changes {
			held += cap(e.gone) + cap(e.come)
		}
	}
	if held <= keeps {
		return t
	}
	return &transaction{table: t.table, parts: [2]part{{family: t.parts[0].family}, {family: t.parts[1].family}}}
}

// large reports whether it is time to carry out what there is.
func (t *transaction) large() bool { return t.parts[0].size+t.parts[1].size+t.messages.Size() > chunk }

// commit carries everything out, and the transaction is empty again.
func (t *transaction) commit(c *nfnetlink.Conn) error {
	for i := range t.parts {
		t.finish(&t.parts[i])
	}
	if t.messages.Len() == 0 {
		return nil
	}
	t.messages.Flag(nfnetlink.Acknowledge)
	t.messages.EndBatch(unix.NFNL_SUBSYS_NFTABLES)
	err := c.Execute(&t.messages)
	if err != nil {
		err = t.explain(err)
	} else {
		t.commits++
	}
	t.messages.Reset()
	t.notes = t.notes[:0]
	return err
}

// finish writes the messages of a family's elements: first those that go, so that a key can come again.
func (t *transaction) finish(p *part) {
	slices.Sort(p.touched)
	for _, id := range p.touched {
		e := &p.changes[id]
		t.elements(p.family, unix.NFT_MSG_DELSETELEM, id, e.gone)
		t.elements(p.family, unix.NFT_MSG_NEWSETELEM, id, e.come)
		e.gone, e.come = e.gone[:0], e.come[:0]
	}
	p.touched, p.size = p.touched[:0], 0
}

func (t *transaction) elements(f *family, kind uint16, id setID, list []byte) {
	does := "add elements to set"
	if kind == unix.NFT_MSG_DELSETELEM {
		does = "remove elements of set"
	}
	for len(list) > 0 {
		n := fitting(list)
		t.begin(f, kind, nfnetlink.Create, does, setName(id))
		t.messages.Text(unix.NFTA_SET_ELEM_LIST_TABLE, t.table)
		t.messages.Text(unix.NFTA_SET_ELEM_LIST_SET, setName(id))
		mark := t.messages.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		t.messages.Raw(list[:n])
		t.messages.Close(mark)
		t.messages.End()
		list = list[n:]
	}
}

// fitting is how many bytes of a list of attributes go into one message.
func fitting(list []byte) int {
	if len(list) <= mostElements {
		return len(list)
	}
	n := 0
	for {
		length := (int(binary.NativeEndian.Uint16(list[n:])) + 3) &^ 3
		if n+length > mostElements {
			return n
		}
		n += length
	}
}

// begin opens a message of the batch.
func (t *transaction) begin(f *family, kind, flags uint16, does, name string) {
	if t.messages.Len() == 0 {
		t.messages.BeginBatch(unix.NFNL_SUBSYS_NFTABLES)
	}
	t.notes = append(t.notes, note{f, does, name})
	t.messages.Begin(kindOf(kind), flags, f.number)
}

func kindOf(what uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | what }

// explain names what failed.
func (t *transaction) explain(err error) error {
	var refused *nfnetlink.Error
	if !errors.As(err, &refused) {
		return fmt.Errorf("change nftables table %q: %w", t.table, err)
	}
	doing := fmt.Sprintf("change nftables table %q", t.table)
	if i := refused.Message - 2; i >= 0 && i < len(t.notes) {
		n := t.notes[i]
		doing = fmt.Sprintf("%s %q in nftables table %s %s", n.does, n.name, n.family.word, t.table)
	}
	return fmt.Errorf("%s: %w%s", doing, err, advice(refused.Errno))
}

// advice is what to do about an error.
func advice(errno unix.Errno) string {
	switch errno {
	case unix.EPERM:
		return ": the process needs CAP_NET_ADMIN in the node's network namespace"
	case unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.EINVAL, unix.EPROTONOSUPPORT, unix.ENOENT:
		return ": where the kernel lacks something, it is nf_tables, nf_nat, or one of nft_chain_nat, nft_masq, nft_nat, nft_numgen, nft_fib_*, nft_reject_*"
	}
	return ""
}

// addTable makes the table, if it is not there.
func (t *transaction) addTable(f *family) {
	t.begin(f, unix.NFT_MSG_NEWTABLE, nfnetlink.Create, "add", "table")
	t.messages.Text(unix.NFTA_TABLE_NAME, t.table)
	t.messages.End()
}

// deleteTable takes away a table, which must be there, with all that is in it.
func (t *transaction) deleteTable(f *family, name string) {
	t.begin(f, unix.NFT_MSG_DELTABLE, 0, "delete table", name)
	t.messages.Text(unix.NFTA_TABLE_NAME, name)
	t.messages.End()
}

// addSet makes a set, if it is not there.
func (t *transaction) addSet(f *family, id setID) {
	s := f.declare(id)
	t.begin(f, unix.NFT_MSG_NEWSET, nfnetlink.Create, "add set", s.name)
	s.write(&t.messages, t.table, uint32(id)+1)
}

// deleteSet takes away a set, which must be there and unused.
func (t *transaction) deleteSet(f *family, name string) {
	t.begin(f, unix.NFT_MSG_DELSET, 0, "delete set", name)
	t.messages.Text(unix.NFTA_SET_TABLE, t.table)
	t.messages.Text(unix.NFTA_SET_NAME, name)
	t.messages.End()
}

// addChains makes chains that may lead to each other, and gives them rules instead of those they had.
func (t *transaction) addChains(f *family, chains []chain) error {
	for i := range chains {
		t.addChain(f, &chains[i])
	}
	for i := range chains {
		if err := t.setRules(f, &chains[i]); err != nil {
			return err
		}
	}
	return nil
}

// accept is a base chain's policy: what no rule decides about goes on (NF_ACCEPT).
const accept = 1

func (t *transaction) addChain(f *family, c *chain) {
	t.begin(f, unix.NFT_MSG_NEWCHAIN, nfnetlink.Create, "add chain", c.name)
	t.messages.Text(unix.NFTA_CHAIN_TABLE, t.table)
	t.messages.Text(unix.NFTA_CHAIN_NAME, c.name)
	if c.hook != nil {
		mark := t.messages.Nest(unix.NFTA_CHAIN_HOOK)
		t.messages.Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(c.hook.number))
		t.messages.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.hook.priority))
		t.messages.Close(mark)
		t.messages.Uint32(unix.NFTA_CHAIN_POLICY, accept)
		t.messages.Text(unix.NFTA_CHAIN_TYPE, "nat")
	}
	t.messages.End()
}

func (t *transaction) setRules(f *family, c *chain) error {
	t.flush(f, c.name)
	for _, r := range c.rules {
		t.begin(f, unix.NFT_MSG_NEWRULE, nfnetlink.Create|nfnetlink.Append, "add a rule to chain", c.name)
		t.messages.Text(unix.NFTA_RULE_TABLE, t.table)
		t.messages.Text(unix.NFTA_RULE_CHAIN, c.name)
		mark := t.messages.Nest(unix.NFTA_RULE_EXPRESSIONS)
		for _, e := range r.exprs {
			encoded, err := expr.Marshal(f.number, e)
			if err != nil {
				return fmt.Errorf("encode a rule of chain %q: %w", c.name, err)
			}
			t.messages.Value(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, encoded)
		}
		t.messages.Close(mark)
		if r.comment != "" {
			t.messages.Value(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, r.comment))
		}
		t.messages.End()
	}
	return nil
}

// flush takes the rules out of a chain.
func (t *transaction) flush(f *family, name string) {
	t.begin(f, unix.NFT_MSG_DELRULE, 0, "empty chain", name)
	t.messages.Text(unix.NFTA_RULE_TABLE, t.table)
	t.messages.Text(unix.NFTA_RULE_CHAIN, name)
	t.messages.End()
}

// deleteChain takes away a chain, which must be there and unused.
func (t *transaction) deleteChain(f *family, name string) {
	t.begin(f, unix.NFT_MSG_DELCHAIN, 0, "delete chain", name)
	t.messages.Text(unix.NFTA_CHAIN_TABLE, t.table)
	t.messages.Text(unix.NFTA_CHAIN_NAME, name)
	t.messages.End()
}

// appendElement appends an element as a list of elements holds it; data is nil for a set's, or for one that goes.
func appendElement(b, key, data []byte) []byte {
	length := nested(len(key))
	if data != nil {
		length += nested(len(data))
	}
	b = nfnetlink.AppendHead(b, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, length)
	b = appendValue(b, unix.NFTA_SET_ELEM_KEY, key)
	if data != nil {
		b = appendValue(b, unix.NFTA_SET_ELEM_DATA, data)
	}
	return b
}

// nested is the length of a value within two attributes.
func nested(n int) int { return 8 + n }

// appendValue appends a value whose length is a multiple of four, as keys and data are.
func appendValue(b []byte, kind uint16, value []byte) []byte {
	b = nfnetlink.AppendHead(b, kind|unix.NLA_F_NESTED, 4+len(value))
	b = nfnetlink.AppendHead(b, unix.NFTA_DATA_VALUE, len(value))
	return append(b, value...)
}

func appendVerdictElement(b, key []byte, v verdict) []byte {
	code := nfnetlink.AppendAttribute(nil, unix.NFTA_VERDICT_CODE, binary.BigEndian.AppendUint32(nil, uint32(v.kind)))
	if v.chain != "" {
		code = nfnetlink.AppendAttribute(code, unix.NFTA_VERDICT_CHAIN, append([]byte(v.chain), 0))
	}
	data := nfnetlink.AppendAttribute(nil, unix.NFTA_DATA_VERDICT|unix.NLA_F_NESTED, code)
	element := appendValue(nil, unix.NFTA_SET_ELEM_KEY, key)
	element = nfnetlink.AppendAttribute(element, unix.NFTA_SET_ELEM_DATA|unix.NLA_F_NESTED, data)
	return nfnetlink.AppendAttribute(b, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, element)
}
