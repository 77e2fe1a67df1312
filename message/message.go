// Package message works on a DNS message (RFC 1035, 6891) where it lies: a request is parsed in place into a Query, and
// a Reply is appended byte by byte behind the question. Nothing is allocated on the way.
//
// A listener (package server) fills a Query and hands it with an empty Reply to the steps of a server block; a step
// answers by appending records to the Reply, or passes. Both values are used again for the next packet, so a step keeps
// neither of them, nor any slice that they return.
package message

// Type is a record or question type (RFC 1035 section 3.2.2 and its successors).
type Type uint16

// The types that have a meaning of their own here.
const (
	TypeNone   Type = 0
	TypeA      Type = 1
	TypeNS     Type = 2
	TypeCNAME  Type = 5
	TypeSOA    Type = 6
	TypePTR    Type = 12
	TypeHINFO  Type = 13
	TypeMX     Type = 15
	TypeTXT    Type = 16
	TypeAAAA   Type = 28
	TypeSRV    Type = 33
	TypeNAPTR  Type = 35
	TypeOPT    Type = 41
	TypeDS     Type = 43
	TypeRRSIG  Type = 46
	TypeNSEC   Type = 47
	TypeDNSKEY Type = 48
	TypeNSEC3  Type = 50
	TypeSVCB   Type = 64
	TypeHTTPS  Type = 65
	TypeIXFR   Type = 251
	TypeAXFR   Type = 252
	TypeANY    Type = 255
)

// Class is a record or question class.
type Class uint16

// The classes (RFC 1035 section 3.2.4).
const (
	ClassIN Class = 1
	ClassCH Class = 3
)

// Rcode is a response code, with the upper eight bits that EDNS adds (RFC 6891 section 6.1.3).
type Rcode uint16

// The response codes in use.
const (
	NoError  Rcode = 0
	FormErr  Rcode = 1
	ServFail Rcode = 2
	NXDomain Rcode = 3
	NotImp   Rcode = 4
	Refused  Rcode = 5
	BadVers  Rcode = 16
)

// The bits of a header's second word (RFC 1035 section 4.1.1, RFC 4035 section 3).
const (
	BitQR uint16 = 1 << 15
	BitAA uint16 = 1 << 10
	BitTC uint16 = 1 << 9
	BitRD uint16 = 1 << 8
	BitRA uint16 = 1 << 7
	BitZ  uint16 = 1 << 6
	BitAD uint16 = 1 << 5
	BitCD uint16 = 1 << 4

	opcodeShift = 11
	opcodeMask  = 0xF
)

// Sizes in bytes.
const (
	HeaderLen    = 12
	MinUDPSize   = 512    // what every client takes over UDP (RFC 1035 section 4.2.1)
	OwnUDPSize   = 1232   // what we announce in OPT: fits the IPv6 minimum MTU, so it is never fragmented
	MaxDatagram  = 65507  // the most that IPv4 UDP carries
	MaxLen       = 65535  // the most that a TCP length prefix counts
	optLen       = 11     // an OPT record without options
	fixedLen     = 10     // a record's type, class, TTL and RDLENGTH
	pointerReach = 0x4000 // offsets below it can be pointed to
)

// Verdict is what a step did with a query.
type Verdict uint8

const (
	// Next passes the query on to the next step of the block.
	Next Verdict = iota
	// Done says that the Reply is complete.
	Done
	// Park asks to be called again off the socket loop, where it may take its time (Query.MayBlock is then true). The
	// Reply is as if the step had not been called.
	Park
	// Drop sends nothing at all.
	Drop
)

// Transport is how a query arrived.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	Transports // how many there are
)

// String is the name that logs and metric labels have for it: "udp" or "tcp".
func (t Transport) String() string {
	if t == UDP {
		return "udp"
	}
	return "tcp"
}
