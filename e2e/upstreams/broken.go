package upstreams

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// BrokenAnswer is the one address that names below BrokenZone have, rightly.
const BrokenAnswer = "198.51.100.66"

// step is a message that is sent some time after the one before.
type step struct {
	message []byte
	after   time.Duration
}

// later is how long the right reply comes after a wrong one, and slow how long a slow one takes.
const (
	later = 30 * time.Millisecond
	slow  = 600 * time.Millisecond
)

// Behaviours are the labels right below BrokenZone by which the front knows what to do with a name. What they stand for is
// in script; "silent" gets no reply, and "reset" a reset connection, to which its reply over UDP leads.
func Behaviours() []string {
	return []string{
		"silent", "reset", "slow", "twice", "liar", "lies-first", "wrong-id", "wrong-id-first", "query", "garbage", "garbage-first", "short",
		"cut", "cut-tc", "empty", "bare", "refused", "servfail", "formerr", "notimp", "nxdomain-no-soa", "trailing", "tc-always", "counts", "pointer",
	}
}

// behaviour is what the front is to do about a question, "" to pass it on.
func behaviour(question []byte) string {
	if len(question) < 12 {
		return ""
	}
	name, _, err := dns.UnpackDomainName(question, 12)
	if err != nil || !dns.IsSubDomain(BrokenZone, name) {
		return ""
	}
	labels := dns.SplitDomainName(strings.ToLower(name))
	if len(labels) == dns.CountLabel(BrokenZone) {
		return ""
	}
	return labels[len(labels)-dns.CountLabel(BrokenZone)-1]
}

// script is what is sent instead of the reply.
func script(how string, tcp bool, question, reply []byte) []step {
	once := func(message []byte) []step { return []step{{message: message}} }
	first := func(message []byte) []step { return []step{{message: message}, {message: reply, after: later}} }
	switch how {
	case "slow":
		return []step{{message: reply, after: slow}}
	case "twice":
		return []step{{message: reply}, {message: reply}}
	case "liar":
		return once(otherQuestion(reply))
	case "lies-first":
		return first(otherQuestion(reply))
	case "wrong-id":
		return once(otherID(reply))
	case "wrong-id-first":
		return first(otherID(reply))
	case "query":
		return first(question)
	case "garbage":
		return once(bytes.Repeat([]byte{0xa5}, 40))
	case "garbage-first":
		return first(bytes.Repeat([]byte{0xa5}, 40))
	case "short":
		return once(reply[:5])
	case "cut":
		return once(reply[:len(reply)-3])
	case "cut-tc":
		return once(withTC(reply[:len(reply)-3], tcp))
	case "reset", "tc-always":
		return once(withTC(reply, tcp && how == "reset"))
	case "trailing":
		return once(append(bytes.Clone(reply), 1, 2, 3))
	}
	return once(withHeader(how, reply))
}

// withHeader is a reply whose header says something else than the resolver's.
func withHeader(how string, reply []byte) []byte {
	m := bytes.Clone(reply)
	switch how {
	case "empty":
		return clearRecords(m)
	case "bare": // a header and nothing else
		return append(m[:4], make([]byte, 8)...)
	case "refused":
		return withRcode(clearRecords(m), dns.RcodeRefused)
	case "servfail":
		return withRcode(clearRecords(m), dns.RcodeServerFailure)
	case "formerr":
		return withRcode(append(m[:4], make([]byte, 8)...), dns.RcodeFormatError)
	case "notimp":
		return withRcode(clearRecords(m), dns.RcodeNotImplemented)
	case "nxdomain-no-soa":
		return withRcode(clearRecords(m), dns.RcodeNameError)
	case "counts": // claims a record more than there are
		binary.BigEndian.PutUint16(m[6:], binary.BigEndian.Uint16(m[6:])+1)
		return m
	case "pointer": // a record whose owner is a pointer to itself
		m = clearRecords(m)
		binary.BigEndian.PutUint16(m[6:], 1)
		return append(m, 0xc0, byte(len(m)), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
	}
	return m
}

// clearRecords cuts a message behind its question.
func clearRecords(m []byte) []byte {
	_, end, err := dns.UnpackDomainName(m, 12)
	if err != nil || end+4 > len(m) {
		return m
	}
	copy(m[6:12], make([]byte, 6))
	return m[:end+4]
}

func withRcode(m []byte, rcode byte) []byte {
	m[3] = m[3]&0xf0 | rcode
	return m
}

// withTC sets TC, unless the message is to be left as it is.
func withTC(reply []byte, leave bool) []byte {
	m := bytes.Clone(reply)
	if !leave {
		m[2] |= 2
	}
	return m
}

func otherID(reply []byte) []byte {
	m := bytes.Clone(reply)
	m[0] ^= 0x55
	return m
}

// otherQuestion changes a letter of the question's name, which the records' owners point to.
func otherQuestion(reply []byte) []byte {
	m := bytes.Clone(reply)
	m[13] ^= 3
	return m
}
