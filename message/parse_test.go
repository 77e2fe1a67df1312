package message

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message/wiretest"
)

// Parts of the packets below. A header is the ID, the bits and four counts.
const (
	header   = "1234 0100 0001 0000 0000 0000 "
	headerAR = "1234 0100 0001 0000 0000 0001 " // one additional record
	question = "'wWw' 'Example' 00 0001 0001 "
	opt      = "00 0029 04d0 0000 8000 0000 "
)

// describe says in one line what Parse made of a packet.
func describe(packet []byte) string {
	var q Query
	switch q.Parse(packet) {
	case Ignored:
		return "ignored"
	case Rejected:
		return "rejected: " + wiretest.Text(Rejection(&q, nil))
	}
	text := fmt.Sprintf("%s %d %d", AppendName(nil, q.Name()), q.Class, q.Type)
	if q.EDNS.Present {
		text += fmt.Sprintf(" opt %d version %d do %v options %x", q.EDNS.UDPSize, q.EDNS.Version, q.EDNS.DO, q.EDNS.Options)
	}
	return text
}

func TestParse(t *testing.T) {
	const formErr = "rejected: 1234 8101 0000 0000 0000 0000"
	const formErrOPT = "rejected: 1234 8101 0000 0000 0000 0001 0000 2904 d000 0080 0000 00"
	const formErrAsked = "rejected: 1234 8101 0001 0000 0000 0000 0377 5777 0745 7861 6d70 6c65 0000 0100 01"
	const asked = "wWw.Example. 1 1"
	for _, tt := range []struct{ name, packet, want string }{
		{"valid", header + question, asked},
		{"nothing", "", "ignored"},
		{"one byte short of a header", "1234 0100 0001 0000 0000 00", "ignored"},
		{"one byte short", header + "'wWw' 'Example' 00 0001 00", formErr},
		{"one byte too long", header + question + "00", asked},
		{"response", "1234 8100 0001 0000 0000 0000 " + question, "ignored"},
		{"response of a foreign opcode", "1234 a900 0001 0000 0000 0000", "ignored"},
		{"opcode IQUERY", "1234 0900 0001 0000 0000 0000 " + question, "rejected: 1234 8904 0000 0000 0000 0000"},
		{"opcode NOTIFY", "1234 2100 0001 0000 0000 0000 " + question, "rejected: 1234 a104 0000 0000 0000 0000"},
		{"opcode UPDATE with many records", "1234 2800 0001 00ff 00ff 00ff", "rejected: 1234 a804 0000 0000 0000 0000"},
		{"opcode 15", "1234 7800 0001 0000 0000 0000", "rejected: 1234 f804 0000 0000 0000 0000"},
		{"every bit that a request may have", "1234 07ff 0001 0000 0000 0000 " + question, asked},
		{"every bit, refused", "1234 07ff 0002 0000 0000 0000", "rejected: 1234 83b1 0000 0000 0000 0000"},

		{"no question", "1234 0100 0000 0000 0000 0000", formErr},
		{"no question but OPT", "1234 0100 0000 0000 0000 0001 " + opt, formErrOPT},
		{"two questions", "1234 0100 0002 0000 0000 0000 " + question + question, formErr},
		{"two questions and OPT", "1234 0100 0002 0000 0000 0001 " + question + question + opt, formErrOPT},
		{"65535 questions and OPT", "1234 0100 ffff 0000 0000 0001 " + question + opt, formErr},
		{"two questions of which one is there", "1234 0100 0002 0000 0000 0001 " + question, formErr},
		{"two answers", "1234 0100 0001 0002 0000 0000 " + question, formErr},
		{"two authority records", "1234 0100 0001 0000 0002 0000 " + question, formErr},
		{"three additional records", "1234 0100 0001 0000 0000 0003 " + question, formErr},
		{"three additional records, one of them OPT", "1234 0100 0001 0000 0000 0003 " + question + opt, formErrOPT},
		{"question announced only", header, formErr},
		{"name only", header + "'wWw' 'Example' 00", "wWw.Example. 0 0"},
		{"name and one byte", header + "'wWw' 'Example' 00 00", formErr},
		{"name and type", header + "'wWw' 'Example' 00 001c", "wWw.Example. 0 28"},
		{"counted records that are not there", "1234 0100 0001 0001 0001 0002 " + question, asked},

		{"root", header + "00 0002 0001", ". 1 2"},
		{"labels with bytes that need escapes", header + "02002e 03402032 00 0001 0001", `\000\..\@\ 2. 1 1`},
		{"label of 63 bytes", header + "3f 61 x63 00 0001 0001", string(AppendName(nil, wiretest.Bytes(t, "3f 61 x63 00"))) + " 1 1"},
		{"name of 255 bytes", header + "0161 x127 00 0001 0001", string(AppendName(nil, wiretest.Bytes(t, "0161 x127 00"))) + " 1 1"},
		{"name of 256 bytes", header + "0161 x126 026161 00 0001 0001", formErr},
		{"name without an end", header + "0161 x127", formErr},
		{"label that ends with the packet", header + "05 6161", formErr},
		{"label type 01", header + "41 61 x65 00 0001 0001", formErr},
		{"label type 10", header + "81 61 00 0001 0001", formErr},
		{"pointer to itself", header + "c00c 0001 0001", formErr},
		{"two pointers in a circle", header + "c00e c00c 0001 0001", formErr},
		{"pointer behind the packet", header + "c0ff 0001 0001", formErr},
		{"half a pointer", header + "c0", formErr},
		{"pointer forwards", header + "c012 0001 0001 'www' 00", "www. 1 1"},
		{"pointer into the header", "0161 0000 0001 0000 0000 0000 c000 0001 0001", "a. 1 1"},
		{"label and pointer, too long together", header + "0161 x126 c00c 0001 0001", formErr},

		{"class CH", header + "'id' 'server' 00 0010 0003", "id.server. 3 16"},
		{"class 0", header + "'wWw' 'Example' 00 0001 0000", "wWw.Example. 0 1"},
		{"answer record", "1234 0100 0001 0001 0000 0000 " + question + "c00c 0001 0001 00000005 0004 0a000001", asked},
		{"authority record and OPT", "1234 0100 0001 0000 0001 0001 " + question + "c00c 0006 0001 00000005 0000 " + opt, asked + " opt 1232 version 0 do true options "},
		{"record with a bad owner", "1234 0100 0001 0001 0000 0000 " + question + "c0ff 0001 0001 00000005 0004 0a000001", formErrAsked},
		{"record with an owner in a circle", "1234 0100 0001 0001 0000 0000 " + question + "c01d 0001 0001 00000005 0004 0a000001", formErrAsked},
		{"record that ends early", "1234 0100 0001 0001 0000 0000 " + question + "c00c 0001 0001 0000", formErrAsked},
		{"record longer than the packet", "1234 0100 0001 0001 0000 0000 " + question + "c00c 0001 0001 00000005 0005 0a000001", formErrAsked},

		{"OPT", headerAR + question + opt, asked + " opt 1232 version 0 do true options "},
		{"OPT with every reserved bit", headerAR + question + "00 0029 0000 ff007fff 0000", asked + " opt 0 version 0 do false options "},
		{"OPT of another version", headerAR + question + "00 0029 ffff 0001 0000 0000", asked + " opt 65535 version 1 do false options "},
		{"OPT with another owner", headerAR + question + "'x' 00 0029 0200 0000 0000 0000", asked + " opt 512 version 0 do false options "},
		{"OPT in the answer section", "1234 0100 0001 0001 0000 0000 " + question + opt, asked},
		{"OPT twice, the last counts", "1234 0100 0001 0000 0000 0002 " + question + opt + "00 0029 0200 0000 0000 0000", asked + " opt 512 version 0 do false options "},
		{"OPT and a broken record", "1234 0100 0001 0000 0000 0002 " + question + opt + "00 0001", "rejected: 1234 8101 0001 0000 0000 0001 0377 5777 0745 7861 6d70 6c65 0000 0100 0100 0029 04d0 0000 8000 0000"},
		{"OPT with an option", headerAR + question + "00 0029 04d0 0000 0000 0004 00030000", asked + " opt 1232 version 0 do false options 00030000"},
		{"OPT with half an option", headerAR + question + "00 0029 04d0 0000 0000 0003 000300", formErrAsked},
		{"OPT with an option that is too long", headerAR + question + "00 0029 04d0 0000 0000 0005 00030002ff", formErrAsked},
		{"option LLQ", headerAR + question + "00 0029 04d0 0000 0000 0006 0001 0002 0000", formErrAsked},
		{"option of a lease", headerAR + question + "00 0029 04d0 0000 0000 0006 0002 0002 0000", formErrAsked},
		{"subnet", headerAR + question + "00 0029 04d0 0000 0000 000b 0008 0007 0001 1800 0a0000", asked + " opt 1232 version 0 do false options 000800070001180" + "00a0000"},
		{"subnet, family 3", headerAR + question + "00 0029 04d0 0000 0000 0008 0008 0004 0003 1800", formErrAsked},
		{"subnet, family 0 with a prefix", headerAR + question + "00 0029 04d0 0000 0000 0008 0008 0004 0000 0100", formErrAsked},
		{"subnet, /33", headerAR + question + "00 0029 04d0 0000 0000 000d 0008 0009 0001 2100 0a00000000", formErrAsked},
		{"subnet, scope /33", headerAR + question + "00 0029 04d0 0000 0000 000b 0008 0007 0001 1821 0a0000", formErrAsked},
		{"subnet, too short", headerAR + question + "00 0029 04d0 0000 0000 0007 0008 0003 0001 18", formErrAsked},
		{"keepalive of one byte", headerAR + question + "00 0029 04d0 0000 0000 0005 000b 0001 00", formErrAsked},
		{"short cookie", headerAR + question + "00 0029 04d0 0000 0000 0005 000a 0001 00", asked + " opt 1232 version 0 do false options 000a000100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(wiretest.Bytes(t, tt.packet)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// FuzzParse compares Parse with what CoreDNS does by miekg/dns: its rule for headers, then its parser.
func FuzzParse(f *testing.F) {
	for _, packet := range []string{
		header + question,
		headerAR + question + opt,
		headerAR + question + "00 0029 04d0 0000 0000 000b 0008 0007 0001 1800 0a0000",
		"1234 0100 0001 0001 0001 0002 " + question + "c00c 0001 0001 00000005 0004 0a000001 c00c 0001 0001 00000005 0004 0a000001" + opt + opt,
		header + "c012 0001 0001 'www' 00",
		header + "0161 x127 00 0001 0001",
		header + "41 61 x65 00 0001 0001",
	} {
		f.Add(wiretest.Bytes(f, packet))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		var q Query
		status := q.Parse(packet)
		want, m := byMiekg(packet)
		if status != want && !(status == Accepted && want == Rejected && otherRecords(packet)) {
			t.Fatalf("status %d, want %d for %s", status, want, wiretest.Text(packet))
		}
		if status == Accepted && want == Accepted {
			compare(t, &q, m)
		}
		if status == Rejected {
			checkRejection(t, &q)
		}
	})
}

// FuzzOptions compares which EDNS options are taken for well-formed with miekg/dns.
func FuzzOptions(f *testing.F) {
	for _, options := range []string{
		"", "00030000", "0008 0007 0001 1800 0a0000", "0008 0014 0002 8000 20010db8 00 x12", "000a 0008 0102030405060708", "000b 0002 0064",
		"000f 0003 000f 21", "0009 0004 00000001", "0002 0004 00000e10", "0001 0012 0001 00 x16", "0004 0004 00000e10", "fde9 0001 ff",
		"0005 0003 05 07 08", "000c 0004 00 x4", "0012 0007 'agent' 00", "0013 0003 00 01 02",
	} {
		f.Add(wiretest.Bytes(f, options))
	}
	f.Fuzz(func(t *testing.T, options []byte) {
		if len(options) > 512 {
			return
		}
		packet := wiretest.Bytes(t, headerAR+question+"00 0029 04d0 0000 0000")
		packet = binary.BigEndian.AppendUint16(packet, uint16(len(options)))
		packet = append(packet, options...)
		err := new(dns.Msg).Unpack(packet)
		if got := validOptions(options); got != (err == nil) {
			t.Errorf("options %s valid: %v, but miekg/dns: %v", wiretest.Text(options), got, err)
		}
	})
}

// byMiekg is what miekg/dns makes of a packet, with the departures: NOTIFY is not taken, a missing question is an error.
func byMiekg(packet []byte) (Status, *dns.Msg) {
	if len(packet) < HeaderLen {
		return Ignored, nil
	}
	word := func(i int) uint16 { return uint16(packet[i])<<8 | uint16(packet[i+1]) }
	action := dns.DefaultMsgAcceptFunc(dns.Header{
		Id: word(0), Bits: word(2), Qdcount: word(4), Ancount: word(6), Nscount: word(8), Arcount: word(10),
	})
	if action == dns.MsgIgnore {
		return Ignored, nil
	}
	m := new(dns.Msg)
	if action != dns.MsgAccept || m.Unpack(packet) != nil || len(m.Question) == 0 || m.Opcode != dns.OpcodeQuery {
		return Rejected, nil
	}
	return Accepted, m
}

// otherRecords reports whether the packet holds records whose data Parse does not look into, and miekg/dns does.
func otherRecords(packet []byte) bool {
	_, off, err := dns.UnpackDomainName(packet, HeaderLen)
	if err != nil {
		return false
	}
	off += 4
	for i := 0; off < len(packet); i++ {
		_, next, err := dns.UnpackDomainName(packet, off)
		if err != nil || next+fixedLen > len(packet) {
			return false
		}
		opt := packet[next] == 0 && packet[next+1] == byte(TypeOPT)
		if before := int(packet[7]) + int(packet[9]); !opt || i < before {
			return true
		}
		off = next + fixedLen + int(packet[next+8])<<8 + int(packet[next+9])
	}
	return false
}

// compare checks that an accepted query says what miekg/dns read.
func compare(t *testing.T, q *Query, m *dns.Msg) {
	t.Helper()
	asked := m.Question[0]
	if got := string(AppendName(nil, q.Name())); got != asked.Name || uint16(q.Type) != asked.Qtype || uint16(q.Class) != asked.Qclass {
		t.Errorf("question %s %d %d, want %s %d %d", got, q.Class, q.Type, asked.Name, asked.Qclass, asked.Qtype)
	}
	if n := dns.CountLabel(asked.Name); q.Labels() != n {
		t.Errorf("%d labels, want %d", q.Labels(), n)
	}
	o := m.IsEdns0()
	if q.EDNS.Present != (o != nil) {
		t.Fatalf("OPT %v, want %v", q.EDNS.Present, o)
	}
	if o != nil && (q.EDNS.DO != o.Do() || q.EDNS.Version != o.Version() || q.EDNS.UDPSize != o.UDPSize()) {
		t.Errorf("OPT %+v, want %v", q.EDNS, o)
	}
}

// checkRejection checks that a refusal is a message with the query's ID.
func checkRejection(t *testing.T, q *Query) {
	t.Helper()
	reply := Rejection(q, nil)
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("rejection %s: %v", wiretest.Text(reply), err)
	}
	if m.Id != q.ID || !m.Response || m.Rcode != int(q.Reject) {
		t.Errorf("rejection\n%v", m)
	}
}

// TestQueryNames walks over the labels of a question.
func TestQueryNames(t *testing.T) {
	var q Query
	if q.Parse(wiretest.Bytes(t, header+"'Db-0' 'DB' 'prod' 'svc' 'Cluster' 'local' 00 0001 0001")) != Accepted {
		t.Fatal("not accepted")
	}
	var labels []string
	for i := range q.Labels() {
		labels = append(labels, string(q.Label(i)))
	}
	if got, want := fmt.Sprint(labels), "[db-0 db prod svc cluster local]"; got != want {
		t.Errorf("labels %s, want %s", got, want)
	}
	if got := string(AppendName(nil, q.Suffix(4))); got != "cluster.local." {
		t.Errorf("suffix %s", got)
	}
	if q.Start(q.Labels()) != len(q.Name())-1 {
		t.Errorf("the root is at %d of %d", q.Start(q.Labels()), len(q.Name()))
	}
	for zone, want := range map[string]bool{
		".": true, "local.": true, "cluster.local.": true, "db-0.db.prod.svc.cluster.local.": true,
		"uster.local.": false, "x.db-0.db.prod.svc.cluster.local.": false, "prod.": false,
	} {
		name, err := ParseName(zone)
		if err != nil {
			t.Fatal(err)
		}
		if q.Under(name) != want {
			t.Errorf("under %s: %v", zone, !want)
		}
	}
}

// TestDetach checks that a copy does not depend on the packet.
func TestDetach(t *testing.T) {
	packet := wiretest.Bytes(t, headerAR+question+"00 0029 04d0 0000 0000 0004 00030000")
	var q Query
	q.Parse(packet)
	d := q.Detach()
	clear(packet)
	q.Parse(wiretest.Bytes(t, header+"'other' 00 0001 0001"))
	if got := fmt.Sprintf("%s %x", AppendName(nil, d.Name()), d.EDNS.Options); got != "wWw.Example. 00030000" {
		t.Errorf("detached %s", got)
	}
}

// TestAsk checks what an inner question takes over from the outer one.
func TestAsk(t *testing.T) {
	var q, inner Query
	q.Parse(wiretest.Bytes(t, headerAR+question+"00 0029 04d0 0000 8000 0004 00030000"))
	name, _ := ParseName("web.prod.svc.cluster.local.")
	inner.Ask(&q, name, TypeAAAA)
	var r Reply
	r.Begin(&inner, nil)
	for range 200 { // more than the client takes
		r.Record(Answer, QuestionAt, TypeAAAA, 5)
		r.Bytes(make([]byte, 16))
		r.End()
	}
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatal(err)
	}
	if m.Truncated || len(m.Answer) != 200 || m.Question[0].Name != "web.prod.svc.cluster.local." {
		t.Errorf("%d answers to %v, truncated %v", len(m.Answer), m.Question, m.Truncated)
	}
	if inner.Depth != 1 || m.IsEdns0() == nil || !m.IsEdns0().Do() || len(inner.EDNS.Options) != 0 {
		t.Errorf("inner question at depth %d, OPT %+v", inner.Depth, inner.EDNS)
	}
}
