package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// take packs a server's reply and makes it the reply to a client's request.
func take(t testing.TB, m *dns.Msg, edit func(*dns.Msg), shuffle bool) *Reply {
	t.Helper()
	name := m.Question[0].Name
	p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, name, Type(m.Question[0].Qtype)), shuffle)
	if err != nil {
		t.Fatal(err)
	}
	_, r := asked(t, m, edit)
	r.Shuffle = shuffle
	if !r.Take(p) {
		t.Fatal("not taken")
	}
	return r
}

func finished(t testing.TB, r *Reply) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatal(err)
	}
	return m
}

// many is an answer of n addresses and as many records in the other sections.
func many(n int) string {
	var answer, authority, additional strings.Builder
	for i := range n {
		fmt.Fprintf(&answer, "www.example. 5 IN A 192.0.2.%d\n", i)
		fmt.Fprintf(&authority, "example. 5 IN NS ns%d.example.\n", i)
		fmt.Fprintf(&additional, "ns%d.example. 5 IN A 192.0.2.%d\n", i, i)
	}
	return answer.String() + "authority\n" + authority.String() + "additional\n" + additional.String()
}

func TestTakeFits(t *testing.T) {
	edns := func(size uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, false) } }
	for _, tt := range []struct {
		name    string
		records string
		edit    func(*dns.Msg)
		want    string
	}{
		{"all fit", many(4), nil, "4 4 4 false"},
		{"additional records cut", many(10), nil, "10 10 8 false"},
		{"authority cut", many(13), nil, "13 13 2 false"},
		{"authority missing in part", many(17), nil, "17 11 0 true"},
		{"answer cut", many(40), nil, "30 0 0 true"},
		{"room for OPT", many(40), edns(512), "29 0 0 true"},
		{"a larger client", many(40), edns(1232), "40 29 0 true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := foreign(t, "www.example.", dns.TypeA, tt.records)
			r := take(t, m, tt.edit, false)
			m.Compress = false
			if got := r.UncompressedLen(); got != m.Len() {
				t.Errorf("uncompressed %d bytes, want %d", got, m.Len())
			}
			reply := finished(t, r)
			extra := len(reply.Extra)
			if reply.IsEdns0() != nil {
				extra--
			}
			if got := fmt.Sprint(len(reply.Answer), len(reply.Ns), extra, reply.Truncated); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestWhole: a step sees what does not fit the client, and the client gets what does.
func TestWhole(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, many(40))
	p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "www.example.", TypeA), false)
	if err != nil {
		t.Fatal(err)
	}
	_, r := asked(t, m, nil)
	r.Whole()
	r.Take(p)
	if n := r.Count(Answer) + r.Count(Authority) + r.Count(Additional); n != 120 || r.Truncated {
		t.Fatalf("%d records, truncated %v", n, r.Truncated)
	}
	if again := r.Pack(); string(again.records) != string(p.records) {
		t.Error("packed again it is another reply")
	}
	r.SetTTL(77)
	if again := r.Pack(); p.records[9] != 5 || again.records[9] != 77 {
		t.Errorf("what was packed first has TTL %d, what was packed now %d", p.records[9], again.records[9])
	}
	r.Fit()
	reply := finished(t, r)
	if len(reply.Answer) != 30 || !reply.Truncated || reply.Answer[29].Header().Ttl != 77 {
		t.Errorf("%d answers, truncated %v: %v", len(reply.Answer), reply.Truncated, reply.Answer[29])
	}
}

// TestWholeWritten: steps write more than fits the client, and that is cut in the end.
func TestWholeWritten(t *testing.T) {
	_, r := asked(t, foreign(t, "www.example.", dns.TypeA, ""), nil)
	r.Whole()
	var set []byte
	for i := range 40 {
		set = AppendAddress(set, []byte{192, 0, 2, byte(i)}, 5)
	}
	r.Addresses(Answer, QuestionAt, set)
	for range 10 {
		r.Record(Additional, QuestionAt, TypeTXT, 5)
		r.Bytes([]byte("\x03abc"))
		r.End()
	}
	if r.Count(Answer) != 40 || r.Count(Additional) != 10 {
		t.Errorf("%d and %d records", r.Count(Answer), r.Count(Additional))
	}
	r.Fit()
	if r.Record(Additional, QuestionAt, TypeTXT, 5); r.End() {
		t.Error("a record behind the one that did not fit")
	}
	if m := finished(t, r); len(m.Answer) != 30 || !m.Truncated {
		t.Errorf("%d answers, truncated %v", len(m.Answer), m.Truncated)
	}
}

// TestWholeForTwo: all of a reply stays until both steps that want it have seen it.
func TestWholeForTwo(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, many(40))
	p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "www.example.", TypeA), false)
	if err != nil {
		t.Fatal(err)
	}
	q, r := asked(t, m, nil)
	r.Whole()
	r.Whole()
	r.Restart(q)
	r.Take(p)
	for _, want := range []int{40, 30} {
		r.Fit()
		if r.Count(Answer) != want || r.Truncated != (want == 30) {
			t.Errorf("%d answers, truncated %v", r.Count(Answer), r.Truncated)
		}
	}
}

