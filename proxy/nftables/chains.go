package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// Two kinds of routes need chains of their own: those that not everybody may use (a chain for each list of sources, shared),
// and those with session affinity (a chain for each frontend). All others share the chains of the program.

// chainsOf makes the chains that a route needs and c.Old did not: at a Sync, where there is no Old, all of them.
func (t *Tables) chainsOf(c proxy.RouteChange) error {
	r := c.New
	if r.Sources != nil {
		if err := t.hire(r); err != nil {
			return err
		}
	}
	if r.Affinity == 0 {
		return nil
	}
	i := familyOf(r.Address)
	ids := t.made[i].numbers.take(r)
	if c.Old != nil && sameAffinity(c.Old, r) {
		return nil
	}
	var made []chain
	for _, first := range [2]setID{upTo, localUpTo} {
		if list := endpointsOf(r, first); len(list) > 0 {
			made = append(made, stickyChain(&t.families[i], r, first, ids))
		}
	}
	for _, m := range made {
		t.revive(i, m.name)
	}
	return t.tx.addChains(&t.families[i], made)
}

// endpointsOf are those of a route among which a client of either kind is kept at one.
func endpointsOf(r *proxy.Route, first setID) []netip.AddrPort {
	switch {
	case first == upTo && (r.Verdict == proxy.Forward || r.Verdict == proxy.Split):
		return capped(r.Endpoints)
	case first == localUpTo && r.Verdict == proxy.Split:
		return capped(r.Local)
	}
	return nil
}

func sameAffinity(r, s *proxy.Route) bool {
	return r.Affinity == s.Affinity && r.Service == s.Service && r.Verdict == s.Verdict &&
		slices.Equal(r.Endpoints, s.Endpoints) && slices.Equal(r.Local, s.Local)
}

// hire makes the chain of a route's sources, unless another route has it already.
func (t *Tables) hire(r *proxy.Route) error {
	i := familyOf(r.Address)
	name := guardName(r.Sources)
	t.made[i].guards[name]++
	if t.made[i].guards[name] > 1 {
		return nil
	}
	t.revive(i, name)
	p := program{family: &t.families[i]}
	c := chain{name: name}
	for _, s := range r.Sources {
		c.rules = append(c.rules, when(s.String(), p.inside(s, p.family.source), jumpTo(expr.VerdictReturn, "")))
	}
	c.rules = append(c.rules, when("", drop()))
	return t.tx.addChains(p.family, []chain{c})
}

// dismiss retires the chains that nothing leads to after the changes, and forgets the numbers of endpoints that left.
func (t *Tables) dismiss(changes []proxy.RouteChange) {
	for _, c := range changes {
		if c.Old == nil {
			continue
		}
		i := familyOf(c.Old.Address)
		m := &t.made[i]
		if c.Old.Sources != nil {
			t.letGo(i, guardName(c.Old.Sources))
		}
		if c.Old.Affinity == 0 {
			continue
		}
		m.numbers.give(c.Old)
		was, is := stateOf(c.Old), stateOf(c.New)
		if was.sticky.chain != "" && is.sticky.chain == "" {
			t.retire(i, was.sticky.chain)
		}
		if was.localSticky.chain != "" && is.localSticky.chain == "" {
			t.retire(i, was.localSticky.chain)
		}
	}
}

func (t *Tables) letGo(i familyIndex, guard string) {
	m := &t.made[i]
	m.guards[guard]--
	if m.guards[guard] == 0 {
		delete(m.guards, guard)
		t.retire(i, guard)
	}
}

// numbers gives every endpoint of a Service port with session affinity a number of its own. In the set affinity, a client
// with the number means: goes there. A number is never given twice, so that when an endpoint leaves, what the set has of it
// means nothing any more, and does so without anybody looking for it.
type numbers struct {
	next uint32
	of   map[servicePort]map[netip.AddrPort]*number
}

type servicePort struct {
	proxy.ServicePort
	protocol cluster.Protocol
}

type number struct {
	id   uint32
	used int // by how many lists of endpoints
}

// newNumbers begins behind a number.
func newNumbers(last uint32) numbers {
	return numbers{next: last, of: map[servicePort]map[netip.AddrPort]*number{}}
}

// lastNumber is one that no former process has reached: none gives one away each second, day by day.
func lastNumber() uint32 { return uint32(time.Now().Unix()) &^ (1 << 31) }

// take notes that the route uses its endpoints' numbers, and tells them.
func (n *numbers) take(r *proxy.Route) map[netip.AddrPort]uint32 {
	port := n.of[portOf(r)]
	if port == nil {
		port = map[netip.AddrPort]*number{}
		n.of[portOf(r)] = port
	}
	ids := map[netip.AddrPort]uint32{}
	for _, first := range [2]setID{upTo, localUpTo} {
		for _, e := range endpointsOf(r, first) {
			if port[e] == nil {
				n.next++
				port[e] = &number{id: n.next}
			}
			port[e].used++
			ids[e] = port[e].id
		}
	}
	return ids
}

