package nftables

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
)

// program is what decides about new connections: chains and rules that depend on nothing but the node's configuration and on
// how many classes are in use. All that Services need of the kernel is in sets, so that a change of one costs the same at
// any size. The chains are of type nat: only a connection's first packet comes through them.
//
//	prerouting, output -> services -> frontend -> balance -> spread-4 -> pick-4
//	                              |-> split ----> balance
//	                              |         `---> local-balance -> local-spread-2
//	                     nodeports -> nodeport-frontend, nodeport-split: the same with the address zero as key
//	unrouted-prerouting, unrouted-output -> unrouted, then unowned
//	postrouting
//
// What is rejected or dropped because nobody serves it comes after everybody's translation of destinations, others' too.
type program struct {
	family  *family
	node    *proxy.Node
	mark    uint32   // the bit that says "masquerade"
	classes [2]class // how many classes there are for all endpoints, and for local ones
	chains  []chain
}

// chain is a chain of the table.
type chain struct {
	name  string
	hook  *hook // nil for one that others lead to
	rules []rule
}

// hook is where and when packets come to a base chain.
type hook struct{ number, priority int32 }

// rule is a list of expressions: as soon as one does not match, the next rule is asked.
type rule struct {
	exprs   []expr.Any
	comment string
}

// tries is how often a random slot of a class is tried that may be free. Fewer than half are, so 10 misses in a row happen
// to one connection in 1,024 at worst, and in that case the choice is among the slots of the class below, which are all taken:
// nobody's share is off by more than one part in a thousand.
const tries = 10

// Priorities of the base chains. Sources that are shut out are dropped with the routing, at the priority of destination NAT.
const (
	priorityRoute    = -100
	priorityUnrouted = -90
	prioritySource   = 100
)

// write makes the chains of the program.
func (p *program) write() []chain {
	p.chains = nil
	p.base("prerouting", unix.NF_INET_PRE_ROUTING, priorityRoute, when("", jump("services")))
	p.base("output", unix.NF_INET_LOCAL_OUT, priorityRoute, when("", jump("services")))
	p.base("unrouted-prerouting", unix.NF_INET_PRE_ROUTING, priorityUnrouted, when("", jump("unrouted")),
		when("what the node itself listens on", p.local("destination"), jumpTo(expr.VerdictReturn, "")), when("", jump("unowned")))
	p.base("unrouted-output", unix.NF_INET_LOCAL_OUT, priorityUnrouted, when("", jump("unrouted")), when("", jump("unowned")))
	p.postrouting()
	p.chain("refuse", rule{exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: p.family.unreachable}}})
	p.services()
	p.unrouted()
	p.unowned()
	for _, k := range []key{{p.family, false}, {p.family, true}} {
		p.frontend(k)
		p.split(k)
		p.balance(k, "balance", upTo, sticky, p.classes[0])
		p.balance(k, "local-balance", localUpTo, localSticky, p.classes[1])
	}
	return p.chains
}

func (p *program) chain(name string, rules ...rule) {
	p.chains = append(p.chains, chain{name: name, rules: rules})
}

func (p *program) base(name string, number, priority int32, rules ...rule) {
	p.chains = append(p.chains, chain{name, &hook{number, priority}, rules})
}

func (p *program) postrouting() {
	k := key{p.family, false}
	p.base("postrouting", unix.NF_INET_POST_ROUTING, prioritySource,
		when("", p.marked(), p.setMark(0xffffffff, p.mark), masquerade()),
		when("an endpoint that reaches itself", translated(), k.sourceFirst(), member(hairpins), masquerade()))
}

// services sends a packet to whatever it is addressed to.
func (p *program) services() {
	p.chain("services", append(p.sorts(key{p.family, false}), p.toNodePorts("nodeports")...)...)
	p.chain("nodeports", p.sorts(key{p.family, true})...)
}

// sorts are the rules that tell the sorts of frontends.
func (p *program) sorts(k key) []rule {
	return []rule{
		when("", k.load(), verdictOf(guards)),
		when("", k.load(), member(frontends), goTo(k.chain("frontend"))),
		when("", k.load(), member(split), goTo(k.chain("split"))),
	}
}

// toNodePorts are the rules that know the addresses on which NodePorts are open.
func (p *program) toNodePorts(chain string) (rules []rule) {
	for _, prefix := range p.node.NodePorts {
		if p.family.has(prefix.Addr()) {
			rules = append(rules, when("", p.inside(prefix, p.family.destination),
				p.outside(p.family.loopback, p.family.destination), p.local("destination"), goTo(chain)))
		}
	}
	return rules
}

// unrouted ends what nobody serves.
func (p *program) unrouted() {
	unserved := func(k key) []rule {
		return []rule{
			when("nobody serves it", k.load(), member(rejected), goTo("refuse")),
			when("nobody serves it here", k.load(), member(dropped), drop()),
		}
	}
	p.chain("unrouted", append(unserved(key{p.family, false}), p.toNodePorts("unrouted-nodeports")...)...)
	p.chain("unrouted-nodeports", unserved(key{p.family, true})...)
}