// TestPackWritten: a reply that steps have written can be kept and given again.
func TestPackWritten(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, "")
	_, r := asked(t, m, nil)
	r.Authoritative = true
	r.Record(Answer, QuestionAt, TypeCNAME, 30)
	r.Bytes([]byte("\x03web"))
	r.Name(QuestionAt + 4)
	r.End()
	p := r.Pack()
	want := plain(finished(t, r))
	_, again := asked(t, m, nil)
	again.Take(p)
	if got := plain(finished(t, again)); got != want || !strings.Contains(got, "www.example. 30 IN CNAME web.example.") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTakeRefuses(t *testing.T) {
	p, err := new(Packer).Pack(packed(t, foreign(t, "www.example.", dns.TypeA, "www.example. 5 IN A 192.0.2.1")), wireQuestion(t, "www.example.", TypeA), false)
	if err != nil {
		t.Fatal(err)
	}
	_, r := asked(t, foreign(t, "longer.example.", dns.TypeA, ""), nil)
	if r.Take(p) {
		t.Error("taken for a question of another length")
	}
	_, r = asked(t, foreign(t, "www.example.", dns.TypeA, ""), nil)
	if !r.Take(p) || r.Take(p) {
		t.Error("taken twice, or not at all")
	}
}

// TestAuthenticated: AD is for clients that can tell what it means.
func TestAuthenticated(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, "www.example. 5 IN A 192.0.2.1")
	m.AuthenticatedData = true
	for _, tt := range []struct {
		name string
		edit func(*dns.Msg)
		want bool
	}{
		{"plain", nil, false},
		{"AD", func(m *dns.Msg) { m.AuthenticatedData = true }, true},
		{"EDNS", func(m *dns.Msg) { m.SetEdns0(1232, false) }, false},
		{"DO", func(m *dns.Msg) { m.SetEdns0(1232, true) }, true},
	} {
		if got := finished(t, take(t, m, tt.edit, false)).AuthenticatedData; got != tt.want {
			t.Errorf("%s: AD %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTakeShuffles: CNAMEs come first, then others, then addresses, then MX; each address and each MX comes first among its
// kind about as often as the others. The bound is five standard deviations.
func TestTakeShuffles(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeANY, `
		web.example. 5 IN MX 10 a.example.
		web.example. 5 IN A 192.0.2.1
		web.example. 5 IN A 192.0.2.2
		web.example. 5 IN MX 20 longer.b.example.
		web.example. 5 IN AAAA 2001:db8::1
		web.example. 5 IN AAAA 2001:db8::2
		web.example. 5 IN TXT "x"
		web.example. 5 IN MX 30 c.a.example.
		www.example. 5 IN CNAME web.example.
		web.example. 5 IN A 192.0.2.3
		additional
		a.example. 5 IN A 192.0.2.9`)
	const rounds = 3000
	first := map[string]int{}
	for range rounds {
		got := finished(t, take(t, m, nil, true))
		var types []string
		for i, rr := range got.Answer {
			types = append(types, dns.TypeToString[rr.Header().Rrtype])
			if i == 0 || rr.Header().Rrtype != got.Answer[i-1].Header().Rrtype {
				first[rr.String()]++
			}
		}
		// A and AAAA come as they are, sorted together; each kind among itself.
		if kinds := strings.Join(types, " "); kinds != "CNAME TXT A A AAAA AAAA A MX MX MX" {
			t.Fatalf("order %s", kinds)
		}
		compareRecords(t, got, m)
	}
	for rr, n := range first {
		if !strings.Contains(rr, "MX") {
			continue
		}
		if n < rounds/3-130 || n > rounds/3+130 {
			t.Errorf("%s comes first %d times of %d", rr, n, rounds)
		}
	}
}

// TestShuffleAddresses: the same for a plain set.
func TestShuffleAddresses(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, "www.example. 5 IN A 192.0.2.1\nwww.example. 5 IN A 192.0.2.2\nwww.example. 5 IN A 192.0.2.3")
	const rounds = 3000
	first := map[string]int{}
	for range rounds {
		got := finished(t, take(t, m, nil, true))
		first[got.Answer[0].String()]++
		compareRecords(t, got, m)
	}
	for rr, n := range first {
		if n < rounds/3-130 || n > rounds/3+130 {
			t.Errorf("%s comes first %d times of %d", rr, n, rounds)
		}
	}
	if len(first) != 3 {
		t.Errorf("%d addresses come first", len(first))
	}
}

// TestTakeShufflesGlue: behind the answer too CNAMEs come first, then others, then addresses, then MX. Of the addresses of
// each family there is another one first each time, whatever name it is of, unless that is named there for the first time; and
// each stays with its name. The OPT of the server is gone, and ours comes last.
func TestTakeShufflesGlue(t *testing.T) {
	const srv = `
		_x._tcp.example. 5 IN SRV 0 1 80 a.example.
		_x._tcp.example. 5 IN SRV 0 1 80 b.example.
		_x._tcp.example. 5 IN SRV 0 1 80 c.example.`
	var long strings.Builder // more names than are kept to be pointed to
	for i := range 100 {
		fmt.Fprintf(&long, "\nn%d.stranger.test. 5 IN A 192.0.2.%d\nn%d.stranger.test. 5 IN AAAA 2001:db8::%d", i, i, i, i)
	}
	for _, tt := range []struct {
		name, records string
		types         string // of the sections behind the answer
		first         int    // how many come first of their section and type
	}{
		{"one address each", srv + `
			additional
			a.example. 5 IN A 192.0.2.1
			b.example. 5 IN A 192.0.2.2
			c.example. 5 IN A 192.0.2.3`, "A A A", 3},
		{"both families", srv + `
			additional
			a.example. 5 IN A 192.0.2.1
			a.example. 5 IN AAAA 2001:db8::1
			b.example. 5 IN A 192.0.2.2
			b.example. 5 IN AAAA 2001:db8::2`, "A AAAA A AAAA", 4},
		{"a name that is written out", srv + `
			additional
			other.test. 5 IN A 192.0.2.1
			other.test. 5 IN A 192.0.2.2
			other.test. 5 IN A 192.0.2.3`, "A A A", 3},
		{"other records between", srv + `
			authority
			example. 5 IN A 192.0.2.1
			example. 5 IN NS a.example.
			example. 5 IN A 192.0.2.2
			additional
			a.example. 5 IN A 192.0.2.1
			a.example. 5 IN MX 10 mx.test.
			b.example. 5 IN A 192.0.2.2
			mx.test. 5 IN A 192.0.2.3
			b.example. 5 IN TXT "x"
			www.example. 5 IN CNAME a.example.`, "NS A A CNAME TXT A A A MX", 8},
		{"many names", "\nadditional" + long.String(), strings.TrimSpace(strings.Repeat("A AAAA ", 100)), 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := foreign(t, "_x._tcp.example.", dns.TypeSRV, tt.records)
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
			first := map[string]bool{}
			for range 300 {
				got := finished(t, take(t, m, func(m *dns.Msg) { m.SetEdns0(65535, false) }, true))
				if opt := got.Extra[len(got.Extra)-1]; opt.Header().Rrtype != dns.TypeOPT || len(opt.(*dns.OPT).Option) > 0 {
					t.Fatalf("last comes %v", opt)
				}
				compareRecords(t, got, m)
				var types []string
				for section, rrs := range [][]dns.RR{got.Ns, got.Extra[:len(got.Extra)-1]} {
					seen := map[uint16]bool{}
					for _, rr := range rrs {
						typ := rr.Header().Rrtype
						types = append(types, dns.TypeToString[typ])
						if !seen[typ] {
							seen[typ] = true
							first[fmt.Sprint(section, rr)] = true
						}
					}
				}
				if got := strings.Join(types, " "); got != tt.types {
					t.Fatalf("order %s, want %s", got, tt.types)
				}
			}
			if len(first) < tt.first {
				t.Errorf("%d come first, want %d: %v", len(first), tt.first, first)
			}
		})
	}
}

