package nftables

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// setID numbers the sets and maps of a table. All that changes from day to day are their elements.
type setID uint8

const (
	frontends   setID = iota // the frontends of proxy.Forward
	split                    // the frontends of proxy.Split
	foreign                  // those where proxy.Foreign is masqueraded
	masqueraded              // those where proxy.Always is
	rejected                 // the frontends of proxy.Reject
	dropped                  // those of proxy.Drop, and those of proxy.Split that have no endpoint for clients from outside
	endpoints                // a frontend's endpoints, by slot
	guards                   // the frontends that not everybody may use, and who may
	sticky                   // the frontends with session affinity, and the chain of their endpoints
	localSticky              // the same for the local endpoints of split
	affinity                 // who was sent to which endpoint last
	hairpins                 // the endpoints of this node, as they reach themselves
	clusterIPs               // the addresses whose other ports are rejected
	upTo                     // the first of those that tell how many endpoints a frontend has, see class
	localUpTo   = upTo + classes
	sets        = localUpTo + classes
)

// class groups numbers of endpoints: class 0 is one, class 1 two, class 2 three and four, class 3 five to eight, and so on.
// The number of a frontend's endpoints is told by its being in the set upTo + class. A class instead of the number keeps the
// rules few, and a set instead of a verdict map spares the kernel to walk all of the map's targets again with each change:
// 1.9 ms at 14,000 frontends, when it was measured.
type class uint8

// classes is how many there are, so that slots fit into 16 bits.
const classes = 17

// mostEndpoints is how many one frontend can have; what is beyond is left out.
const mostEndpoints = 1 << (classes - 1)

// classOf is the class of n endpoints, n above 0.
func classOf(n int) class { return class(bits.Len(uint(min(n, mostEndpoints) - 1))) }

// slots is the largest number of endpoints in the class.
func (c class) slots() int { return 1 << c }

// least is the smallest number of endpoints in the class.
func (c class) least() int {
	if c == 0 {
		return 1
	}
	return 1<<(c-1) + 1
}

// localSlot is the first slot of a split frontend's local endpoints.
const localSlot = mostEndpoints

// Types as nft numbers them. A key of several parts has their numbers side by side, 6 bits each.
const (
	typeInteger = 4
	typeProto   = 12
	typeService = 13
	typeMark    = 19
	typeBits    = 6
	typeVerdict = 0xffffff00 // NFT_DATA_VERDICT
)

// affinitySize bounds the memory that clients with many addresses can take: about 100 bytes each.
const affinitySize = 1 << 18

// set is what a set or map is declared to be.
type set struct {
	name     string
	comment  string
	flags    uint32
	keyType  uint32
	keyLen   uint32
	dataType uint32 // 0 for a set
	dataLen  uint32
	size     uint32 // how many elements at most, 0 for no bound
	userdata []byte // what nft wants to know to print the set
}

// declare tells what the set id is.
func (f *family) declare(id setID) set {
	s := set{name: setName(id), comment: setComment(id)}
	address := f.addressType
	frontend := address<<(2*typeBits) | typeProto<<typeBits | typeService
	s.keyType, s.keyLen = frontend, f.addressLen+8
	switch id {
	case endpoints:
		s.keyType, s.keyLen = frontend<<typeBits|typeInteger, f.addressLen+12
		s.dataType, s.dataLen = address<<typeBits|typeService, f.addressLen+4
		s.flags = unix.NFT_SET_MAP
		s.userdata = f.typeOf()
	case guards, sticky, localSticky:
		s.dataType = typeVerdict
		s.flags = unix.NFT_SET_MAP
	case affinity:
		s.keyType, s.keyLen = address<<typeBits|typeMark, f.addressLen+4
		s.flags, s.size = unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL, affinitySize
	case hairpins:
		s.keyType, s.keyLen = address<<(3*typeBits)|frontend, 2*f.addressLen+8
	case clusterIPs:
		s.keyType, s.keyLen = address, f.addressLen
	}
	s.userdata = userdata.AppendString(s.userdata, userdata.NFTNL_UDATA_SET_COMMENT, s.comment)
	return s
}

func setName(id setID) string {
	switch {
	case id >= localUpTo:
		return fmt.Sprintf("local-up-to-%d", class(id-localUpTo).slots())
	case id >= upTo:
		return fmt.Sprintf("up-to-%d", class(id-upTo).slots())
	}
	return [...]string{"frontends", "split", "foreign", "masqueraded", "rejected", "dropped", "endpoints", "guards", "sticky",
		"local-sticky", "affinity", "hairpins", "cluster-ips"}[id]
}

func setComment(id setID) string {
	switch {
	case id >= localUpTo:
		return classComment(class(id-localUpTo)) + " on this node"
	case id >= upTo:
		return classComment(class(id - upTo))
	}
	return [...]string{
		"what is routed; a NodePort has the address zero",
		"what is routed by where it comes from: externalTrafficPolicy Local",
		"masqueraded, but not for Pods",
		"masqueraded",
		"nobody serves it",
		"nobody serves it here",
		"frontend and slot to endpoint; slots from 65536 are for clients from outside",
		"who may use it",
		"session affinity",
		"session affinity for clients from outside",
		"client and endpoint's number in its Service",
		"endpoints of this node, by themselves",
		"other ports are rejected",
	}[id]
}

