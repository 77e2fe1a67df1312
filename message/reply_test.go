package message

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message/wiretest"
)

// ask parses a query for name and typ, with OPT of that size unless it is 0.
func ask(t testing.TB, name string, typ uint16, size uint16) *Query {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, typ)
	m.Id = 0x1234
	if size > 0 {
		m.SetEdns0(size, true)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(Query)
	if q.Parse(packet) != Accepted {
		t.Fatalf("query for %s not accepted", name)
	}
	return q
}

// read unpacks a finished reply.
func read(t testing.TB, reply []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("%s: %v", wiretest.Text(reply), err)
	}
	return m
}

// text is a message without its first line of comment, tabs as spaces.
func text(m *dns.Msg) string {
	return strings.ReplaceAll(strings.ReplaceAll(m.String(), "\t", " "), "\n\n", "\n")
}

// set compiles n addresses 10.0.x.y.
func set(n int) []byte {
	var out []byte
	for i := range n {
		out = AppendAddress(out, []byte{10, 0, byte(i >> 8), byte(i)}, 5)
	}
	return out
}

func TestReply(t *testing.T) {
	target := wiretest.Bytes(t, "'db-0' 'db' 'prod' 'svc' 'cluster' 'local' 00")
	for _, tt := range []struct {
		name  string
		q     *Query
		write func(r *Reply)
		want  string
	}{
		{"addresses", ask(t, "WEB.prod.svc.cluster.local.", dns.TypeA, 0), func(r *Reply) {
			r.Authoritative = true
			r.Addresses(Answer, QuestionAt, set(2))
		}, `;; opcode: QUERY, status: NOERROR, id: 4660
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0
;; QUESTION SECTION:
;WEB.prod.svc.cluster.local. IN  A
;; ANSWER SECTION:
WEB.prod.svc.cluster.local. 5 IN A 10.0.0.0
WEB.prod.svc.cluster.local. 5 IN A 10.0.0.1
`},
		{"a service record and its address", ask(t, "_pg._tcp.db.prod.svc.cluster.local.", dns.TypeSRV, 1232), func(r *Reply) {
			r.Authoritative = true
			r.Record(Answer, QuestionAt, TypeSRV, 5)
			r.Uint16(0)
			r.Uint16(100)
			r.Uint16(5432)
			at := r.At()
			r.Bytes(target)
			r.End()
			r.Addresses(Additional, at, set(1))
		}, `;; opcode: QUERY, status: NOERROR, id: 4660
;; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 2
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags: do; udp: 1232
;; QUESTION SECTION:
;_pg._tcp.db.prod.svc.cluster.local. IN  SRV
;; ANSWER SECTION:
_pg._tcp.db.prod.svc.cluster.local. 5 IN SRV 0 100 5432 db-0.db.prod.svc.cluster.local.
;; ADDITIONAL SECTION:
db-0.db.prod.svc.cluster.local. 5 IN A 10.0.0.0
`},
		{"a denial", ask(t, "nosuch.cluster.local.", dns.TypeA, 4096), func(r *Reply) {
			r.Rcode, r.Authoritative = NXDomain, true
			r.RecordNamed(Authority, wiretest.Bytes(t, "'cluster' 'local' 00"), TypeSOA, 5)
			r.Bytes(wiretest.Bytes(t, "'ns' 'dns'"))
			r.Name(QuestionAt + 7)
			r.Bytes(wiretest.Bytes(t, "'hostmaster'"))
			r.Name(QuestionAt + 7)
			for _, n := range []uint32{1, 7200, 1800, 86400, 5} {
				r.Uint32(n)
			}
			r.End()
		}, `;; opcode: QUERY, status: NXDOMAIN, id: 4660
;; flags: qr aa rd; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags: do; udp: 1232
;; QUESTION SECTION:
;nosuch.cluster.local. IN  A
;; AUTHORITY SECTION:
cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
`},
		{"a text", ask(t, ".", dns.TypeTXT, 0), func(r *Reply) {
			r.Record(Answer, QuestionAt, TypeTXT, 28800)
			r.Uint8(5)
			r.String("1.1.0")
			r.End()
		}, `;; opcode: QUERY, status: NOERROR, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0
;; QUESTION SECTION:
;. IN  TXT
;; ANSWER SECTION:
. 28800 IN TXT "1.1.0"
`},
		{"a failure after an answer was begun", ask(t, "x.", dns.TypeA, 512), func(r *Reply) {
			r.Authoritative = true
			r.Addresses(Answer, QuestionAt, set(99))
			r.Fail(ServFail)
		}, `;; opcode: QUERY, status: SERVFAIL, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags: do; udp: 1232
;; QUESTION SECTION:
;x. IN  A
`},
		{"a wrong version (16 is BADVERS, miekg/dns prints it as TSIG does)", ask(t, "x.", dns.TypeA, 512), func(r *Reply) {
			r.Fail(BadVers)
		}, `;; opcode: QUERY, status: BADSIG, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags:; udp: 1232
;; QUESTION SECTION:
;x. IN  A
`},
		{"an extended response code", ask(t, "x.", dns.TypeA, 512), func(r *Reply) {
			r.Rcode, r.Authoritative = 23, true
		}, `;; opcode: QUERY, status: BADCOOKIE, id: 4660
;; flags: qr aa rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags: do; udp: 1232
;; QUESTION SECTION:
;x. IN  A
`},
		{"an extended response code for a client without OPT", ask(t, "x.", dns.TypeA, 0), func(r *Reply) {
			r.Addresses(Answer, QuestionAt, set(1))
			r.Rcode, r.Authoritative = 23, true
		}, `;; opcode: QUERY, status: SERVFAIL, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0
;; QUESTION SECTION:
;x. IN  A
`},
		{"an option", ask(t, "x.", dns.TypeA, 512), func(r *Reply) {
			r.Option(OptionNSID, []byte("pod-1"))
		}, `;; opcode: QUERY, status: NOERROR, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1
;; OPT PSEUDOSECTION:
; EDNS: version 0; flags: do; udp: 1232
; NSID: 706f642d31  (p)(o)(d)(-)(1)
;; QUESTION SECTION:
;x. IN  A
`},
		{"an option for a client without OPT", ask(t, "x.", dns.TypeA, 0), func(r *Reply) {
			r.Option(OptionNSID, []byte("pod-1"))
		}, `;; opcode: QUERY, status: NOERROR, id: 4660
;; flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0
;; QUESTION SECTION:
;x. IN  A
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Reply
			r.Begin(tt.q, nil)
			tt.write(&r)
			if got := text(read(t, r.Finish())); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestTruncation compares how many records are kept with miekg/dns, and checks when TC is set.
func TestTruncation(t *testing.T) {
	const name = "headless.prod.svc.cluster.local."
	for _, size := range []uint16{0, 100, 512, 513, 1232, 4096, 65507, 65535} {
		for _, n := range []int{1, 28, 29, 30, 73, 74, 120, 4500} {
			for _, transport := range []Transport{UDP, TCP} {
				q := ask(t, name, dns.TypeA, size)
				q.Transport = transport
				var r Reply
				r.Begin(q, nil)
				r.Addresses(Answer, QuestionAt, set(n))
				reply := r.Finish()
				got, want := read(t, reply), byTruncate(name, q, n)
				if len(got.Answer) != len(want.Answer) || got.Truncated != want.Truncated {
					t.Errorf("%d records over %v with size %d: %d kept, TC %v; want %d, %v", n, transport, size,
						len(got.Answer), got.Truncated, len(want.Answer), want.Truncated)
				}
				if len(reply) > q.Limit() {
					t.Errorf("%d bytes over %v with size %d", len(reply), transport, size)
				}
			}
		}
	}
}

// byTruncate is the reply as miekg/dns truncates it.
func byTruncate(name string, q *Query, n int) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, uint16(q.Type))
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: addr.AsSlice()})
	}
	if q.EDNS.Present {
		m.SetEdns0(q.EDNS.UDPSize, true)
	}
	m.Truncate(q.Limit())
	return m
}

// TestWantedCut checks that TC says that something wanted is missing, and only that (RFC 2181 section 9).
func TestWantedCut(t *testing.T) {
	long := make([]byte, 300)
	for _, tt := range []struct {
		sections []Section
		want     string // records kept in each section, TC
	}{
		{[]Section{Answer}, "1 0 0 false"},
		{[]Section{Answer, Answer}, "1 0 0 true"},
		{[]Section{Answer, Authority}, "1 0 0 true"},
		{[]Section{Answer, Additional}, "1 0 0 false"},
		{[]Section{Answer, Additional, Additional}, "1 0 0 false"},
		{[]Section{Answer, Authority, Additional}, "1 0 0 true"},
	} {
		var r Reply
		r.Begin(ask(t, "x.", dns.TypeTXT, 512), nil)
		for i, section := range tt.sections {
			r.Record(section, QuestionAt, 65280, 5)
			r.Bytes(long)
			if fitted := r.End(); fitted != (i == 0) {
				t.Errorf("%v: record %d fitted: %v", tt.sections, i, fitted)
			}
		}
		if r.Addresses(Additional, QuestionAt, set(1)); len(tt.sections) > 1 && r.Count(Additional) != 0 {
			t.Errorf("%v: an address went in behind what did not fit", tt.sections)
		}
		r.counts[Additional] -= min(r.counts[Additional], 1) // the address, where it was to fit
		got := fmt.Sprintf("%d %d %d %v", r.Count(Answer), r.Count(Authority), r.Count(Additional), r.Truncated)
		if got != tt.want {
			t.Errorf("%v: %s, want %s", tt.sections, got, tt.want)
		}
	}
}

// TestUncompressedLen compares sizes with those that miekg/dns gives for the same message uncompressed and whole.
func TestUncompressedLen(t *testing.T) {
	const name = "_http._tcp.Web.prod.svc.cluster.local."
	for _, n := range []int{0, 1, 3, 40} {
		var r Reply
		r.Begin(ask(t, name, dns.TypeSRV, 1232), nil)
		m := new(dns.Msg).SetQuestion(name, dns.TypeSRV)
		at := make([]int, n)
		for i := range at {
			host := fmt.Sprintf("web-%02d.web.prod.svc.cluster.local.", i)
			m.Answer = append(m.Answer, newRR(t, name+" 5 IN SRV 0 1 80 "+host), newRR(t, name+" 5 IN CNAME "+name))
			m.Extra = append(m.Extra, newRR(t, host+" 5 IN A 10.0.0.0"), newRR(t, host+" 5 IN A 10.0.0.1"))
			r.Record(Answer, QuestionAt, TypeSRV, 5)
			r.Bytes(make([]byte, 6))
			at[i] = r.At()
			r.Bytes(wiretest.Bytes(t, fmt.Sprintf("'web-%02d' 'web' 'prod' 'svc' 'cluster' 'local' 00", i)))
			if !r.End() {
				at[i] = at[0] // as long as the one that is not there
			}
			r.Record(Answer, QuestionAt, TypeCNAME, 5)
			r.Name(QuestionAt)
			r.End()
		}
		for _, at := range at {
			r.Addresses(Additional, at, set(2))
		}
		if got := r.UncompressedLen(); got != m.Len() {
			t.Errorf("%d records: %d bytes, want %d", n, got, m.Len())
		}
	}
}

func newRR(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// TestShuffle checks that addresses are the same set in a changing order, and that a cut takes a changing choice.
func TestShuffle(t *testing.T) {
	for _, tt := range []struct {
		n, kept int
		size    uint16
	}{{2, 2, 512}, {20, 20, 512}, {100, 28, 512}} {
		first, orders, seen := "", 0, make(map[string]bool)
		for range 200 {
			var r Reply
			r.Begin(ask(t, "headless.svc.cluster.local.", dns.TypeA, tt.size), nil)
			r.Shuffle = true
			r.Addresses(Answer, QuestionAt, set(tt.n))
			m := read(t, r.Finish())
			order := addresses(m.Answer)
			if first == "" {
				first = strings.Join(order, " ")
			} else if first != strings.Join(order, " ") {
				orders++
			}
			for _, a := range order {
				seen[a] = true
			}
			slices.Sort(order)
			if order = slices.Compact(order); len(order) != tt.kept {
				t.Fatalf("%d of %d addresses, want %d", len(order), tt.n, tt.kept)
			}
		}
		if orders == 0 || len(seen) != tt.n {
			t.Errorf("%d addresses: %d of 200 replies differ from the first, %d addresses seen", tt.n, orders, len(seen))
		}
	}
}

func addresses(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		out = append(out, rr.(*dns.A).A.String())
	}
	return out
}

// TestFarOwner writes addresses for names that no compression pointer reaches.
func TestFarOwner(t *testing.T) {
	for _, shuffled := range []bool{false, true} {
		q := ask(t, "headless.svc.cluster.local.", dns.TypeSRV, 0)
		q.Transport = TCP
		var r Reply
		r.Begin(q, nil)
		r.Shuffle = shuffled
		at := make([]int, 450)
		for i := range at {
			r.Record(Answer, QuestionAt, TypeSRV, 5)
			r.Bytes(make([]byte, 6))
			at[i] = r.At()
			r.Bytes(wiretest.Bytes(t, fmt.Sprintf("'web-%d' 'web' 'prod' 'svc' 'cluster' 'local' 00", i)))
			r.End()
		}
		want := make(map[string]int)
		for i, at := range at {
			if at > pointerReach {
				r.Addresses(Additional, at, set(3))
				want[fmt.Sprintf("web-%d.web.prod.svc.cluster.local.", i)] = 3
			}
		}
		m := read(t, r.Finish())
		for _, rr := range m.Extra {
			want[rr.Header().Name]--
		}
		for host, missing := range want {
			if missing != 0 {
				t.Errorf("shuffled %v: %d addresses of %s missing", shuffled, missing, host)
			}
		}
		if len(want) < 100 {
			t.Errorf("only %d names were out of reach", len(want))
		}
	}
}

// TestContinue checks what a reply takes over that is finished elsewhere.
func TestContinue(t *testing.T) {
	q := ask(t, "x.", dns.TypeA, 512)
	var r, later Reply
	r.Begin(q, nil)
	r.Shuffle = true
	r.Option(OptionNSID, []byte("a"))
	d := q.Detach()
	later.Continue(&r, d, nil)
	*q = *ask(t, "other.", dns.TypeAAAA, 0)
	r.Begin(q, nil)
	m := read(t, later.Finish())
	if m.Question[0].Name != "x." || m.IsEdns0() == nil || len(m.IsEdns0().Option) != 1 || !later.Shuffle {
		t.Errorf("continued, shuffle %v, as\n%v", later.Shuffle, m)
	}
	later.Begin(d, nil)
	if m := read(t, later.Finish()); len(m.IsEdns0().Option) != 0 {
		t.Errorf("options of the reply before\n%v", m)
	}
}

// TestNoAllocation checks the promise of the package comment.
func TestNoAllocation(t *testing.T) {
	packet := wiretest.Bytes(t, headerAR+question+"00 0029 04d0 0000 0000 0004 00030000")
	addresses, out := set(40), make([]byte, 0, MaxLen)
	var q Query
	var r Reply
	reply := func() {
		q.Parse(packet)
		r.Begin(&q, out)
		r.Shuffle = true
		r.Option(OptionNSID, []byte("pod-1"))
		r.Addresses(Answer, QuestionAt, addresses)
		r.Record(Authority, QuestionAt, TypeNS, 5)
		r.Name(QuestionAt)
		r.End()
		r.Finish()
	}
	reply() // makes room for the option
	if n := testing.AllocsPerRun(100, reply); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReply writes replies of random records and checks that they can be read back and keep to the limit.
func FuzzReply(f *testing.F) {
	f.Add(uint64(1), uint16(0), uint8(10))
	f.Add(uint64(2), uint16(1232), uint8(100))
	f.Fuzz(func(t *testing.T, seed uint64, size uint16, n uint8) {
		random := rand.New(rand.NewPCG(seed, 0))
		q := ask(t, "a.headless.svc.cluster.local.", dns.TypeA, size)
		q.Transport = Transport(random.IntN(int(Transports)))
		var r Reply
		r.Begin(q, nil)
		r.Shuffle = random.IntN(2) == 0
		owners := []int{QuestionAt, QuestionAt + 2}
		section := Answer
		for range n {
			if section < Additional && random.IntN(int(n)) < 3 {
				section++
			}
			switch random.IntN(3) {
			case 0:
				r.Addresses(section, owners[random.IntN(len(owners))], set(random.IntN(9)))
			case 1:
				r.Record(section, owners[random.IntN(len(owners))], TypeCNAME, 5)
				at := r.At()
				r.Bytes(wiretest.Bytes(t, "'x' 'y' 00"))
				if r.End() {
					owners = append(owners, at)
				}
			case 2:
				r.Record(section, owners[random.IntN(len(owners))], 65280, 5)
				r.Bytes(make([]byte, random.IntN(600)))
				r.End()
			}
		}
		reply := r.Finish()
		if len(reply) > q.Limit() {
			t.Errorf("%d bytes, the limit is %d", len(reply), q.Limit())
		}
		if m := read(t, reply); m.Id != q.ID || m.Truncated != r.Truncated || len(m.Question) != 1 {
			t.Errorf("read back as\n%v", m)
		}
	})
}