// unowned ends what is addressed to where Services are, and to none of their ports. Packets that come to an address of the
// node's own are left alone before that: caches of DNS listen on addresses of Services.
func (p *program) unowned() {
	rules := []rule{when("a port that the Service does not have", p.address(p.family.destination), member(clusterIPs), goTo("refuse"))}
	for _, prefix := range p.node.ServiceRanges {
		if p.family.has(prefix.Addr()) {
			rules = append(rules, when("no Service has this address (yet)", p.inside(prefix, p.family.destination), drop()))
		}
	}
	p.chain("unowned", rules...)
}

// frontend decides who is masqueraded.
func (p *program) frontend(k key) {
	var rules []rule
	if p.node.Pods.Knows(p.family.loopback.Addr()) {
		rules = append(rules, when("", p.fromPods(false), k.load(), member(foreign), p.setMark(^p.mark, p.mark)))
	}
	p.chain(k.chain("frontend"), append(rules,
		when("", k.load(), member(masqueraded), p.setMark(^p.mark, p.mark)),
		when("", goTo(k.chain("balance"))))...)
}

// split decides by where a connection comes from.
func (p *program) split(k key) {
	var rules []rule
	if p.node.Pods.Knows(p.family.loopback.Addr()) {
		rules = append(rules, when("Pods of the cluster", p.fromPods(true), goTo(k.chain("balance"))))
	}
	p.chain(k.chain("split"), append(rules,
		when("the node itself", p.local("source"), p.setMark(^p.mark, p.mark), goTo(k.chain("balance"))),
		when("everyone else", goTo(k.chain("local-balance"))))...)
}

// balance finds out how many endpoints there are, and makes the chains that choose one.
func (p *program) balance(k key, name string, first, affine setID, n class) {
	var rules []rule
	for c := range n {
		spread := k.chain(spreadName(first, c))
		rules = append(rules, when("", k.load(), member(first+setID(c)), goTo(spread)))
		p.spread(k, spread, c, first)
	}
	p.chain(k.chain(name), append(rules, when("", k.load(), verdictOf(affine)))...)
}

func spreadName(first setID, c class) string {
	if first == localUpTo {
		return fmt.Sprintf("local-spread-%d", c.slots())
	}
	return fmt.Sprintf("spread-%d", c.slots())
}

// spread chooses one of the endpoints of a class, each as likely as the other. All tries are one rule, to which there are
// many ways: for each rule that may look up an element, the kernel checks it once more when it is added, and each element
// when the rule is.
func (p *program) spread(k key, name string, c class, first setID) {
	if c > 1 {
		var rules []rule
		for range tries {
			rules = append(rules, when("", jump(k.chain(pickName(first, c)))))
		}
		p.chain(name, append(rules, when("", goTo(k.chain(pickName(first, c-1)))))...)
		name = k.chain(pickName(first, c))
	}
	offset := uint32(0)
	if first == localUpTo {
		offset = localSlot
	}
	p.chain(name, when("", k.load(), k.slot(c.slots(), offset), k.translate()))
}

// pickName is the name of the chain that tries one slot of a class.
func pickName(first setID, c class) string {
	switch {
	case c <= 1: // all slots are taken
		return spreadName(first, c)
	case first == localUpTo:
		return fmt.Sprintf("local-pick-%d", c.slots())
	}
	return fmt.Sprintf("pick-%d", c.slots())
}

// key is how a frontend's key comes into the registers: a packet's destination address or, for a NodePort, zero, then its
// protocol and port. It begins in the first register.
type key struct {
	family   *family
	nodePort bool
}

// chain is the name of the chain that works with the key.
func (k key) chain(name string) string {
	if k.nodePort {
		return "nodeport-" + name
	}
	return name
}

// register is the number of the register, 4 bytes long, that begins n bytes behind the first.
func register(n uint32) uint32 { return unix.NFT_REG32_00 + n/4 }

func (k key) load() []expr.Any {
	address := []expr.Any{&expr.Payload{
		DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: k.family.destination, Len: k.family.addressLen,
	}}
	if k.nodePort {
		address = append(address, &expr.Bitwise{
			SourceRegister: register(0), DestRegister: register(0), Len: k.family.addressLen,
			Mask: make([]byte, k.family.addressLen), Xor: make([]byte, k.family.addressLen),
		})
	}
	return append(address, k.transport(k.family.addressLen)...)
}

// sourceFirst is the key of hairpins.
func (k key) sourceFirst() []expr.Any {
	return append([]expr.Any{
		&expr.Payload{
			DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: k.family.source, Len: k.family.addressLen,
		},
		&expr.Payload{
			DestRegister: register(k.family.addressLen), Base: expr.PayloadBaseNetworkHeader,
			Offset: k.family.destination, Len: k.family.addressLen,
		},
	}, k.transport(2*k.family.addressLen)...)
}

