package compare

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// The departures in how messages are read and made.

// notify expects what CoreDNS answers to an opcode that it does not implement either.
func notify(c *Case, a *Answer) (*Answer, error) {
	if len(c.Packet) < headerLen || c.Packet[2]>>3&0xf != dns.OpcodeNotify || a.None || a.Rcode == dns.RcodeFormatError {
		return nil, nil
	}
	packet := slices.Clone(c.Packet)
	packet[2] ^= (dns.OpcodeNotify ^ dns.OpcodeUpdate) << 3
	want, err := c.Oracle.exchange(&question.Question{Packet: packet, TCP: c.TCP})
	if err == nil {
		want.Flags ^= (dns.OpcodeNotify ^ dns.OpcodeUpdate) << 11
	}
	return want, err
}

func missingQuestion(c *Case, a *Answer) (*Answer, error) {
	if len(c.Packet) != headerLen || a.None || a.Rcode != dns.RcodeServerFailure {
		return nil, nil
	}
	want := a.Clone()
	want.Rcode = dns.RcodeFormatError
	return want, nil
}

// formatErrorOPT looks for an OPT record where the request's sections say one could be.
func formatErrorOPT(c *Case, a *Answer) (*Answer, error) {
	if a.None || a.Rcode != dns.RcodeFormatError || len(a.Question) > 0 {
		return nil, nil
	}
	opt := findOPT(c.Packet)
	if opt == nil {
		return nil, nil
	}
	want := a.Clone()
	want.OPT = &OPT{Size: OwnSize, Flags: uint16(opt.Hdr.Ttl) & 0x8000}
	return want, nil
}

// findOPT returns the last OPT record of a packet that can be read up to there, nil if there is none.
func findOPT(packet []byte) *dns.OPT {
	if len(packet) < headerLen {
		return nil
	}
	const most = 8 // records; a packet that claims more is not worth stepping through
	off, counts := headerLen, [4]int{}
	for i := range counts {
		if counts[i] = int(binary.BigEndian.Uint16(packet[4+2*i:])); counts[i] > most {
			return nil
		}
	}
	for range counts[0] {
		_, end, err := dns.UnpackDomainName(packet, off)
		if off = end + 4; err != nil || off > len(packet) {
			return nil
		}
	}
	var found *dns.OPT
	for i := range counts[1] + counts[2] + counts[3] {
		rr, end, err := dns.UnpackRR(packet, off)
		if err != nil {
			break
		}
		if opt, ok := rr.(*dns.OPT); ok && i >= counts[1]+counts[2] {
			found = opt
		}
		off = end
	}
	return found
}

// maxDatagram is the most that a UDP datagram over IPv4 can carry, in bytes.
const maxDatagram = 65507

// unreadRecords applies where CoreDNS finds fault with the data of a record that is no OPT, one which ends where it says. It
// expects what CoreDNS answers to the same request without such records.
func unreadRecords(c *Case, a *Answer) (*Answer, error) {
	if a.None || a.Rcode != dns.RcodeFormatError || a.Question == "" {
		return nil, nil
	}
	packet, ok := onlyOPT(c.Packet)
	if !ok {
		return nil, nil
	}
	return c.Oracle.exchange(&question.Question{Packet: packet, TCP: c.TCP})
}

// onlyOPT copies a request without its records that are no OPT. It fails where there is none of those, or where the
// records do not follow each other as they say.
func onlyOPT(packet []byte) ([]byte, bool) {
	_, off, err := dns.UnpackDomainName(packet, headerLen)
	if err != nil || off+4 > len(packet) {
		return nil, false
	}
	off += 4
	kept := append([]byte(nil), packet[:off]...)
	found, options := false, uint16(0)
	for range binary.BigEndian.Uint16(packet[10:]) {
		_, fixed, err := dns.UnpackDomainName(packet, off)
		if err != nil || fixed+10 > len(packet) {
			return nil, false
		}
		end := fixed + 10 + int(binary.BigEndian.Uint16(packet[fixed+8:]))
		if end > len(packet) {
			return nil, false
		}
		if binary.BigEndian.Uint16(packet[fixed:]) == dns.TypeOPT {
			kept = append(kept, packet[off:end]...)
			options++
		} else {
			found = true
		}
		off = end
	}
	binary.BigEndian.PutUint16(kept[10:], options)
	return kept, found && binary.BigEndian.Uint32(packet[6:]) == 0
}

// neverSent expects as much of the answer over TCP as a datagram holds, see cutWrongly.
func neverSent(c *Case, a *Answer) (*Answer, error) {
	if !a.None || c.TCP || c.Limit() <= maxDatagram {
		return nil, nil
	}
	whole, err := c.Oracle.Whole(c.Question)
	if err != nil || whole.None || whole.Size <= maxDatagram && whole.Flags&flagTC == 0 {
		return nil, err
	}
	whole.Flags |= flagTC // which it has where not even TCP holds all: then where it was cut is chance
	return whole, nil
}

// onlyAdditionalCut applies where CoreDNS cut nothing but additional records. How many of those are left depends on their
// order, so the want is an answer with all of them: a comparison takes part of them for enough, see Fits.
func onlyAdditionalCut(c *Case, a *Answer) (*Answer, error) {
	if a.None || a.Flags&flagTC == 0 || c.TCP {
		return nil, nil
	}
	whole, err := c.Oracle.Whole(c.Question)
	if err != nil || whole.None || len(whole.Sections[answers]) != len(a.Sections[answers]) {
		return nil, err
	}
	return whole, nil
}

func ownOPT(c *Case, a *Answer) (*Answer, error) {
	if a.None || a.OPT == nil || a.OPT.Size == OwnSize && a.OPT.Flags&0x7fff == 0 {
		return nil, nil
	}
	want := a.Clone()
	want.OPT.Size = OwnSize
	want.OPT.Flags &= 0x8000
	return want, nil
}