// TestTakeAllocatesNothing, with and without a random order.
func TestTakeAllocatesNothing(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, "www.example. 5 IN CNAME a.example.\na.example. 5 IN A 192.0.2.1\na.example. 5 IN A 192.0.2.2\n"+
		"additional\nb.example. 5 IN A 192.0.2.1\nc.example. 5 IN A 192.0.2.2\nb.example. 5 IN AAAA 2001:db8::1\nc.example. 5 IN AAAA 2001:db8::2")
	p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "www.example.", TypeA), true)
	if err != nil {
		t.Fatal(err)
	}
	q, r := asked(t, m, nil)
	out := make([]byte, 0, 512)
	for _, shuffle := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() {
			r.Begin(q, out)
			r.Shuffle = shuffle
			r.Take(p)
			r.SetTTL(7)
			r.Finish()
		}); n != 0 {
			t.Errorf("shuffle %v: %v allocations", shuffle, n)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	m := foreign(b, "www.example.", dns.TypeA, "www.example. 5 IN CNAME a.example.\na.example. 5 IN A 192.0.2.1\na.example. 5 IN A 192.0.2.2")
	p, err := new(Packer).Pack(packed(b, m), wireQuestion(b, "www.example.", TypeA), true)
	if err != nil {
		b.Fatal(err)
	}
	q, r := asked(b, m, nil)
	out := make([]byte, 0, 512)
	for b.Loop() {
		r.Begin(q, out)
		r.Shuffle = true
		r.Take(p)
		r.SetTTL(7)
		r.Finish()
	}
}

func BenchmarkPack(b *testing.B) {
	m := foreign(b, "www.example.", dns.TypeA, "www.example. 5 IN CNAME a.example.\na.example. 5 IN A 192.0.2.1\na.example. 5 IN A 192.0.2.2")
	m.Compress = true
	packet, question := packed(b, m), wireQuestion(b, "www.example.", TypeA)
	var p Packer
	for b.Loop() {
		if _, err := p.Pack(packet, question, true); err != nil {
			b.Fatal(err)
		}
	}
}
