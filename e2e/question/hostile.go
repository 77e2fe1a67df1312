package question

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"
)

// Hostile makes packets that no client should send, the same for the same seed: wrong counts, unknown opcodes, classes,
// broken names and OPT records, answers instead of questions, and sound questions cut short or with bits turned over.
func Hostile(seed uint64, count int) []Question {
	r := rand.New(rand.NewPCG(seed, 2))
	var questions []Question
	for _, packet := range crafted() {
		questions = append(questions, Question{Packet: packet}, Question{Packet: packet, TCP: true})
	}
	for len(questions) < count {
		questions = append(questions, Question{Packet: damage(r, sound(r)), TCP: r.IntN(4) == 0})
	}
	// A packet that is too short to have an ID, or says that it is an answer, gets no reply over either transport; waiting
	// for that over TCP is for the crafted ones.
	for i := range questions {
		if p := questions[i].Packet; len(p) < 12 || p[2]&0x80 != 0 {
			questions[i].TCP = false
		}
	}
	return questions
}

const soundName = "web.prod.svc.cluster.local."

// sound is a question that is in order.
func sound(r *rand.Rand) []byte {
	packet, err := build(uint16(r.Uint32()), flagRD, soundName, dns.TypeA, randomEDNS(r))
	if err != nil {
		panic(err) // the name is a constant that fits
	}
	return packet
}

// damage cuts a packet short, turns a bit over or changes a byte.
func damage(r *rand.Rand, p []byte) []byte {
	switch r.IntN(4) {
	case 0:
		return p[:r.IntN(len(p)+1)]
	case 1:
		p[r.IntN(len(p))] = byte(r.Uint32())
	case 2:
		return append(p, byte(r.Uint32()), byte(r.Uint32()))
	default:
		p[r.IntN(len(p))] ^= 1 << r.IntN(8)
	}
	return p
}

// crafted are packets written by hand, as hex digits; Q, O and S stand for a question, an OPT record and a record.
func crafted() [][]byte {
	pieces := strings.NewReplacer(" ", "",
		"Q", "037765620470726f640373766307636c7573746572056c6f63616c0000010001",
		"C", "037765620470726f640373766307636c7573746572056c6f63616c0000010003", // class CH
		"N", "037765620470726f640373766307636c7573746572056c6f63616c00000100ff", // class ANY
		"Z", "037765620470726f640373766307636c7573746572056c6f63616c0000010000", // class 0
		"A", "0000060001"+"00000000"+"0000", // a SOA record without data at the root
		"O", "0000291000000000000000",
		"D", "0000291000000080000000", // with DO
		"S", "00000100010000000000040a000001",
	)
	var packets [][]byte
	for _, text := range []string{
		"", "ab", "abcd", "abcd0100", "abcd 0100 0001 0000 0000 00", // under twelve bytes
		"abcd 0100 0001 0000 0000 0000",                                    // a question promised, none there
		"abcd 0100 0000 0000 0000 0000", "abcd 0100 0000 0000 0000 0001 O", // none promised
		"abcd 0100 0002 0000 0000 0000 QQ", "abcd 0100 0002 0000 0000 0000 Q", "abcd 0100 ffff 0000 0000 0000 Q",
		"abcd 0100 0001 0001 0000 0000 QS", "abcd 0100 0001 0002 0000 0000 QSS", "abcd 0100 0001 0000 0001 0000 QS",
		"abcd 0100 0001 0000 0002 0000 QSS", "abcd 0100 0001 0000 0000 0001 QS", "abcd 0100 0001 0000 0000 0002 QSO",
		"abcd 0100 0001 0000 0000 0002 QOS", "abcd 0100 0001 0000 0000 0003 QSSO", "abcd 0100 0001 0000 0000 0002 QOD",
		"abcd 0100 0001 0000 0000 0002 QDO", "abcd 0100 0001 0000 0000 0001 Q", "abcd 0100 0001 0001 0000 0000 Q",
		"abcd 8100 0001 0000 0000 0000 Q", "abcd 8180 0001 0001 0000 0000 QS", // answers
		"abcd 0900 0001 0000 0000 0000 Q", "abcd 1100 0001 0000 0000 0000 Q", "abcd 1900 0001 0000 0000 0000 Q", // IQUERY, STATUS, 3
		"abcd 2100 0001 0000 0000 0000 Q", "abcd 2110 0001 0000 0000 0001 QO", "abcd 2400 0001 0001 0000 0000 QA", // NOTIFY
		"abcd 2900 0001 0000 0000 0000 Q", "abcd 3100 0001 0000 0000 0000 Q", "abcd 7900 0001 0000 0000 0000 Q", // UPDATE, DSO, 15
		"abcd 0900 0001 0000 0000 0001 QO", "abcd 7910 0000 0000 0000 0000",
		"abcd 0100 0001 0000 0000 0000 C", "abcd 0100 0001 0000 0000 0001 CO", "abcd 0100 0001 0000 0000 0000 N",
		"abcd 0100 0001 0000 0000 0000 Z",
		"abcd 0100 0001 0000 0000 0000 c00c 0001 0001",           // a name that points at itself
		"abcd 0100 0001 0000 0000 0000 c0ff 0001 0001",           // behind the end
		"abcd 0100 0001 0000 0000 0000 0361 6263 c00c 0001 0001", // in a circle
		"abcd 0100 0001 0000 0000 0000 4061 0001 0001",           // label type 1
		"abcd 0100 0001 0000 0000 0000 8061 0001 0001",           // label type 2
		"abcd 0100 0001 0000 0000 0000 3f61 6200 0001 0001",      // longer than the packet
		"abcd 0100 0001 0000 0000 0000 00", "abcd 0100 0001 0000 0000 0000 00 0001", "abcd 0100 0001 0000 0000 0000 00 0001 00",
		"abcd 0100 0001 0000 0000 0000 00 0001 0001",                                    // the root
		"abcd 0100 0001 0000 0000 0001 Q 00002910000000000000",                          // OPT cut short
		"abcd 0100 0001 0000 0000 0001 Q 0000291000000000000004 0003",                   // shorter than it says
		"abcd 0100 0001 0000 0000 0001 Q 0000291000000000000004 00030005",               // an option longer than the record
		"abcd 0100 0001 0000 0000 0001 Q 0000291000000000000002 0003",                   // half an option
		"abcd 0100 0001 0000 0000 0001 Q 0000291000000000000008 0008000400072000",       // a client subnet of family 7
		"abcd 0100 0001 0000 0000 0001 Q 000029100000000000000b 0008000700012000ffffff", // shorter than its prefix
		"abcd 0100 0001 0000 0000 0001 Q 0378797a00 00291000000000000000",               // OPT that is not at the root
		"abcd 0100 0001 0000 0000 0001 Q 0000291000000100000000", "abcd 0100 0001 0000 0000 0001 Q 0000291000ff0080000000",
		"abcd 0100 0001 0000 0000 0001 QO 00", "abcd 0100 0001 0000 0000 0000 Q ffffffff",
	} {
		packet, err := hex.DecodeString(pieces.Replace(text))
		if err != nil {
			panic(text + ": " + err.Error()) // a constant above is mistyped
		}
		packets = append(packets, packet)
	}
	return packets
}