func classComment(c class) string {
	switch c {
	case 0:
		return "has one endpoint"
	case 1:
		return "has two endpoints"
	}
	return fmt.Sprintf("has %d to %d endpoints", c.least(), c.slots())
}

// same reports whether the set as the kernel has it can stay. How long a verdict is, is the kernel's own affair.
func (s *set) same(k *set) bool {
	return s.name == k.name && s.flags == k.flags && s.keyType == k.keyType && s.keyLen == k.keyLen &&
		s.dataType == k.dataType && (s.dataLen == k.dataLen || s.dataType == typeVerdict) && s.size == k.size
}

// anonymous reports whether the set belongs to a rule.
func (s *set) anonymous() bool { return s.flags&unix.NFT_SET_ANONYMOUS != 0 }

// write appends what a message that makes the set says, and ends it.
func (s *set) write(b *nfnetlink.Buffer, table string, id uint32) {
	b.Text(unix.NFTA_SET_TABLE, table)
	b.Text(unix.NFTA_SET_NAME, s.name)
	b.Uint32(unix.NFTA_SET_FLAGS, s.flags)
	b.Uint32(unix.NFTA_SET_KEY_TYPE, s.keyType)
	b.Uint32(unix.NFTA_SET_KEY_LEN, s.keyLen)
	if s.dataType != 0 {
		b.Uint32(unix.NFTA_SET_DATA_TYPE, s.dataType)
		b.Uint32(unix.NFTA_SET_DATA_LEN, s.dataLen)
	}
	if s.size != 0 {
		mark := b.Nest(unix.NFTA_SET_DESC)
		b.Uint32(unix.NFTA_SET_DESC_SIZE, s.size)
		b.Close(mark)
	}
	b.Uint32(unix.NFTA_SET_ID, id)
	b.Value(unix.NFTA_SET_USERDATA, s.userdata)
	b.End()
}

// parseSet reads the message that tells of a set.
func parseSet(body []byte) set {
	s := set{}
	for kind, value := range nfnetlink.Attributes(body) {
		switch kind {
		case unix.NFTA_SET_NAME:
			s.name = nfnetlink.String(value)
		case unix.NFTA_SET_FLAGS:
			s.flags = nfnetlink.Uint32(value)
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = nfnetlink.Uint32(value)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLen = nfnetlink.Uint32(value)
		case unix.NFTA_SET_DATA_TYPE:
			s.dataType = nfnetlink.Uint32(value)
		case unix.NFTA_SET_DATA_LEN:
			s.dataLen = nfnetlink.Uint32(value)
		case unix.NFTA_SET_DESC:
			s.size = nfnetlink.Uint32(nfnetlink.Attribute(value, unix.NFTA_SET_DESC_SIZE))
		}
	}
	return s
}

// Numbers of expressions and of fields that nft stores with a set, so that it can print the set as it was written: see
// libnftnl's udata.h and nft's expression.h, proto.h.
const (
	exprPayload    = 7
	exprMeta       = 9
	exprConcat     = 13
	exprNumgen     = 23
	protoTransport = 11
	fieldPort      = 2
	metaL4Proto    = 16
)

// typeOf is how nft knows that the map endpoints is "typeof ip daddr . meta l4proto . th dport . numgen random mod 65536 :
// ip daddr . th dport". A number like numgen's has no type of its own that nft could print in a key.
func (f *family) typeOf() []byte {
	protocol, field := uint32(12), uint32(12)
	if f.number == unix.NFPROTO_IPV6 {
		protocol, field = 13, 9
	}
	address := expression(exprPayload, fields(protocol, field))
	port := expression(exprPayload, fields(protoTransport, fieldPort))
	l4proto := expression(exprMeta, fields(metaL4Proto))
	slot := expression(exprNumgen, fields(1, 1<<16, 0))
	b := userdata.Append(nil, userdata.NFTNL_UDATA_SET_KEY_TYPEOF, expression(exprConcat, list(address, l4proto, port, slot)))
	return userdata.Append(b, userdata.NFTNL_UDATA_SET_DATA_TYPEOF, expression(exprConcat, list(address, port)))
}

// expression is an expression's number and what it is made of.
func expression(number uint32, data []byte) []byte {
	return list(number4(number), data)
}

// fields are attributes numbered from 0, each a number in the machine's byte order.
func fields(values ...uint32) []byte {
	attributes := make([][]byte, len(values))
	for i, v := range values {
		attributes[i] = number4(v)
	}
	return list(attributes...)
}

func number4(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// list are attributes numbered from 0.
func list(values ...[]byte) []byte {
	var b []byte
	for i, v := range values {
		b = userdata.Append(b, userdata.Type(i), v)
	}
	return b
}
