// Package compare asks two DNS servers the same questions and holds their answers against each other: every flag, every
// record, the letter case of names. Where Waypost knowingly departs from CoreDNS it says exactly what Waypost must answer.
package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Answer is a DNS message taken apart so that two can be compared. The order of records does not count, see Ordered.
type Answer struct {
	None     bool // no reply came
	ID       uint16
	Flags    uint16 // the header's third and fourth byte without the response code
	Rcode    int    // with the upper bits from OPT
	Question string // the section's bytes
	Sections [3][]Record
	OPT      *OPT
	Size     int // of the message, in bytes
}

// The sections of records.
const (
	answers = iota
	authority
	additional
)

// Header bits.
const (
	flagQR = 0x8000
	flagAA = 0x0400
	flagTC = 0x0200
	flagRD = 0x0100
	flagRA = 0x0080
	flagZ  = 0x0040
	flagAD = 0x0020
	flagCD = 0x0010
)

const headerLen = 12

// Record is a record in presentation format, letter case kept. The serial of a SOA record is 0 or 1: servers count by
// themselves, but both know whether anything ever changed.
type Record struct {
	Owner string
	TTL   uint32
	Type  uint16
	Data  string
}

// OPT is an OPT record.
type OPT struct {
	Size    uint16
	Version uint8
	Flags   uint16 // DO is 0x8000
	Options string // encoded
}

