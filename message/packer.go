package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Packer takes over what other servers reply. It is used again for each reply, by one goroutine at a time; the zero value
// is ready.
//
// The bytes it reads are anybody's. What it makes of them is well-formed: each record of the class that was asked for is
// read to its end and written anew, with names compressed against the question and against each other as RFC 1035 and RFC
// 3597 allow it, so that no pointer into the foreign message is left. OPT and TSIG, which are between two servers only,
// stay behind.
type Packer struct {
	// Datagrams says that questions and replies are datagrams. Then the question was sent in a random letter case: names in
	// the data of records that end as the question, letter by letter, have that from there, and are taken over in lower
	// case. And a reply that ends early has lost its end on the way: it is a truncated one.
	Datagrams bool

	from     []byte // the foreign message
	to       []byte // a message of ours in the making; its header is not written
	question int    // where the records start in both
	rcode    Rcode
	options  []byte // those of OPT that go on to the client
	hasOPT   bool
	counts   [3]uint16
	saved    int
	mx       span
	lone     bool // the record being written is to be moved: nothing but the question is pointed to, nothing points to it
	name     foreignName
	known    [knownNames]knownName // names in to that can be pointed to, the question's first
	asked    int                   // how many of those are the question's
	knowing  int
}

// ErrOtherQuestion is returned by Pack for a message that is no reply to the question.
var ErrOtherQuestion = errors.New("it does not reply to the question")

// Errors of what is within a reply.
var (
	errEnd  = errors.New("it ends early")
	errName = errors.New("a name is broken")
	errData = errors.New("the data of a record are not of its type")
	errOPT  = errors.New("the OPT record is broken")
	errLong = errors.New("it is longer than 65,535 bytes")
)

// Pack reads packet, the reply of another server to question: a name, type and class as they were sent, in wire form. The
// reply may have the name in another letter case. sorted brings each section into the order that Reply.Shuffle
// needs: CNAMEs, other records, addresses, MX.
//
// The error is ErrOtherQuestion for what is no reply to that question, and says what is wrong with one that is. A
// truncated reply whose records are broken comes without records.
func (p *Packer) Pack(packet, question []byte, sorted bool) (*Packed, error) {
	if !Answers(packet, question) {
		return nil, ErrOtherQuestion
	}
	bits := binary.BigEndian.Uint16(packet[2:])
	p.begin(packet, question)
	p.rcode = Rcode(bits & 0xF)
	if err := p.records(sorted && p.rcode == NoError); err != nil {
		if p.Datagrams && errors.Is(err, errEnd) {
			bits |= BitTC
		}
		if bits&BitTC == 0 {
			return nil, fmt.Errorf("reply of %d bytes: %w", len(packet), err)
		}
		p.begin(packet, question)
	}
	return &Packed{
		Rcode:              p.rcode,
		Authoritative:      bits&BitAA != 0,
		Truncated:          bits&BitTC != 0,
		RecursionAvailable: bits&BitRA != 0,
		Authenticated:      bits&BitAD != 0,
		records:            append([]byte(nil), p.to[p.question:]...),
		options:            append([]byte(nil), p.options...),
		counts:             p.counts,
		question:           p.question,
		saved:              p.saved,
		mx:                 span{p.mx.from - p.question, p.mx.to - p.question},
	}, nil
}

// Answers reports whether packet is a response to question, whatever the letter case of the name in it. A response
// without a question is to none.
func Answers(packet, question []byte) bool {
	if len(packet) < HeaderLen+len(question) || len(question) < 5 {
		return false
	}
	bits := binary.BigEndian.Uint16(packet[2:])
	if bits&BitQR == 0 || bits>>opcodeShift&opcodeMask != 0 || binary.BigEndian.Uint16(packet[4:]) != 1 {
		return false
	}
	name := len(question) - 4
	asked := packet[HeaderLen : HeaderLen+len(question)]
	return equalFold(asked[:name], question[:name]) && string(asked[name:]) == string(question[name:])
}

func (p *Packer) begin(packet, question []byte) {
	p.from, p.question = packet, HeaderLen+len(question)
	p.to = append(append(p.to[:0], make([]byte, HeaderLen)...), question...)
	p.options, p.hasOPT = p.options[:0], false
	p.counts, p.saved, p.lone = [3]uint16{}, 0, false
	p.mx = span{p.question, p.question}
	p.know()
}

// records takes over the records of all sections.
func (p *Packer) records(sorted bool) error {
	off := p.question
	for section := Answer; section <= Additional; section++ {
		count, end := int(binary.BigEndian.Uint16(p.from[6+2*section:])), 0
		ranks := asTheyCome
		if sorted && count > 1 {
			ranks = inOrder
		}
		for _, rank := range ranks {
			start, err := len(p.to), error(nil)
			if end, err = p.section(section, off, count, rank); err != nil {
				return err
			}
			if rank == mxRank && section == Answer {
				p.mx = span{start, len(p.to)}
			}
		}
		off = end
	}
	return nil
}

// The ranks of records in a sorted section.
const (
	anyRank = iota
	cnameRank
	otherRank
	addressRank
	mxRank
)

var (
	asTheyCome = []int{anyRank}
	inOrder    = []int{cnameRank, otherRank, addressRank, mxRank}
)

func rankOf(t Type) int {
	switch t {
	case TypeCNAME:
		return cnameRank
	case TypeA, TypeAAAA:
		return addressRank
	case TypeMX:
		return mxRank
	}
	return otherRank
}

