package records

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/waypost/waypost/message"
)

// srvSet is a compiled SRV RRset with the addresses of its targets. The owner, the Service's labels and the zone are the
// same for all records, so only what differs is kept, record by record:
//
//	weight 2, port 2, length of host 1, host in wire form, number of addresses 2, each as length 1 and bytes 4 or 16
type srvSet struct {
	records []byte
}

// append encodes one record behind those of its set.
func (s *srvRecord) append(set []byte, weight uint16) []byte {
	set = binary.BigEndian.AppendUint16(set, weight)
	set = binary.BigEndian.AppendUint16(set, s.port)
	set = append(set, byte(len(s.host)))
	set = append(set, s.host...)
	set = binary.BigEndian.AppendUint16(set, uint16(len(s.glue)))
	for _, ip := range s.glue {
		set = appendIP(set, ip)
	}
	return set
}

func appendIP(set []byte, ip netip.Addr) []byte {
	if ip.Is4() {
		b := ip.As4()
		return append(append(set, 4), b[:]...)
	}
	b := ip.As16()
	return append(append(set, 16), b[:]...)
}

// srvView is one record of a set as it stands in the bytes.
type srvView struct {
	weight, port uint16
	host         []byte
	glue         []byte // without the count
}

// next splits the first record off a set.
func (s srvSet) next() (srvView, srvSet) {
	b := s.records
	n := int(b[4])
	v := srvView{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[5 : 5+n], nil}
	rest := b[7+n:]
	end := 0
	for count := binary.BigEndian.Uint16(b[5+n:]); count > 0; count-- {
		end += 1 + int(rest[end])
	}
	v.glue = rest[:end]
	return v, srvSet{rest[end:]}
}

// srvName is what the targets of a set share behind their hosts, in wire form.
type srvName struct {
	prefix string // the labels before the zone
	zone   []byte // as the client wrote it
}

// write appends the SRV records with the name at offset owner as their owner, then the addresses of their targets. The
// targets are written out, in the letter case of the question's zone; the addresses refer to them.
func (s srvSet) write(r *message.Reply, owner int, name srvName, ttl uint32) {
	const fixed = 2 + 10 + 6 // pointer to the owner, type to RDLENGTH, priority to port
	first, n := r.At()+fixed, 0
	for rest := s; len(rest.records) > 0; n++ {
		var v srvView
		v, rest = rest.next()
		r.Record(message.Answer, owner, message.TypeSRV, ttl)
		r.Uint16(0)
		r.Uint16(v.weight)
		r.Uint16(v.port)
		r.Bytes(v.host)
		r.String(name.prefix)
		r.Bytes(name.zone)
		if !r.End() {
			return
		}
	}
	from := 0 // whose addresses come first, so that those that do not fit are others each time
	if r.Shuffle && n > 1 {
		from = rand.IntN(n)
	}
	tail := fixed + len(name.prefix) + len(name.zone)
	if s.writeGlue(r, first, tail, from, n, ttl) {
		s.writeGlue(r, first, tail, 0, from, ttl)
	}
	r.ShuffleGlue()
}

// writeGlue appends the addresses of the records from one on and before another. The target of the set's first record stands
// at an offset; that of the next one is tail bytes and the host further on. It reports whether all fitted.
func (s srvSet) writeGlue(r *message.Reply, target, tail, from, before int, ttl uint32) bool {
	for i := 0; i < before; i++ {
		var v srvView
		v, s = s.next()
		if i >= from && !writeTarget(r, target, v.glue, ttl) {
			return false
		}
		target += tail + len(v.host)
	}
	return true
}

// writeTarget appends the addresses of the name at an offset to the additional section.
func writeTarget(r *message.Reply, owner int, glue []byte, ttl uint32) bool {
	for len(glue) > 0 {
		ip := glue[1 : 1+glue[0]]
		glue = glue[1+len(ip):]
		typ := message.TypeA
		if len(ip) == 16 {
			typ = message.TypeAAAA
		}
		r.Record(message.Additional, owner, typ, ttl)
		r.Bytes(ip)
		if !r.End() {
			return false
		}
	}
	return true
}

// writeAddress appends one A or AAAA record.
func writeAddress(r *message.Reply, section message.Section, owner int, ip netip.Addr, ttl uint32) {
	if ip = ip.Unmap(); ip.Is4() {
		b := ip.As4()
		r.Record(section, owner, message.TypeA, ttl)
		r.Bytes(b[:])
	} else {
		b := ip.As16()
		r.Record(section, owner, message.TypeAAAA, ttl)
		r.Bytes(b[:])
	}
	r.End()
}

// familyType is the record type of an address.
func familyType(ip netip.Addr) message.Type {
	if ip.Unmap().Is4() {
		return message.TypeA
	}
	return message.TypeAAAA
}
