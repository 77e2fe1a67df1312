package message

import "encoding/binary"

// Status is what became of a packet in Parse.
type Status uint8

// The statuses.
const (
	Accepted Status = iota
	Rejected        // to be answered with Query.Reject and nothing more
	Ignored         // to be dropped: too short, or itself a response
)

// Parse reads a request in place: header, question and OPT record. Other records are stepped over. The Query refers to
// packet until the next Parse.
//
// What is refused and how follows CoreDNS, which follows miekg/dns: a response or less than a header is ignored; an
// opcode other than QUERY is NOTIMP; counts other than one question, at most one answer, one authority and two
// additional records are FORMERR, and so is whatever does not parse. A section that ends early at the packet's very end
// is taken as it is.
func (q *Query) Parse(packet []byte) Status {
	q.Size = len(packet)
	q.EDNS, q.Original, q.Inner = EDNS{}, nil, nil
	q.Type, q.Class, q.hasName, q.nameLen, q.labels = TypeNone, 0, false, 0, 0
	if len(packet) < HeaderLen {
		return Ignored
	}
	q.ID = binary.BigEndian.Uint16(packet)
	q.Bits = binary.BigEndian.Uint16(packet[2:])
	if q.Bits&BitQR != 0 {
		return Ignored
	}
	if q.Bits>>opcodeShift&opcodeMask != 0 {
		q.Reject = NotImp
		return Rejected
	}
	counts := [4]uint16{
		binary.BigEndian.Uint16(packet[4:]), binary.BigEndian.Uint16(packet[6:]),
		binary.BigEndian.Uint16(packet[8:]), binary.BigEndian.Uint16(packet[10:]),
	}
	q.Reject = FormErr
	if counts[0] != 1 || counts[1] > 1 || counts[2] > 1 || counts[3] > 2 {
		q.findOPT(packet, counts)
		return Rejected
	}
	off, ok := q.parseQuestion(packet)
	if !ok || !q.parseRecords(packet, off, int(counts[1]+counts[2]), int(counts[3])) {
		return Rejected
	}
	return Accepted
}

// findOPT looks for the OPT record of a request whose counts are refused, so that the refusal can carry one too (RFC 6891
// section 7). It gives up where there is much to step over.
func (q *Query) findOPT(packet []byte, counts [4]uint16) {
	const most = 8
	for _, n := range counts {
		if n > most {
			return
		}
	}
	off := HeaderLen
	for range counts[0] {
		var ok bool
		if off, ok = skipName(packet, off); !ok || off+4 > len(packet) {
			return
		}
		off += 4
	}
	q.parseRecords(packet, off, int(counts[1]+counts[2]), int(counts[3]))
}

// parseQuestion reads the question and returns where it ends.
func (q *Query) parseQuestion(packet []byte) (int, bool) {
	off, ok := q.parseName(packet)
	if !ok {
		return 0, false
	}
	if rest := len(packet) - off; rest >= 4 {
		q.Type = Type(binary.BigEndian.Uint16(packet[off:]))
		q.Class = Class(binary.BigEndian.Uint16(packet[off+2:]))
		off += 4
	} else if rest == 2 {
		q.Type = Type(binary.BigEndian.Uint16(packet[off:]))
		off += 2
	} else if rest != 0 {
		return 0, false
	}
	q.hasName = true
	return off, true
}

// parseName copies the question's name out of the packet, as it is and in lower case, and notes where labels start.
func (q *Query) parseName(packet []byte) (int, bool) {
	off, end, pointers, n, count := HeaderLen, 0, 0, 0, 0
	for off < len(packet) {
		c := int(packet[off])
		switch {
		case c == 0:
			q.starts[count] = uint8(n)
			q.asked[n] = 0
			q.nameLen, q.labels = uint8(n+1), uint8(count)
			lowerName(q.lower[:n+1], q.asked[:n+1])
			if pointers == 0 {
				end = off + 1
			}
			return end, true
		case c < 0x40:
			if off+1+c > len(packet) || n+1+c >= MaxNameLen {
				return 0, false
			}
			q.starts[count] = uint8(n)
			count++
			copy(q.asked[n:], packet[off:off+1+c])
			n += c + 1
			off += c + 1
		case c >= 0xC0 && off+1 < len(packet):
			if pointers == 0 {
				end = off + 2
			}
			if pointers++; pointers > maxPointers {
				return 0, false
			}
			off = (c&0x3F)<<8 | int(packet[off+1])
		default:
			return 0, false
		}
	}
	return 0, false
}

// parseRecords steps over the records before the additional section and looks for OPT in that.
func (q *Query) parseRecords(packet []byte, off, before, additional int) bool {
	for i := 0; i < before+additional && off < len(packet); i++ {
		fixed, ok := skipName(packet, off)
		if !ok || fixed+fixedLen > len(packet) {
			return false
		}
		typ := Type(binary.BigEndian.Uint16(packet[fixed:]))
		data := fixed + fixedLen
		off = data + int(binary.BigEndian.Uint16(packet[fixed+8:]))
		if off > len(packet) {
			return false
		}
		if typ == TypeOPT && i >= before && !q.parseOPT(packet[fixed:data], packet[data:off]) {
			return false
		}
	}
	return true
}

// parseOPT takes over an OPT record; of two the later one counts.
func (q *Query) parseOPT(fixed, options []byte) bool {
	if !validOptions(options) {
		q.EDNS = EDNS{}
		return false
	}
	q.EDNS = EDNS{
		Present: true,
		UDPSize: binary.BigEndian.Uint16(fixed[2:]),
		Version: fixed[5],
		DO:      fixed[6]&0x80 != 0,
		Options: options,
	}
	return true
}

// skipName returns the offset behind a name that only has to be a valid one.
func skipName(packet []byte, off int) (int, bool) {
	end, pointers, n := 0, 0, 0
	for off < len(packet) {
		c := int(packet[off])
		switch {
		case c == 0:
			if pointers == 0 {
				end = off + 1
			}
			return end, true
		case c < 0x40:
			off += c + 1
			if n += c + 1; n >= MaxNameLen || off > len(packet) {
				return 0, false
			}
		case c >= 0xC0 && off+1 < len(packet):
			if pointers == 0 {
				end = off + 2
			}
			if pointers++; pointers > maxPointers {
				return 0, false
			}
			off = (c&0x3F)<<8 | int(packet[off+1])
		default:
			return 0, false
		}
	}
	return 0, false
}
