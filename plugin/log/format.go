package log

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// A node is a part of a format: a literal text or a value.
type node struct {
	value value
	text  string // of a literal
}

type value uint8

const (
	literal value = iota
	qtype
	class
	name
	proto
	size
	remote
	port
	local
	id
	opcode
	do
	bufsize
	rcode
	rsize
	rflags
	duration
)

// placeholders are the values by what stands between the braces.
var placeholders = map[string]value{
	"type": qtype, "class": class, "name": name, "proto": proto, "size": size, "remote": remote, "port": port,
	"local": local, ">id": id, ">opcode": opcode, ">do": do, ">bufsize": bufsize, "rcode": rcode, "rsize": rsize,
	">rflags": rflags, "duration": duration,
}

// compile cuts a format into its parts. A placeholder ends at the first closing brace and begins at the last opening one
// before it, so that "{ {name} }" is the name within braces. An unknown one stays as it is; {/...} is metadata, of which
// there is none: "-".
func compile(format string) []node {
	var nodes []node
	text := ""
	for {
		end := strings.IndexByte(format, '}')
		if end < 0 {
			return append(nodes, node{text: text + format})
		}
		begin := strings.LastIndexByte(format[:end], '{')
		v, known := placeholders[format[begin+1:end]]
		switch {
		case begin >= 0 && known:
			nodes = append(nodes, node{text: text + format[:begin]}, node{value: v})
			text = ""
		case begin >= 0 && format[begin+1] == '/':
			text += format[:begin] + "-"
		default:
			text += format[:end+1]
		}
		format = format[end+1:]
	}
}

// append appends the node's part of the line.
func (n node) append(line []byte, q *message.Query, r *message.Reply, took time.Duration) []byte {
	switch n.value {
	case literal:
		return append(line, n.text...)
	case qtype:
		return appendCode(line, dns.TypeToString[uint16(q.Type)], "TYPE", uint16(q.Type))
	case class:
		return appendCode(line, dns.ClassToString[uint16(q.Class)], "CLASS", uint16(q.Class))
	case name:
		return message.AppendName(line, q.First().Lower())
	case proto:
		return append(line, q.Transport.String()...)
	case size:
		return strconv.AppendInt(line, int64(q.Size), 10)
	case remote:
		return appendAddr(line, q.From.Addr())
	case port:
		return strconv.AppendUint(line, uint64(q.From.Port()), 10)
	case local:
		return appendAddr(line, q.Local.Addr())
	case id:
		return strconv.AppendUint(line, uint64(q.ID), 10)
	case opcode:
		return strconv.AppendUint(line, uint64(opcodeOf(q)), 10)
	case do:
		return strconv.AppendBool(line, q.EDNS.DO)
	case bufsize:
		return strconv.AppendInt(line, int64(bufsizeOf(q)), 10)
	case rcode:
		return appendCode(line, dns.RcodeToString[int(r.Rcode)], "", uint16(r.Rcode))
	case rsize:
		return strconv.AppendInt(line, int64(r.UncompressedLen()), 10)
	case rflags:
		return appendFlags(line, r.Bits())
	case duration:
		return append(strconv.AppendFloat(line, took.Seconds(), 'f', -1, 64), 's')
	}
	return line
}

// appendCode is the mnemonic of a code, or its number behind a prefix where it has none (RFC 3597 section 5).
func appendCode(line []byte, mnemonic, prefix string, code uint16) []byte {
	if mnemonic != "" {
		return append(line, mnemonic...)
	}
	return strconv.AppendUint(append(line, prefix...), uint64(code), 10)
}

// appendAddr is the address, an IPv6 one in brackets.
func appendAddr(line []byte, addr netip.Addr) []byte {
	if addr = addr.Unmap(); addr.Is4() {
		return addr.AppendTo(line)
	}
	return append(addr.AppendTo(append(line, '[')), ']')
}

func opcodeOf(q *message.Query) uint16 { return q.Bits >> 11 & 0xF }

// bufsizeOf is what the client says it can take: at least 512 over UDP, and anything over TCP.
func bufsizeOf(q *message.Query) int {
	if q.Transport != message.UDP {
		return message.MaxLen
	}
	return max(message.MinUDPSize, int(q.EDNS.UDPSize))
}

var flags = [...]struct {
	bit  uint16
	name string
}{
	{message.BitQR, "qr"}, {message.BitAA, "aa"}, {message.BitTC, "tc"}, {message.BitRD, "rd"},
	{message.BitRA, "ra"}, {message.BitZ, "z"}, {message.BitAD, "ad"}, {message.BitCD, "cd"},
}

func appendFlags(line []byte, bits uint16) []byte {
	for i, f := range flags {
		if bits&f.bit == 0 {
			continue
		}
		if i > 0 { // qr is first, and always set
			line = append(line, ',')
		}
		line = append(line, f.name...)
	}
	return line
}
