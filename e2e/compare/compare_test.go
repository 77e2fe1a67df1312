package compare

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// answer packs a message made of a question for a.example. and records, and takes it apart again.
func answer(t *testing.T, change func(*dns.Msg), records ...string) *Answer {
	t.Helper()
	m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	m.Id, m.Response, m.Authoritative = 1, true, true
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if change != nil {
		change(m)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	a, err := Parse(packet)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestDifference is about what the end-to-end tests would overlook if it were overlooked here.
func TestDifference(t *testing.T) {
	const one, two, soa = "a.example. 5 A 10.0.0.1", "a.example. 5 A 10.0.0.2", "a.example. 5 SOA ns.example. mail.example. 7 1 2 3 4"
	opt := func(size uint16, do bool) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, do) } }
	for _, test := range []struct {
		name      string
		want, got *Answer
		differs   string
	}{
		{"nothing", answer(t, nil, one, two), answer(t, nil, one, two), ""},
		{"the order", answer(t, nil, one, two), answer(t, nil, two, one), ""},
		{"the serial", answer(t, nil, soa), answer(t, nil, strings.Replace(soa, " 7 ", " 8 ", 1)), ""},
		{"the serial, 0", answer(t, nil, soa), answer(t, nil, strings.Replace(soa, " 7 ", " 0 ", 1)), "answer section"},
		{"a record", answer(t, nil, one, two), answer(t, nil, one), "answer section"},
		{"a record twice", answer(t, nil, one), answer(t, nil, one, one), "answer section"},
		{"a TTL", answer(t, nil, one), answer(t, nil, strings.Replace(one, " 5 ", " 6 ", 1)), "answer section"},
		{"an owner's letter case", answer(t, nil, one), answer(t, nil, strings.ToUpper(one)), "answer section"},
		{"a section", answer(t, nil, one), answer(t, func(m *dns.Msg) { m.Ns, m.Answer = m.Answer, nil }, one), "answer section"},
		{"the rcode", answer(t, nil), answer(t, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }), "rcode"},
		{"AA", answer(t, nil), answer(t, func(m *dns.Msg) { m.Authoritative = false }), "flags"},
		{"TC", answer(t, nil), answer(t, func(m *dns.Msg) { m.Truncated = true }), "flags"},
		{"Z", answer(t, nil), answer(t, func(m *dns.Msg) { m.Zero = true }), "flags"},
		{"the opcode", answer(t, nil), answer(t, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), "flags"},
		{"the ID", answer(t, nil), answer(t, func(m *dns.Msg) { m.Id = 2 }), "ID"},
		{"the question's letter case", answer(t, nil), answer(t, func(m *dns.Msg) { m.Question[0].Name = "A.example." }), "question"},
		{"OPT", answer(t, opt(1232, false)), answer(t, nil), "OPT"},
		{"the OPT's size", answer(t, opt(1232, false)), answer(t, opt(512, false)), "OPT"},
		{"DO", answer(t, opt(1232, true)), answer(t, opt(1232, false)), "OPT"},
		{"the extended rcode", answer(t, opt(1232, false)), answer(t, func(m *dns.Msg) { m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadVers }), "rcode"},
		{"any reply", answer(t, nil), &Answer{None: true}, "one replies, the other does not"},
	} {
		if got := Difference(test.want, test.got); got != test.differs {
			t.Errorf("%s: Difference is %q, want %q", test.name, got, test.differs)
		}
	}
}

func TestOrdered(t *testing.T) {
	const alias, target = "a.example. 5 CNAME b.example.", "b.example. 5 A 10.0.0.1"
	if err := answer(t, nil, alias, target).Ordered(); err != nil {
		t.Errorf("a CNAME before its target: %v", err)
	}
	if err := answer(t, nil, target, alias).Ordered(); err == nil {
		t.Error("a CNAME behind its target is taken for ordered")
	}
	if err := answer(t, nil, alias, "b.example. 5 CNAME a.example.").Ordered(); err != nil {
		t.Errorf("a circle: %v", err)
	}
}

// TestParseRefuses is about messages that a lenient client would still read.
func TestParseRefuses(t *testing.T) {
	m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][]byte{
		"bytes behind the last record": append(append([]byte(nil), packet...), 0),
		"a question cut short":         packet[:len(packet)-1],
		"half a header":                packet[:7],
	} {
		if _, err := Parse(broken); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestJudgeCut is about answers that did not fit.
func TestJudgeCut(t *testing.T) {
	many := func(n int) []Record {
		var records []Record
		for i := range n {
			records = append(records, Record{"a.example.", 5, dns.TypeA, string(rune('a' + i))})
		}
		return records
	}
	want := &Answer{Flags: flagTC, Sections: [3][]Record{many(10)}}
	whole := &Answer{Sections: [3][]Record{many(20)}}
	for _, test := range []struct {
		name  string
		got   []Record
		wrong string
	}{
		{"other records", many(20)[10:], ""},
		{"one less", many(9), "9 answer records fit, not 10"},
		{"one twice", append(many(9), many(1)...), "a record comes twice"},
		{"a strange one", append(many(9), Record{"a.example.", 5, dns.TypeA, "stranger"}), "records that are not among the whole answer's"},
	} {
		if got := cutWrongly(want, whole, &Answer{Flags: flagTC, Sections: [3][]Record{test.got}}); got != test.wrong {
			t.Errorf("%s: %q, want %q", test.name, got, test.wrong)
		}
	}
	q := &question.Question{} // without OPT: 512 bytes
	glue := &Answer{Sections: [3][]Record{nil, nil, many(3)}}
	for i := range glue.Sections[additional] {
		glue.Sections[additional][i].Data = "10.0.0." + glue.Sections[additional][i].Data
		glue.Sections[additional][i].Data = strings.NewReplacer("a", "1", "b", "2", "c", "3").Replace(glue.Sections[additional][i].Data)
	}
	part := [3][]Record{nil, nil, glue.Sections[additional][:2]}
	if got := Difference(glue.withRoomFor(q, &Answer{Sections: part, Size: 500}), &Answer{Sections: part}); got != "" {
		t.Errorf("a record that has no room is missed: %s", got)
	}
	if got := Difference(glue.withRoomFor(q, &Answer{Sections: part, Size: 400}), &Answer{Sections: part}); got == "" {
		t.Error("a record that has room is not missed")
	}
}