// give takes back what take has noted.
func (n *numbers) give(r *proxy.Route) {
	port := n.of[portOf(r)]
	for _, first := range [2]setID{upTo, localUpTo} {
		for _, e := range endpointsOf(r, first) {
			if port[e].used--; port[e].used == 0 {
				delete(port, e)
			}
		}
	}
	if len(port) == 0 {
		delete(n.of, portOf(r))
	}
}

func portOf(r *proxy.Route) servicePort { return servicePort{r.Service, r.Protocol} }

// again is what a Sync begins with: all that were given, used by nobody yet.
func (n *numbers) again() numbers {
	if n.of == nil {
		return newNumbers(lastNumber())
	}
	for _, port := range n.of {
		for _, number := range port {
			number.used = 0
		}
	}
	return *n
}

// learn goes on with the numbers that the kernel's chains have for a route, where this process has given none.
func (n *numbers) learn(r *proxy.Route, k *found) {
	for _, first := range [2]setID{upTo, localUpTo} {
		for _, comment := range k.comments[stickyName(r.Frontend, first)] {
			id, endpoint, _, ok := parseNumbered(comment)
			if !ok {
				continue
			}
			port := n.of[portOf(r)]
			if port == nil {
				port = map[netip.AddrPort]*number{}
				n.of[portOf(r)] = port
			}
			if port[endpoint] == nil {
				port[endpoint] = &number{id: id}
			}
			n.next = max(n.next, id)
		}
	}
}

// forget drops the numbers that no route turned out to use.
func (n *numbers) forget() {
	for port, endpoints := range n.of {
		for e, number := range endpoints {
			if number.used == 0 {
				delete(endpoints, e)
			}
		}
		if len(endpoints) == 0 {
			delete(n.of, port)
		}
	}
}

const numberedFormat = "endpoint %d: %s for %d seconds"

func numbered(id uint32, e netip.AddrPort, seconds uint32) string {
	return fmt.Sprintf(numberedFormat, id, e, seconds)
}

func parseNumbered(comment string) (id uint32, e netip.AddrPort, seconds uint32, ok bool) {
	var endpoint string
	if _, err := fmt.Sscanf(comment, numberedFormat, &id, &endpoint, &seconds); err != nil {
		return 0, e, 0, false
	}
	e, err := netip.ParseAddrPort(endpoint)
	return id, e, seconds, err == nil
}

// stickyChain is the chain that keeps clients of a frontend at their endpoints: first a rule for each endpoint that knows its
// clients, then one for each that takes a client by chance.
func stickyChain(f *family, r *proxy.Route, first setID, ids map[netip.AddrPort]uint32) chain {
	list := endpointsOf(r, first)
	s := stickiness{key{f, r.IsNodePort()}, r}
	c := chain{name: stickyName(r.Frontend, first)}
	for _, e := range list {
		c.rules = append(c.rules, when(numbered(ids[e], e, r.Affinity),
			s.protocol(), s.client(ids[e]), member(affinity), s.remember(), s.translate(e)))
	}
	for i, e := range list {
		c.rules = append(c.rules, when("", s.protocol(), oneIn(len(list)-i), s.client(ids[e]), s.remember(), s.translate(e)))
	}
	// Where the set is full, remember does not match.
	c.rules = append(c.rules, when("too many clients", goTo(s.key.chain(spreadName(first, classOf(len(list)))))))
	return c
}

// stickiness makes the expressions of a sticky chain.
type stickiness struct {
	key   key
	route *proxy.Route
}

// protocol says what is known already. nft wants to read it before a port is translated.
func (s stickiness) protocol() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: []byte{byte(s.route.Protocol)}},
	}
}

// client is the key of affinity: the source address and an endpoint's number. The packet's mark with all bits overwritten is
// how nft can print, and read, a constant within a key.
func (s stickiness) client(id uint32) []expr.Any {
	f := s.key.family
	at := register(f.addressLen)
	return []expr.Any{
		&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: f.source, Len: f.addressLen},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: at},
		&expr.Bitwise{SourceRegister: at, DestRegister: at, Len: 4, Mask: number4(0), Xor: number4(id)},
	}
}

// remember adds the client to affinity, or lets it stay there for longer.
func (s stickiness) remember() []expr.Any {
	return []expr.Any{&expr.Dynset{
		SrcRegKey: register(0), SetName: setName(affinity), Operation: unix.NFT_DYNSET_OP_UPDATE,
		Timeout: time.Duration(s.route.Affinity) * time.Second,
	}}
}

// translate sends the connection to an endpoint.
func (s stickiness) translate(e netip.AddrPort) []expr.Any {
	port := register(s.key.family.addressLen)
	return []expr.Any{
		&expr.Immediate{Register: register(0), Data: appendAddress(nil, e.Addr())},
		&expr.Immediate{Register: port, Data: appendPort(nil, e.Port())[:2]},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: uint32(s.key.family.number), RegAddrMin: register(0), RegProtoMin: port,
		},
	}
}

// oneIn matches one packet in n.
func oneIn(n int) []expr.Any {
	if n == 1 {
		return nil
	}
	return []expr.Any{
		&expr.Numgen{Register: register(0), Modulus: uint32(n), Type: unix.NFT_NG_RANDOM},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: number4(0)},
	}
}
