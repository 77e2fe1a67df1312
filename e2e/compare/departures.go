package compare

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// Departure is a row of docs/differences.md. Apply is given a question and CoreDNS's answer to it, as changed by the
// departures before this one, and returns the answer that Waypost must give, or nil where the departure does not apply.
type Departure struct {
	Number string // in docs/differences.md
	Name   string
	Apply  func(c *Case, a *Answer) (*Answer, error)
}

// Departures lists them in the order in which they apply: what a name has, then how a message is made.
func Departures() []Departure {
	return []Departure{
		{"5, 6", "ExternalName answers every type with its CNAME and the outcome of its target", externalName},
		{"1.5", "a PTR answer is sent without the records that cannot be", unsendablePTR},
		{"1, 2, 3", "a name that exists, or has names below it, is NODATA for types it has not", existingName},
		{"4 (SOA)", "SOA at a name that does not exist is a name error", missingSOA},
		{"4 (NS)", "NS at the apex is answered in any letter case", upperCaseNS},
		{"4 (ns.dns)", "ns.dns is answered in any letter case", upperCaseNSDNS},
		{"11", "NOTIFY is not implemented", notify},
		{"12 (FORMERR)", "a question that is missing is a format error", missingQuestion},
		{"12 (FORMERR OPT)", "a format error keeps the OPT of a request whose own was sound", formatErrorOPT},
		{"12 (records)", "records of a request other than OPT are not looked into", unreadRecords},
		{"13 (size)", "an answer too long for any datagram is sent with TC", neverSent},
		{"13", "TC says that wanted records are missing, not additional ones", onlyAdditionalCut},
		{"12 (OPT)", "OPT has the server's own size and no reserved bits", ownOPT},
	}
}

// OwnSize is the UDP payload size that Waypost announces.
const OwnSize = 1232

// Case is a question and the means to find out what else CoreDNS would say.
type Case struct {
	*question.Question
	Oracle *Oracle
}

// zoneError reports whether the answer says that the name does not exist: NXDOMAIN, or what comes of falling through.
func zoneError(a *Answer) bool {
	if len(a.Sections[answers]) > 0 {
		return false // that is of the target of a CNAME
	}
	return a.Rcode == dns.RcodeNameError || (a.Rcode == dns.RcodeServerFailure || a.Rcode == dns.RcodeRefused) && a.Flags&flagAA == 0
}

// served reports whether the question is one for the data of a zone.
func (c *Case) served(a *Answer) bool {
	return c.Name != "" && c.Oracle.Zone(c.Name) != "" && a.Rcode != dns.RcodeBadVers && a.Rcode != dns.RcodeFormatError &&
		c.Type != dns.TypeAXFR && c.Type != dns.TypeIXFR
}

// noData is CoreDNS's NODATA answer to the question.
func (c *Case) noData() (*Answer, error) {
	qtype := dns.TypeSOA // which at any name but an apex is NODATA whatever the name
	if strings.EqualFold(c.Name, c.Oracle.Zone(c.Name)) {
		qtype = dns.TypeA
	}
	return c.Oracle.AskLike(c.Question, qtype)
}

func existingName(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || !zoneError(a) {
		return nil, nil
	}
	exists, between, err := c.Oracle.Exists(c.Name)
	passedOn := a.Rcode != dns.RcodeNameError
	if err != nil || !exists || between && passedOn && partlyReverse(c.Name) {
		return nil, err
	}
	return c.noData()
}

// partlyReverse reports whether a name is the end of a reverse name: such names go on falling through where the Corefile
// says so.
func partlyReverse(name string) bool {
	name = strings.ToLower(name)
	return (dns.IsSubDomain("in-addr.arpa.", name) || dns.IsSubDomain("ip6.arpa.", name)) && !strings.HasPrefix(name, "dns.")
}

func missingSOA(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || c.Type != dns.TypeSOA || a.Rcode != dns.RcodeSuccess || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	if exists, _, err := c.Oracle.Exists(c.Name); exists || err != nil {
		return nil, err
	}
	return c.Oracle.AskLike(c.Question, dns.TypeA)
}

func upperCaseNS(c *Case, a *Answer) (*Answer, error) {
	zone := c.Oracle.Zone(c.Name)
	if a.None || !c.served(a) || c.Type != dns.TypeNS || strings.ToLower(c.Name) != zone || c.Name == zone || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	lower, err := c.Oracle.Ask(zone, dns.TypeNS)
	if err != nil || len(lower.Sections[answers]) == 0 {
		return nil, err
	}
	inCase := func(s string) string { return strings.TrimSuffix(s, zone) + c.Name }
	want := a.Clone()
	want.Sections = lower.Sections
	for _, section := range want.Sections {
		for i := range section {
			section[i].Owner = inCase(section[i].Owner)
			if section[i].Type == dns.TypeNS {
				section[i].Data = inCase(section[i].Data)
			}
		}
	}
	return want, nil
}

// upperCaseNSDNS does for the addresses of the zone's name servers what upperCaseNS does for their names.
func upperCaseNSDNS(c *Case, a *Answer) (*Answer, error) {
	lower := "ns.dns." + c.Oracle.Zone(c.Name)
	if a.None || !c.served(a) || !strings.EqualFold(c.Name, lower) || c.Name == lower || len(a.Sections[answers]) > 0 {
		return nil, nil
	}
	plain, err := c.Oracle.Ask(lower, c.Type)
	if err != nil || len(plain.Sections[answers]) == 0 {
		return nil, err
	}
	want := a.Clone()
	want.Sections = plain.Sections
	for i := range want.Sections[answers] {
		want.Sections[answers][i].Owner = c.Name
	}
	return want, nil
}