// transport loads the protocol and the destination port.
func (k key) transport(at uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(at)},
		&expr.Payload{DestRegister: register(at + 4), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// slot adds a random slot to the key.
func (k key) slot(modulus int, offset uint32) []expr.Any {
	return []expr.Any{&expr.Numgen{
		Register: register(k.family.addressLen + 8), Modulus: uint32(modulus), Type: unix.NFT_NG_RANDOM, Offset: offset,
	}}
}

// translate sends the connection to the endpoint in the slot. A slot that is free does not match.
func (k key) translate() []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: register(0), DestRegister: register(0), IsDestRegSet: true, SetName: setName(endpoints)},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: uint32(k.family.number),
			RegAddrMin: register(0), RegProtoMin: register(k.family.addressLen),
		},
	}
}

// member matches where the key is in the set.
func member(id setID) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), SetName: setName(id)}}
}

// verdictOf does what the map says about the key.
func verdictOf(id setID) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: setName(id)}}
}

func jumpTo(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

func jump(chain string) []expr.Any { return jumpTo(expr.VerdictJump, chain) }

func goTo(chain string) []expr.Any { return jumpTo(expr.VerdictGoto, chain) }

func drop() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{FullyRandom: true}} }

// translated matches connections whose destination was changed.
func translated() []expr.Any {
	const translated = 1 << 5 // IPS_DST_NAT
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: register(0)},
		masked(4, number4(translated), make([]byte, 4)),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register(0), Data: make([]byte, 4)},
	}
}

// marked matches packets that are to be masqueraded.
func (p *program) marked() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0)},
		masked(4, number4(p.mark), make([]byte, 4)),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register(0), Data: make([]byte, 4)},
	}
}

// setMark makes the packet's mark mark & mask ^ bits.
func (p *program) setMark(mask, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0)},
		masked(4, number4(mask), number4(bits)),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(0), SourceRegister: true},
	}
}

func masked(n uint32, mask, xor []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: n, Mask: mask, Xor: xor}
}

// local matches where the "source" or "destination" is an address of the node.
func (p *program) local(which string) []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: register(0), ResultADDRTYPE: true, FlagSADDR: which == "source", FlagDADDR: which == "destination"},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: number4(unix.RTN_LOCAL)},
	}
}

// address loads the address at offset of the header.
func (p *program) address(offset uint32) []expr.Any {
	return []expr.Any{&expr.Payload{
		DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: p.family.addressLen,
	}}
}

// inside matches where the address at offset is in prefix, outside where it is not.
func (p *program) inside(prefix netip.Prefix, offset uint32) []expr.Any {
	if prefix.Bits() == 0 {
		return nil
	}
	return p.compare(prefix, offset, expr.CmpOpEq)
}

func (p *program) outside(prefix netip.Prefix, offset uint32) []expr.Any {
	return p.compare(prefix, offset, expr.CmpOpNeq)
}

func (p *program) compare(prefix netip.Prefix, offset uint32, op expr.CmpOp) []expr.Any {
	exprs := p.address(offset)
	if !prefix.IsSingleIP() {
		exprs = append(exprs, masked(p.family.addressLen, maskOf(prefix), make([]byte, p.family.addressLen)))
	}
	return append(exprs, &expr.Cmp{Op: op, Register: register(0), Data: appendAddress(nil, prefix.Masked().Addr())})
}

func maskOf(prefix netip.Prefix) []byte {
	ones, _ := netip.AddrFromSlice(bytes.Repeat([]byte{0xff}, prefix.Addr().BitLen()/8))
	masked, _ := ones.Prefix(prefix.Bits())
	return appendAddress(nil, masked.Addr())
}

// fromPods matches connections of Pods, or those of others.
func (p *program) fromPods(yes bool) []expr.Any {
	op := expr.CmpOpNeq
	if yes {
		op = expr.CmpOpEq
	}
	switch d := &p.node.Pods; {
	case d.Interface != "":
		return comesIn(op, fmt.Appendf(nil, "%s%s", d.Interface, make([]byte, unix.IFNAMSIZ-len(d.Interface))))
	case d.InterfacePrefix != "":
		return comesIn(op, []byte(d.InterfacePrefix))
	}
	for _, prefix := range p.node.Pods.Prefixes {
		if p.family.has(prefix.Addr()) {
			return p.compare(prefix, p.family.source, op)
		}
	}
	return nil
}

// comesIn compares the beginning of the name of the interface that the packet came in on.
func comesIn(op expr.CmpOp, name []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register(0)},
		&expr.Cmp{Op: op, Register: register(0), Data: name},
	}
}

// when is a rule out of parts.
func when(comment string, parts ...[]expr.Any) rule { return rule{concat(parts...), comment} }

func concat(parts ...[]expr.Any) []expr.Any {
	var exprs []expr.Any
	for _, p := range parts {
		exprs = append(exprs, p...)
	}
	return exprs
}