// section takes over the records of one rank out of a section, and returns where the section ends.
func (p *Packer) section(section Section, off, count, rank int) (int, error) {
	p.lone = rank == mxRank && section == Answer
	defer func() { p.lone = false }()
	for range count {
		if off == len(p.from) { // there are fewer records than the header says, which does no harm
			break
		}
		fixed, ok := skipName(p.from, off)
		if !ok {
			return 0, errName
		}
		data := fixed + fixedLen
		if data > len(p.from) {
			return 0, errEnd
		}
		r := foreignRecord{
			owner: off, data: data, end: data + int(binary.BigEndian.Uint16(p.from[fixed+8:])),
			typ: Type(binary.BigEndian.Uint16(p.from[fixed:])), class: Class(binary.BigEndian.Uint16(p.from[fixed+2:])),
			ttl: binary.BigEndian.Uint32(p.from[fixed+4:]),
		}
		if r.end > len(p.from) {
			return 0, errEnd
		}
		if rank == anyRank || rank == rankOf(r.typ) {
			if err := p.record(section, r); err != nil {
				return 0, err
			}
		}
		off = r.end
	}
	return off, nil
}

// foreignRecord is where a record of the foreign message stands.
type foreignRecord struct {
	owner, data, end int
	typ              Type
	class            Class
	ttl              uint32
}

// record takes over one record, if it is one to be taken over.
func (p *Packer) record(section Section, r foreignRecord) error {
	switch {
	case r.typ == TypeOPT:
		return p.opt(section, r)
	case r.typ == typeTSIG, uint16(r.class) != binary.BigEndian.Uint16(p.to[p.question-2:]):
		return nil
	}
	if r.ttl > maxTTL {
		r.ttl = 0 // RFC 2181 section 8
	}
	if _, err := p.copyName(r.owner, true); err != nil {
		return err
	}
	p.to = binary.BigEndian.AppendUint16(p.to, uint16(r.typ))
	p.to = binary.BigEndian.AppendUint16(p.to, uint16(r.class))
	p.to = binary.BigEndian.AppendUint32(p.to, r.ttl)
	p.to = append(p.to, 0, 0)
	at := len(p.to)
	if err := p.copyData(r); err != nil {
		return err
	}
	if len(p.to)+optLen > MaxLen {
		return errLong
	}
	binary.BigEndian.PutUint16(p.to[at-2:], uint16(len(p.to)-at))
	p.counts[section]++
	return nil
}

const (
	typeTSIG Type = 250
	maxTTL        = 1<<31 - 1 // seconds
)

// opt takes over what OPT says to the client: the upper bits of the response code, and options.
func (p *Packer) opt(section Section, r foreignRecord) error {
	options := p.from[r.data:r.end]
	if section != Additional || p.hasOPT || p.from[r.owner] != 0 || !validOptions(options) {
		return errOPT
	}
	p.hasOPT = true
	p.rcode |= Rcode(r.ttl>>24) << 4
	for code, data := range eachOption(options) {
		if code == OptionError || EndToEnd(code) {
			p.options = appendOption(p.options, code, data)
		}
	}
	return nil
}

// copyData takes over the data of a record, with the names that it holds.
func (p *Packer) copyData(r foreignRecord) error {
	l := layoutOf(r.typ)
	at := r.data
	if l.strings {
		for range 3 {
			if at+l.before >= r.end {
				return errData
			}
			l.before += 1 + int(p.from[at+l.before])
		}
	}
	if at+l.before > r.end {
		return errData
	}
	p.to = append(p.to, p.from[at:at+l.before]...)
	at += l.before
	for range l.names {
		end, err := p.copyName(at, l.compressed)
		if err != nil {
			return err
		}
		if at = end; at > r.end {
			return errData
		}
	}
	if l.after >= 0 && at+l.after != r.end {
		return errData
	}
	p.to = append(p.to, p.from[at:r.end]...)
	return nil
}

// layout is how the data of a type are made up.
type layout struct {
	before     int  // bytes before the names
	strings    bool // three character strings follow them
	names      int
	compressed bool // the names may be compressed (RFC 3597 section 4)
	after      int  // bytes behind the names; -1 is any number
}

// layoutOf knows the types whose names could be compressed by old servers or have to be well-formed for others; the data
// of the rest are opaque.
func layoutOf(t Type) layout {
	switch t {
	case TypeA:
		return layout{after: 4}
	case TypeAAAA:
		return layout{after: 16}
	case TypeNS, 3, 4, TypeCNAME, 7, 8, 9, TypePTR: // 3 and 4 are MD and MF; 7, 8 and 9 are MB, MG and MR
		return layout{names: 1, compressed: true}
	case TypeSOA:
		return layout{names: 2, compressed: true, after: 20}
	case 14: // MINFO
		return layout{names: 2, compressed: true}
	case TypeMX:
		return layout{before: 2, names: 1, compressed: true}
	case 17: // RP
		return layout{names: 2}
	case 18, 21, 36: // AFSDB, RT, KX
		return layout{before: 2, names: 1}
	case 26: // PX
		return layout{before: 2, names: 2}
	case TypeSRV:
		return layout{before: 6, names: 1}
	case TypeNAPTR:
		return layout{before: 4, strings: true, names: 1}
	case 39: // DNAME
		return layout{names: 1}
	case 24, TypeRRSIG: // 24 is SIG
		return layout{before: 18, names: 1, after: -1}
	case 30, TypeNSEC: // 30 is NXT
		return layout{names: 1, after: -1}
	case TypeSVCB, TypeHTTPS:
		return layout{before: 2, names: 1, after: -1}
	}
	return layout{after: -1}
}
