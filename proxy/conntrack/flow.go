package conntrack

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// Attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h), as far as they are used here.
const (
	ctaTupleOrig   = 1
	ctaTupleReply  = 2
	ctaStatus      = 3
	ctaID          = 12
	ctaZone        = 18
	ctaFilter      = 25 // Linux 5.8
	ctaStatusMask  = 26 // Linux 5.14; before, the kernel tells of all flows of the protocol
	ctaTupleIP     = 1
	ctaTupleProto  = 2
	ctaIPv4Src     = 1
	ctaIPv4Dst     = 2
	ctaIPv6Src     = 3
	ctaIPv6Dst     = 4
	ctaProtoNum    = 1
	ctaSrcPort     = 2
	ctaDstPort     = 3
	filterOriginal = 1
	filterProto    = 1 << 3 // by protocol number
	messageGet     = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	messageDelete  = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	messageStats   = unix.NFNL_SUBSYS_CTNETLINK<<8 | 5 // IPCTNL_MSG_CT_GET_STATS
)

// Bits of a flow's status.
const (
	seenReply  = 1 << 1
	translated = 1 << 5 // the destination was changed
)

// flow is one entry of the table.
type flow struct {
	protocol cluster.Protocol
	status   uint32
	target   netip.AddrPort // what the client connected to
	endpoint netip.AddrPort // who answers, or would
}

// parseFlow reads what the kernel tells of a flow.
func parseFlow(body []byte) (flow, bool) {
	f := flow{}
	ok := 0
	for kind, value := range nfnetlink.Attributes(body) {
		switch kind {
		case ctaTupleOrig:
			t, whole := parseTuple(value)
			f.protocol, f.target = t.protocol, t.to
			ok += count(whole)
		case ctaTupleReply:
			t, whole := parseTuple(value)
			f.endpoint = t.from
			ok += count(whole)
		case ctaStatus:
			f.status = nfnetlink.Uint32(value)
		}
	}
	return f, ok == 2
}

func count(whole bool) int {
	if whole {
		return 1
	}
	return 0
}

// tuple is one direction of a flow.
type tuple struct {
	protocol cluster.Protocol
	from, to netip.AddrPort
}

func parseTuple(b []byte) (t tuple, whole bool) {
	var source, destination netip.Addr
	for kind, value := range nfnetlink.Attributes(nfnetlink.Attribute(b, ctaTupleIP)) {
		switch kind {
		case ctaIPv4Src, ctaIPv6Src:
			source, _ = netip.AddrFromSlice(value)
		case ctaIPv4Dst, ctaIPv6Dst:
			destination, _ = netip.AddrFromSlice(value)
		}
	}
	var sourcePort, destinationPort uint16
	for kind, value := range nfnetlink.Attributes(nfnetlink.Attribute(b, ctaTupleProto)) {
		switch {
		case kind == ctaProtoNum && len(value) == 1:
			t.protocol = cluster.Protocol(value[0])
		case kind == ctaSrcPort:
			sourcePort = nfnetlink.Uint16(value)
		case kind == ctaDstPort:
			destinationPort = nfnetlink.Uint16(value)
		}
	}
	t.from, t.to = netip.AddrPortFrom(source, sourcePort), netip.AddrPortFrom(destination, destinationPort)
	return t, source.IsValid() && destination.IsValid() && t.protocol != 0
}

// nameOf copies the attributes that name the flow: its addresses, its zone if it has one, and its number, so that nobody
// else's is deleted that has the same addresses later.
func nameOf(body []byte) []byte {
	var name []byte
	for kind, value := range nfnetlink.Attributes(body) {
		switch kind {
		case ctaTupleOrig:
			name = nfnetlink.AppendAttribute(name, kind|unix.NLA_F_NESTED, value)
		case ctaID, ctaZone:
			name = nfnetlink.AppendAttribute(name, kind, value)
		}
	}
	return name
}
