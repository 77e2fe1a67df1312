package nftables

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"

	"github.com/waypost/waypost/proxy"
)

// state is what a table holds of one frontend: of a route, what the kernel is to have; read from the kernel, what it has.
type state struct {
	sets        uint64 // a bit for each setID that has the frontend as a member
	guard       verdict
	sticky      verdict
	localSticky verdict
	endpoints   []netip.AddrPort // by slot; invalid where the kernel lacks one
	local       []netip.AddrPort
}

// verdict is what a verdict map says about a frontend: its zero value is nothing.
type verdict struct {
	kind  expr.VerdictKind
	chain string
}

func bit(id setID) uint64 { return 1 << id }

// stateOf is what the kernel is to have of a route; of nil, nothing.
func stateOf(r *proxy.Route) state {
	if r == nil {
		return state{}
	}
	s := state{}
	if r.Sources != nil {
		s.guard = verdict{expr.VerdictJump, guardName(r.Sources)}
	}
	switch r.Verdict {
	case proxy.Reject:
		s.sets = bit(rejected)
	case proxy.Drop:
		s.sets = bit(dropped)
	case proxy.Forward:
		s.sets = bit(frontends)
		switch r.Masquerade {
		case proxy.Foreign:
			s.sets |= bit(foreign)
		case proxy.Always:
			s.sets |= bit(masqueraded)
		}
		s.endpoints = capped(r.Endpoints)
	case proxy.Split:
		s.sets = bit(split)
		if len(r.Local) == 0 {
			s.sets |= bit(dropped)
		}
		s.endpoints, s.local = capped(r.Endpoints), capped(r.Local)
	}
	s.sticky = s.choice(r, upTo, s.endpoints)
	s.localSticky = s.choice(r, localUpTo, s.local)
	return s
}

// choice says how one of a frontend's endpoints is chosen: by its class, or by the chain that session affinity needs.
func (s *state) choice(r *proxy.Route, first setID, endpoints []netip.AddrPort) verdict {
	if len(endpoints) == 0 {
		return verdict{}
	}
	if r.Affinity > 0 {
		return verdict{expr.VerdictGoto, stickyName(r.Frontend, first)}
	}
	s.sets |= bit(first + setID(classOf(len(endpoints))))
	return verdict{}
}

func capped(e []netip.AddrPort) []netip.AddrPort { return e[:min(len(e), mostEndpoints)] }

// move brings what differs between two states of a frontend into the transaction.
func (t *transaction) move(f proxy.Frontend, from, to *state) {
	var space [keySpace]byte
	key := appendFrontend(space[:0], f)
	p := &t.parts[familyOf(f.Address)]
	for id, changed := setID(0), from.sets^to.sets; changed != 0; id, changed = id+1, changed>>1 {
		switch {
		case changed&1 == 0:
		case to.sets&bit(id) != 0:
			p.put(id, key, nil)
		default:
			p.remove(id, key)
		}
	}
	p.verdict(guards, key, from.guard, to.guard)
	p.verdict(sticky, key, from.sticky, to.sticky)
	p.verdict(localSticky, key, from.localSticky, to.localSticky)
	p.slots(key, 0, from.endpoints, to.endpoints)
	p.slots(key, localSlot, from.local, to.local)
}

func (p *part) verdict(id setID, key []byte, from, to verdict) {
	if from == to {
		return
	}
	if from != (verdict{}) {
		p.remove(id, key)
	}
	if to != (verdict{}) {
		p.putVerdict(id, key, to)
	}
}

// slots replaces the endpoints that differ. It appends to key for a moment.
func (p *part) slots(key []byte, first uint32, from, to []netip.AddrPort) {
	var space [keySpace]byte
	for i := range max(len(from), len(to)) {
		old, wanted := at(from, i), at(to, i)
		if old == wanted {
			continue
		}
		slot := appendSlot(key, first+uint32(i))
		if old.IsValid() {
			p.remove(endpoints, slot)
		}
		if wanted.IsValid() {
			p.put(endpoints, slot, appendEndpoint(space[:0], wanted))
		}
	}
}

func at(endpoints []netip.AddrPort, slot int) netip.AddrPort {
	if slot < len(endpoints) {
		return endpoints[slot]
	}
	return netip.AddrPort{}
}

// keySpace is what the longest key takes: two IPv6 addresses, a protocol and a port.
const keySpace = 40

// guardName is the name of the chain that lets through those sources only. Routes with the same sources share it.
func guardName(sources []netip.Prefix) string {
	hash := sha256.New()
	for _, s := range sources {
		fmt.Fprintln(hash, s)
	}
	return fmt.Sprintf("sources-%x", hash.Sum(nil)[:8])
}

// stickyName is the name of the chain that keeps clients of a frontend at their endpoints, as "sticky-tcp-80-10.96.0.10".
// nft takes letters, digits and a few signs in names, a colon not among them.
func stickyName(f proxy.Frontend, first setID) string {
	word := "sticky"
	if first == localUpTo {
		word = "local-sticky"
	}
	return fmt.Sprintf("%s-%s-%d-%s", word, f.Protocol, f.Port, strings.ReplaceAll(f.Address.String(), ":", "_"))
}