// Parse takes a message apart. It is stricter than clients are: nothing may follow the last record.
func Parse(packet []byte) (*Answer, error) {
	if len(packet) < headerLen {
		return nil, fmt.Errorf("%d bytes are no DNS message", len(packet))
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	a := &Answer{ID: binary.BigEndian.Uint16(packet), Flags: flags &^ 0xf, Rcode: int(flags & 0xf), Size: len(packet)}
	off := headerLen
	for range binary.BigEndian.Uint16(packet[4:]) {
		_, end, err := dns.UnpackDomainName(packet, off)
		if err != nil || end+4 > len(packet) {
			return nil, fmt.Errorf("the question section at offset %d is broken: %w", off, err)
		}
		off = end + 4
	}
	a.Question = string(packet[headerLen:off])
	for section := range a.Sections {
		for range binary.BigEndian.Uint16(packet[6+2*section:]) {
			rr, end, err := dns.UnpackRR(packet, off)
			if err != nil {
				return nil, fmt.Errorf("the record at offset %d: %w", off, err)
			}
			if err := a.add(section, rr); err != nil {
				return nil, err
			}
			off = end
		}
	}
	if off != len(packet) {
		return nil, fmt.Errorf("%d bytes follow the last record", len(packet)-off)
	}
	return a, nil
}

func (a *Answer) add(section int, rr dns.RR) error {
	opt, ok := rr.(*dns.OPT)
	if !ok {
		a.Sections[section] = append(a.Sections[section], record(rr))
		return nil
	}
	if a.OPT != nil || section != additional || opt.Hdr.Name != "." {
		return errors.New("an OPT record too many, or at the wrong place")
	}
	wire := make([]byte, dns.Len(opt))
	if _, err := dns.PackRR(opt, wire, 0, nil, false); err != nil {
		return fmt.Errorf("the OPT record: %w", err)
	}
	const fixed = 1 + 2 + 2 + 4 + 2
	a.OPT = &OPT{Size: opt.UDPSize(), Version: opt.Version(), Flags: uint16(opt.Hdr.Ttl), Options: string(wire[fixed:])}
	a.Rcode |= opt.ExtendedRcode() &^ 0xf
	return nil
}

func record(rr dns.RR) Record {
	h := rr.Header()
	if soa, ok := rr.(*dns.SOA); ok {
		soa.Serial = min(soa.Serial, 1)
	}
	data := strings.TrimPrefix(rr.String(), h.String())
	if _, unknown := rr.(*dns.RFC3597); unknown { // whose text begins with a header of another form
		data = data[strings.Index(data, `\# `):]
	}
	return Record{Owner: h.Name, TTL: h.Ttl, Type: h.Rrtype, Data: data}
}

// Clone returns a copy that can be changed.
func (a *Answer) Clone() *Answer {
	b := *a
	for i := range b.Sections {
		b.Sections[i] = slices.Clone(a.Sections[i])
	}
	if a.OPT != nil {
		opt := *a.OPT
		b.OPT = &opt
	}
	return &b
}

// Ordered returns an error if a CNAME record stands behind records of its target, where clients that read an answer once
// from top to bottom lose the way. CNAME records alone may lead in a circle.
func (a *Answer) Ordered() error {
	seen := map[string]bool{}
	for _, r := range a.Sections[answers] {
		if r.Type == dns.TypeCNAME && seen[strings.ToLower(r.Data)] {
			return fmt.Errorf("the CNAME at %s stands behind the records of its target", r.Owner)
		}
		if r.Type != dns.TypeCNAME {
			seen[strings.ToLower(r.Owner)] = true
		}
	}
	return nil
}

// String is the record as dig prints it.
func (r Record) String() string {
	return fmt.Sprintf("%s\t%d\tIN\t%s\t%s", r.Owner, r.TTL, dns.Type(r.Type), r.Data)
}

// Compare orders records so that sets can be compared.
func (r Record) compare(s Record) int { return strings.Compare(r.String(), s.String()) }

func sorted(records []Record) []Record {
	return slices.SortedFunc(slices.Values(records), Record.compare)
}

// Difference names what differs between what was wanted and what came, "" if nothing does.
func Difference(want, got *Answer) string {
	switch {
	case want.None || got.None:
		if want.None != got.None {
			return "one replies, the other does not"
		}
		return ""
	case want.ID != got.ID:
		return "ID"
	case want.Rcode != got.Rcode:
		return "rcode"
	case want.Flags != got.Flags:
		return "flags"
	case want.Question != got.Question:
		return "question"
	}
	for i, name := range []string{"answer", "authority", "additional"} {
		if !slices.Equal(sorted(want.Sections[i]), sorted(got.Sections[i])) {
			return name + " section"
		}
	}
	switch {
	case (want.OPT == nil) != (got.OPT == nil), want.OPT != nil && *want.OPT != *got.OPT:
		return "OPT"
	}
	return ""
}

// String is the answer in dig's style.
func (a *Answer) String() string {
	if a.None {
		return ";; no reply\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, ";; opcode: %s, status: %s, id: %d, size: %d\n;; flags:%s", dns.OpcodeToString[int(a.Flags>>11&0xf)],
		rcodeName(a.Rcode), a.ID, a.Size, flagNames(a.Flags))
	fmt.Fprintf(&b, "; ANSWER: %d, AUTHORITY: %d, ADDITIONAL: %d\n", len(a.Sections[0]), len(a.Sections[1]), len(a.Sections[2]))
	if a.OPT != nil {
		fmt.Fprintf(&b, "; EDNS: version: %d, flags: %04x; udp: %d; options: %x\n", a.OPT.Version, a.OPT.Flags, a.OPT.Size, a.OPT.Options)
	}
	fmt.Fprintf(&b, ";; QUESTION SECTION:\n%s", questionText(a.Question))
	for i, name := range []string{"ANSWER", "AUTHORITY", "ADDITIONAL"} {
		if len(a.Sections[i]) > 0 {
			fmt.Fprintf(&b, ";; %s SECTION:\n", name)
		}
		for n, r := range a.Sections[i] {
			if n == 12 {
				fmt.Fprintf(&b, "; ... and %d more\n", len(a.Sections[i])-n)
				break
			}
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}

// questionText is a question section as dig prints it.
func questionText(section string) string {
	var b strings.Builder
	for off := 0; off < len(section); {
		name, end, err := dns.UnpackDomainName([]byte(section), off)
		if err != nil {
			return fmt.Sprintf("; broken: %q\n", section)
		}
		qtype, class := binary.BigEndian.Uint16([]byte(section[end:])), binary.BigEndian.Uint16([]byte(section[end+2:]))
		fmt.Fprintf(&b, ";%s\t%s\t%s\n", name, dns.Class(class), dns.Type(qtype))
		off = end + 4
	}
	return b.String()
}

func flagNames(flags uint16) string {
	var s string
	for _, f := range []struct {
		bit  uint16
		name string
	}{{flagQR, "qr"}, {flagAA, "aa"}, {flagTC, "tc"}, {flagRD, "rd"}, {flagRA, "ra"}, {flagZ, "z"}, {flagAD, "ad"}, {flagCD, "cd"}} {
		if flags&f.bit != 0 {
			s += " " + f.name
		}
	}
	return s
}

// rcodeName names response codes as dig does: 16 is BADVERS in an answer, BADSIG only in a TSIG record.
func rcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS"
	}
	return dns.RcodeToString[rcode]
}
