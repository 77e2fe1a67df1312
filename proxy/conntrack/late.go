package conntrack

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
)

// late translates answers that come after their flow was removed: a DNS server that others are chosen in place of may have
// a question at that moment. Its answer belongs to no flow any more, and would reach the client with the server's address
// instead of the Service's. A table of its own gives it the Service's, without a flow, for as long as somebody may wait for it:
// most of the time the table is empty. The answer to a client that was masqueraded is lost all the same, as nobody knows its
// port any more; such a client asks again.
type late struct {
	conn     *nftables.Conn
	families [2]lateFamily
	made     bool
}

// lateFamily is the table of IPv4 or IPv6.
type lateFamily struct {
	table  *nftables.Table
	set    *nftables.Set
	source uint32                   // where the source address is in the packet's header
	length uint32                   // of an address
	owing  map[netip.AddrPort]owing // by the server's address and port
}

// owing is what a server that was left may still send.
type owing struct {
	service netip.AddrPort
	until   time.Time // the kernel forgets it then by itself
}

// patience is for how long after it was left a server's answers are translated: more than any client waits for one.
const patience = 30 * time.Second

// lateTable is the name of the tables, of both families. nftables.Tables takes them away in its Cleanup.
const lateTable = "waypost-late"

// newLate connects to the kernel, in the network namespace of the thread that calls it.
func newLate() (*late, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	l := &late{conn: conn}
	for i, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		address := []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeIP6Addr}[i]
		pair := nftables.MustConcatSetType(address, nftables.TypeInetService)
		table := &nftables.Table{Name: lateTable, Family: family}
		l.families[i] = lateFamily{
			table: table, source: []uint32{12, 8}[i], length: address.Bytes,
			set: &nftables.Set{Table: table, Name: "servers", IsMap: true, Concatenation: true, HasTimeout: true, KeyType: pair, DataType: pair},
		}
	}
	return l, nil
}

func (l *late) close() error { return l.conn.CloseLasting() }

// note brings changed routes in, and reports whether the kernel is to know of something.
func (l *late) note(changes []proxy.RouteChange, now time.Time) (changed bool) {
	for _, c := range changes {
		if r := cmp.Or(c.New, c.Old); isDNS(r) && !r.IsNodePort() {
			changed = l.family(r.Address).note(c, netip.AddrPortFrom(r.Address, r.Port), now) || changed
		}
	}
	return changed
}

func (f *lateFamily) note(c proxy.RouteChange, service netip.AddrPort, now time.Time) (changed bool) {
	for server, o := range f.owing {
		switch {
		case !o.until.After(now):
			delete(f.owing, server)
		case o.service == service && (c.New == nil || !owes(c.New, server)):
			delete(f.owing, server)
			changed = true
		}
	}
	if c.Old == nil || c.New == nil {
		return changed
	}
	for _, server := range c.New.Serving {
		// Of two Services with the server, either may be meant.
		if _, there := f.owing[server]; !there && agrees(c.Old, server) && owes(c.New, server) {
			if f.owing == nil {
				f.owing = map[netip.AddrPort]owing{}
			}
			f.owing[server] = owing{service, now.Add(patience)}
			changed = true
		}
	}
	return changed
}

// owes reports whether a server of a route answers questions from before, and gets no new ones.
func owes(r *proxy.Route, server netip.AddrPort) bool {
	return slices.Contains(r.Serving, server) && !agrees(r, server)
}

// write makes the kernel translate what is owed. It writes all of that: nobody knows which elements the kernel has forgotten.
func (l *late) write(now time.Time) error {
	if err := l.make(); err != nil {
		return err
	}
	for i := range l.families {
		f := &l.families[i]
		l.conn.FlushSet(f.set)
		var elements []nftables.SetElement
		for server, o := range f.owing {
			if left := o.until.Sub(now).Truncate(time.Millisecond); left > 0 {
				elements = append(elements, nftables.SetElement{Key: concatenated(server), Val: concatenated(o.service), Timeout: left})
			}
		}
		if len(elements) == 0 {
			continue
		}
		if err := l.conn.SetAddElements(f.set, elements); err != nil {
			return fmt.Errorf("translate late answers: %w", err)
		}
	}
	return l.flush()
}

func (l *late) flush() error {
	if err := l.conn.Flush(); err != nil {
		l.made = false // nothing is known about what is there
		return fmt.Errorf("translate late answers: %w", err)
	}
	return nil
}

func (l *late) family(a netip.Addr) *lateFamily {
	if a.Is4() {
		return &l.families[0]
	}
	return &l.families[1]
}

// make makes the tables, in place of those that a former process has left.
func (l *late) make() error {
	if l.made {
		return nil
	}
	l.made = true
	for i := range l.families {
		f := &l.families[i]
		l.conn.AddTable(f.table)
		l.conn.DelTable(f.table)
		l.conn.AddTable(f.table)
		if err := l.conn.AddSet(f.set, nil); err != nil {
			return fmt.Errorf("translate late answers: %w", err)
		}
		// After the masquerading, which means nothing to them.
		chain := l.conn.AddChain(&nftables.Chain{
			Name: "postrouting", Table: f.table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPostrouting,
			Priority: nftables.ChainPriorityRef(150),
		})
		l.conn.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: f.rule()})
	}
	return l.flush()
}

// The registers are those of 4 bytes, of which an address has as many as it needs and a port has the next.
func (f *lateFamily) registers() (address, port uint32) {
	return unix.NFT_REG32_00, unix.NFT_REG32_00 + f.length/4
}

// rule matches UDP packets that no flow is known of, looks for their source in the map, and gives them what it finds there.
func (f *lateFamily) rule() []expr.Any {
	address, port := f.registers()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Payload{DestRegister: address, Base: expr.PayloadBaseNetworkHeader, Offset: f.source, Len: f.length},
		&expr.Payload{DestRegister: port, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Lookup{SourceRegister: address, DestRegister: address, IsDestRegSet: true, SetName: f.set.Name, SetID: f.set.ID},
		f.writeAddress(address),
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: port, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: 6,
		},
	}
}

// writeAddress writes the source address, and puts the checksums right that it is part of.
func (f *lateFamily) writeAddress(register uint32) expr.Any {
	write := &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.source, Len: f.length,
		CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
	}
	if f.length == 4 { // a header of IPv6 has no checksum of its own
		write.CsumType, write.CsumOffset = expr.CsumTypeInet, 10
	}
	return write
}

// concatenated is an address and a port in registers.
func concatenated(a netip.AddrPort) []byte {
	return append(a.Addr().AsSlice(), byte(a.Port()>>8), byte(a.Port()), 0, 0)
}