func unsendablePTR(c *Case, a *Answer) (*Answer, error) {
	targets, ok := c.Oracle.Unnamed[strings.ToLower(c.Name)]
	if !a.None || !ok || c.Type != dns.TypePTR {
		return nil, nil
	}
	if len(targets) == 0 {
		return c.Oracle.AskLike(c.Question, dns.TypeA) // a name error
	}
	want, err := c.noData()
	if err != nil {
		return nil, err
	}
	ttl := want.Sections[authority][0].TTL // of the SOA, which in the variants that get here is the records' too
	want.Sections = [3][]Record{}
	for _, target := range targets {
		want.Sections[answers] = append(want.Sections[answers], Record{c.Name, ttl, dns.TypePTR, target})
	}
	return want, nil
}

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

// maxCNAMEs is how many CNAME records Waypost follows from one ExternalName Service to the next.
const maxCNAMEs = 16

func externalName(c *Case, a *Answer) (*Answer, error) {
	if a.None || !c.served(a) || c.Type == dns.TypeCNAME {
		return nil, nil
	}
	cname, err := c.cnameAt(c.Name)
	if err != nil || cname == nil {
		return nil, err
	}
	want, err := c.noData()
	if err != nil {
		return nil, err
	}
	denial := want.Sections[authority]
	want.Sections = [3][]Record{}
	want.Flags |= flagAA
	return want, c.follow(want, *cname, denial)
}

// cnameAt returns the CNAME record of an ExternalName Service, nil if the name is none.
func (c *Case) cnameAt(name string) (*Record, error) {
	if c.Oracle.External[strings.ToLower(name)] == "" {
		return nil, nil
	}
	a, err := c.Oracle.Ask(name, dns.TypeCNAME)
	if err != nil || len(a.Sections[answers]) == 0 {
		return nil, err
	}
	return &a.Sections[answers][0], nil
}

// follow adds CNAME records to want until it comes to a name that is no ExternalName Service of the question's zone, and
// what that name has.
func (c *Case) follow(want *Answer, cname Record, denial []Record) error {
	seen := map[string]bool{strings.ToLower(c.Name): true}
	for range maxCNAMEs - 1 {
		want.Sections[answers] = append(want.Sections[answers], cname)
		target := strings.ToLower(cname.Data)
		if seen[target] {
			return nil
		}
		seen[target] = true
		if !dns.IsSubDomain(c.Oracle.Zone(c.Name), target) {
			return c.addForeign(want, cname.Data)
		}
		next, err := c.cnameAt(cname.Data)
		if err != nil {
			return err
		}
		if next == nil {
			return c.addTarget(want, cname.Data, denial)
		}
		cname = *next
	}
	return nil
}

// addTarget adds what a name of the question's zone has.
func (c *Case) addTarget(want *Answer, target string, denial []Record) error {
	exists, _, err := c.Oracle.Exists(target)
	if err != nil {
		return err
	}
	a, err := c.Oracle.Ask(target, c.Type)
	if err != nil {
		return err
	}
	switch {
	case !exists:
		want.Rcode = dns.RcodeNameError
		want.Sections[authority] = denial
	case a.Rcode != dns.RcodeSuccess || len(a.Sections[answers]) == 0:
		want.Sections[authority] = denial
	default:
		want.Sections[answers] = append(want.Sections[answers], a.Sections[answers]...)
		want.Sections[additional] = a.Sections[additional]
	}
	return nil
}

// addForeign adds what a name outside the question's zone has, if this server serves it, as any client would be told.
func (c *Case) addForeign(want *Answer, target string) error {
	if c.Oracle.Zone(target) == "" {
		return nil
	}
	packet, err := new(dns.Msg).SetQuestion(target, c.Type).Pack()
	if err != nil {
		return fmt.Errorf("pack a question for %q: %w", target, err)
	}
	inner := &Case{Question: &question.Question{Packet: packet, Name: target, Type: c.Type, TCP: true}, Oracle: c.Oracle}
	a, err := c.Oracle.Whole(inner.Question)
	if err != nil {
		return err
	}
	if a, _, err = inner.Depart(a); err != nil {
		return err
	}
	want.Rcode = a.Rcode
	if a.Rcode == dns.RcodeRefused {
		want.Rcode = dns.RcodeServerFailure
	}
	want.Sections[answers] = append(want.Sections[answers], a.Sections[answers]...)
	want.Sections[authority] = a.Sections[authority]
	return nil
}

// Depart applies the departures to CoreDNS's answer and returns the answer that Waypost must give, with the departures
// that made a difference.
func (c *Case) Depart(a *Answer) (*Answer, []Departure, error) {
	var applied []Departure
	for _, d := range Departures() {
		changed, err := d.Apply(c, a)
		if err != nil {
			return nil, nil, fmt.Errorf("departure %s: %w", d.Number, err)
		}
		if changed != nil {
			if Difference(changed, a) != "" {
				applied = append(applied, d)
			}
			a = changed
		}
	}
	return a, applied, nil
}
