package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message/wiretest"
)

// wireQuestion is the question section of a request.
func wireQuestion(t testing.TB, name string, typ Type) []byte {
	t.Helper()
	wire, err := PackName(name)
	if err != nil {
		t.Fatal(err)
	}
	return append(wire, byte(typ>>8), byte(typ), 0, 1)
}

// foreign makes the reply of a server to a question for name and typ, out of records in presentation format, one in each
// line; a line "authority" or "additional" begins the section.
func foreign(t testing.TB, name string, typ uint16, records string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, typ)
	m.Response, m.RecursionAvailable = true, true
	section := &m.Answer
	for _, line := range strings.Split(strings.TrimSpace(records), "\n") {
		switch line = strings.TrimSpace(line); line {
		case "":
		case "authority":
			section = &m.Ns
		case "additional":
			section = &m.Extra
		default:
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			*section = append(*section, rr)
		}
	}
	return m
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asked makes a Query for the first question of m, and a Reply to it that nothing has been written to.
func asked(t testing.TB, m *dns.Msg, edit func(*dns.Msg)) (*Query, *Reply) {
	t.Helper()
	request := new(dns.Msg).SetQuestion(m.Question[0].Name, m.Question[0].Qtype)
	request.Id = 4321
	if edit != nil {
		edit(request)
	}
	q, r := new(Query), new(Reply)
	if q.Parse(packed(t, request)) != Accepted {
		t.Fatalf("request not accepted: %v", request)
	}
	r.Begin(q, nil)
	return q, r
}

// plain is a message as its flags and records.
func plain(m *dns.Msg) string {
	var flags []string
	for name, set := range map[string]bool{"aa": m.Authoritative, "tc": m.Truncated, "ra": m.RecursionAvailable, "ad": m.AuthenticatedData} {
		if set {
			flags = append(flags, name)
		}
	}
	slices.Sort(flags)
	out := dns.RcodeToString[m.Rcode] + " " + strings.Join(flags, " ") + "\n"
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				out += fmt.Sprintf("%d %s\n", i, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
	}
	return out
}

// everyName has each type whose data hold names, some of them the question's or below it.
const everyName = `
	www.example.org. 300 IN CNAME web.example.org.
	web.example.org. 60 IN CNAME web.cdn.example.net.
	web.cdn.example.net. 20 IN A 192.0.2.1
	web.cdn.example.net. 20 IN AAAA 2001:db8::1
	web.cdn.example.net. 20 IN NS ns.example.org.
	web.cdn.example.net. 20 IN PTR cdn.example.net.
	web.cdn.example.net. 20 IN MX 10 mx.example.org.
	web.cdn.example.net. 20 IN MX 20 .
	web.cdn.example.net. 20 IN SRV 1 2 53 ns.example.org.
	web.cdn.example.net. 20 IN NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:info@example.org!" sip.example.org.
	web.cdn.example.net. 20 IN NAPTR 1 2 "" "" "" .
	web.cdn.example.net. 20 IN DNAME example.org.
	web.cdn.example.net. 20 IN MINFO a.example.org. b.example.org.
	web.cdn.example.net. 20 IN RP a.example.org. b.example.org.
	web.cdn.example.net. 20 IN AFSDB 1 a.example.org.
	web.cdn.example.net. 20 IN KX 1 a.example.org.
	web.cdn.example.net. 20 IN PX 1 a.example.org. b.example.org.
	web.cdn.example.net. 20 IN RRSIG A 8 3 20 20300101000000 20200101000000 12345 example.net. c2lnbmF0dXJl
	web.cdn.example.net. 20 IN NSEC \000.web.cdn.example.net. A RRSIG NSEC
	web.cdn.example.net. 20 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1
	web.cdn.example.net. 20 IN SVCB 1 svc.example.org. port=53
	web.cdn.example.net. 20 IN TXT "a b" "c"
	web.cdn.example.net. 20 IN CAA 0 issue "ca.example.org"
	web.cdn.example.net. 20 IN TYPE65000 \# 3 c00c00
	authority
	example.org. 5 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 30
	additional
	ns.example.org. 5 IN A 192.0.2.53`

func TestPackTakesOver(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compressed %v", compress), func(t *testing.T) {
			m := foreign(t, "www.example.org.", dns.TypeA, everyName)
			m.Compress, m.Authoritative, m.AuthenticatedData = compress, true, true
			m.SetEdns0(4096, true)
			p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "wWw.exaMPLE.org.", TypeA), false)
			if err != nil {
				t.Fatal(err)
			}
			_, r := asked(t, m, func(m *dns.Msg) { m.SetEdns0(65535, true) })
			if !r.Take(p) {
				t.Fatal("not taken")
			}
			uncompressed := r.UncompressedLen()
			reply := r.Finish()
			got := new(dns.Msg)
			if err := got.Unpack(reply); err != nil {
				t.Fatal(err)
			}
			if plain(got) != plain(m) {
				t.Errorf("got\n%s\nwant\n%s", plain(got), plain(m))
			}
			m.Compress, m.Extra = false, m.Extra[:1]
			if uncompressed != m.Len() {
				t.Errorf("uncompressed %d bytes, want %d", uncompressed, m.Len())
			}
			if o := got.IsEdns0(); o == nil || o.UDPSize() != OwnUDPSize {
				t.Errorf("OPT %v", o)
			}
		})
	}
}

// TestPackCompresses: what a server sent at length is as short here as if it had compressed it.
func TestPackCompresses(t *testing.T) {
	m := foreign(t, "www.example.org.", dns.TypeA, everyName)
	long, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "www.example.org.", TypeA), false)
	if err != nil {
		t.Fatal(err)
	}
	m.Compress = true
	if got, want := HeaderLen+len(wireQuestion(t, "www.example.org.", TypeA))+len(long.records), m.Len(); got > want {
		t.Errorf("%d bytes, miekg/dns compresses to %d", got, want)
	}
}

// TestPackUnmixes checks that the random letter case of a question does not come back in the data of records.
func TestPackUnmixes(t *testing.T) {
	const question = "_http._tcp.Web.sVc.cLuStEr."
	tests := []struct {
		mixed        bool
		target, want string
	}{
		{true, "A.Web.sVc.cLuStEr.", "A.web.svc.cluster."},
		{true, "A.B.cLuStEr.", "A.B.cluster."},
		{true, "A.web.svc.CLUSTER.", "A.web.svc.CLUSTER."},
		{true, "xcLuStEr.", "xcLuStEr."},
		{true, "cLuStEr.", "cluster."},
		{true, ".", "."},
		{false, "A.Web.sVc.cLuStEr.", "A.Web.sVc.cLuStEr."},
	}
	for _, tt := range tests {
		m := foreign(t, question, dns.TypeSRV, question+" 5 IN SRV 1 2 3 "+tt.target)
		p := Packer{Datagrams: tt.mixed}
		reply, err := p.Pack(packed(t, m), wireQuestion(t, question, TypeSRV), false)
		if err != nil {
			t.Fatal(err)
		}
		_, r := asked(t, m, nil)
		r.Take(reply)
		got := new(dns.Msg)
		if err := got.Unpack(r.Finish()); err != nil {
			t.Fatal(err)
		}
		if target := got.Answer[0].(*dns.SRV).Target; target != tt.want {
			t.Errorf("%s, mixed %t: got %s, want %s", tt.target, tt.mixed, target, tt.want)
		}
	}
}

// TestPackLenient checks what is not as it should be, and taken all the same.
func TestPackLenient(t *testing.T) {
	const question = "www.example."
	whole := packed(t, foreign(t, question, dns.TypeA, "www.example. 5 IN A 192.0.2.1\nwww.example. 5 IN A 192.0.2.2"))
	more := slices.Clone(whole)
	more[7]++ // answers
	cut := whole[:len(whole)-3]
	tests := []struct {
		name      string
		packet    []byte
		datagrams bool
		want      string
	}{
		{"a count of more than there are", more, false, "2 records, truncated false"},
		{"the end is lost in a datagram", cut, true, "0 records, truncated true"},
		{"the end is lost in a stream", cut, false, "reply of 80 bytes: it ends early"},
	}
	for _, tt := range tests {
		p := Packer{Datagrams: tt.datagrams}
		reply, err := p.Pack(tt.packet, wireQuestion(t, question, TypeA), false)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%d records, truncated %t", reply.counts[0], reply.Truncated)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	const (
		head     = "0000 8180 0001 0001 0000 0000 "
		headTC   = "0000 8380 0001 0001 0000 0000 "
		headAR   = "0000 8180 0001 0000 0000 0001 "
		question = "'www' 'example' 00 0001 0001 " // 12 to 29
		fixedA   = "0001 0001 0000 003c "
		address  = "0004 c0000201"
	)
	for _, tt := range []struct{ name, packet, want string }{
		{"right", head + question + "c00c" + fixedA + address, "NOERROR ra\n0 www.example. 60 IN A 192.0.2.1\n"},
		{"in another letter case", head + "'WWW' 'eXample' 00 0001 0001 " + "c00c" + fixedA + address, "NOERROR ra\n0 www.example. 60 IN A 192.0.2.1\n"},
		{"owner in another letter case", head + question + "'WWW' 'exAmple' 00" + fixedA + address, "NOERROR ra\n0 www.example. 60 IN A 192.0.2.1\n"},
		{"nothing", "", "other"},
		{"a query", "0000 0100 0001 0000 0000 0000 " + question, "other"},
		{"of another opcode", "0000 a180 0001 0000 0000 0000 " + question, "other"},
		{"without a question", "0000 8182 0000 0000 0000 0000 ", "other"},
		{"two questions", "0000 8180 0002 0000 0000 0000 " + question + question, "other"},
		{"another name", head + "'wwx' 'example' 00 0001 0001 " + "c00c" + fixedA + address, "other"},
		{"a name of other labels", head + "03777777 03657861 03 6d706c65 00 0001 0001 " + "c00c" + fixedA + address, "other"},
		{"another type", head + "'www' 'example' 00 001c 0001 " + "c00c" + fixedA + address, "other"},
		{"another class", head + "'www' 'example' 00 0001 0003 " + "c00c" + fixedA + address, "other"},
		{"the question compressed", head + "c00c 0001 0001 " + "c00c" + fixedA + address, "other"},
		{"owner without an end", head + question + "'a'", errName.Error()},
		{"owner that points forwards", head + question + "c029" + fixedA + address, errName.Error()},
		{"owner that points to itself", head + question + "c01d" + fixedA + address, errName.Error()},
		{"owner that points into the header", head + question + "c00b" + fixedA + address, errName.Error()},
		{"owner that points back into itself", head + question + "'a' c01d" + fixedA + address, errName.Error()},
		{"record without an end", head + question + "c00c 0001 0001 0000", errEnd.Error()},
		{"data longer than the message", head + question + "c00c" + fixedA + "0005 c0000201", errEnd.Error()},
		{"address of three bytes", head + question + "c00c" + fixedA + "0003 c00002", errData.Error()},
		{"address of five bytes", head + question + "c00c" + fixedA + "0005 c000020100", errData.Error()},
		{"target behind its data", head + question + "c00c 0005 0001 0000 003c 0001 01 6100", errData.Error()},
		{"target shorter than its data", head + question + "c00c 0005 0001 0000 003c 0003 c00c 00", errData.Error()},
		{"target that is broken", head + question + "c00c 0005 0001 0000 003c 0002 c029", errName.Error()},
		{"SOA that ends early", head + question + "c00c 0006 0001 0000 003c 0006 c00c c00c 0000", errData.Error()},
		{"NAPTR that ends in its strings", head + question + "c00c 0023 0001 0000 003c 0006 0001 0002 0175", errData.Error()},
		{"class of another kind", head + question + "c00c 0001 0003 0000 003c " + address, "NOERROR ra\n"},
		{"TTL that is negative", head + question + "c00c 0001 0001 8000 0000 " + address, "NOERROR ra\n0 www.example. 0 IN A 192.0.2.1\n"},
		{"TSIG", headAR + question + "00 00fa 00ff 0000 0000 0000", "NOERROR ra\n"},
		{"OPT adds to the response code", headAR + question + "00 0029 04d0 0100 0000 0000", "BADSIG ra\n"},
		{"OPT in the answer", head + question + "00 0029 04d0 0000 0000 0000", errOPT.Error()},
		{"OPT twice", "0000 8180 0001 0000 0000 0002 " + question + "00 0029 04d0 0000 0000 0000 00 0029 04d0 0000 0000 0000", errOPT.Error()},
		{"OPT with an owner", headAR + question + "'a' 00 0029 04d0 0000 0000 0000", errOPT.Error()},
		{"OPT with half an option", headAR + question + "00 0029 04d0 0000 0000 0002 0003", errOPT.Error()},
		{"truncated within a record", headTC + question + "c00c 0001 0001 0000", "NOERROR ra tc\n"},
		{"truncated behind a record", headTC + question + "c00c" + fixedA + address, "NOERROR ra tc\n0 www.example. 60 IN A 192.0.2.1\n"},
		{"something behind the end", head + question + "c00c" + fixedA + address + "ffff", "NOERROR ra\n0 www.example. 60 IN A 192.0.2.1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := new(Packer).Pack(wiretest.Bytes(t, tt.packet), wireQuestion(t, "www.example.", TypeA), false)
			if got := outcome(t, p, err); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// outcome is what Pack made of a reply to a question for www.example. A: the message that clients see, or the error.
func outcome(t *testing.T, p *Packed, err error) string {
	t.Helper()
	if errors.Is(err, ErrOtherQuestion) {
		return "other"
	}
	if err != nil {
		return errors.Unwrap(err).Error()
	}
	_, r := asked(t, foreign(t, "www.example.", dns.TypeA, ""), func(m *dns.Msg) { m.SetEdns0(1232, false) })
	r.Take(p)
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatal(err)
	}
	return plain(m)
}

// TestPackOptions: what is between two servers stays there, what is for the client goes on.
func TestPackOptions(t *testing.T) {
	m := foreign(t, "www.example.", dns.TypeA, "")
	m.SetEdns0(1232, false)
	o := m.IsEdns0()
	o.Option = append(o.Option,
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "abcd"},
		&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "bogus"},
		&dns.EDNS0_PADDING{Padding: make([]byte, 8)},
		&dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1}},
	)
	p, err := new(Packer).Pack(packed(t, m), wireQuestion(t, "www.example.", TypeA), false)
	if err != nil {
		t.Fatal(err)
	}
	_, r := asked(t, m, func(m *dns.Msg) { m.SetEdns0(1232, false) })
	r.Take(p)
	got := new(dns.Msg)
	if err := got.Unpack(r.Finish()); err != nil {
		t.Fatal(err)
	}
	var options []string
	for _, option := range got.IsEdns0().Option {
		options = append(options, fmt.Sprintf("%d %s", option.Option(), option.String()))
	}
	if want := []string{"15 6 (DNSSEC Bogus): (bogus)", "65001 65001:0x01"}; !slices.Equal(options, want) {
		t.Errorf("options %q, want %q", options, want)
	}
	_, r = asked(t, m, nil)
	r.Take(p)
	if err := got.Unpack(r.Finish()); err != nil || got.IsEdns0() != nil {
		t.Errorf("OPT for a client that sent none: %v, %v", got.IsEdns0(), err)
	}
}

// TestPackAllocations: the reply itself and its records.
func TestPackAllocations(t *testing.T) {
	packet := packed(t, foreign(t, "www.example.", dns.TypeA, "www.example. 5 IN A 192.0.2.1"))
	question := wireQuestion(t, "www.example.", TypeA)
	var p Packer
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Pack(packet, question, true); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzPack compares with miekg/dns: where both can read a reply, they find the same records in it. What is made of it is
// well-formed and within the client's limit.
func FuzzPack(f *testing.F) {
	for _, records := range []string{"", everyName, "www.example.org. 1 IN MX 1 a.example.\nwww.example.org. 1 IN MX 2 b.example."} {
		for _, compress := range []bool{false, true} {
			m := foreign(f, "www.example.org.", dns.TypeA, records)
			m.Compress = compress
			m.SetEdns0(512, true)
			f.Add(packed(f, m), uint16(1232), true)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte, size uint16, sorted bool) {
		end, ok := 0, false
		if len(packet) > HeaderLen {
			var n foreignName
			end, ok = n.read(packet, HeaderLen)
		}
		if !ok || end+4 > len(packet) || packet[end+2] != 0 || packet[end+3] != 1 {
			return
		}
		question := packet[HeaderLen : end+4]
		p, err := new(Packer).Pack(packet, question, sorted)
		if err != nil {
			return
		}
		whole := finish(t, packet, p, nil, sorted)
		theirs := new(dns.Msg)
		if theirs.Unpack(packet) == nil && !theirs.Truncated {
			compareRecords(t, whole, theirs)
		}
		for _, edit := range []func(*dns.Msg){func(*dns.Msg) {}, func(m *dns.Msg) { m.SetEdns0(size, false) }} {
			finish(t, packet, p, edit, sorted)
		}
	})
}

// finish makes the reply for a client, over TCP if edit is nil, and reads it.
func finish(t *testing.T, packet []byte, p *Packed, edit func(*dns.Msg), shuffle bool) *dns.Msg {
	t.Helper()
	q := new(Query)
	q.Transport = TCP
	var name foreignName
	end, _ := name.read(packet, HeaderLen)
	request := append([]byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, packet[HeaderLen:end+4]...)
	if edit != nil {
		q.Transport = UDP
		m := new(dns.Msg)
		if m.Unpack(request) != nil {
			return nil
		}
		edit(m)
		request = packed(t, m)
	}
	if q.Parse(request) != Accepted {
		t.Fatalf("% x not accepted", request)
	}
	var r Reply
	r.Begin(q, nil)
	r.Shuffle = shuffle
	if !r.Take(p) {
		t.Fatal("not taken")
	}
	again := r.Pack()
	reply := r.Finish()
	if len(reply) > q.Limit() {
		t.Fatalf("%d bytes, the limit is %d", len(reply), q.Limit())
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		if original := new(dns.Msg); original.Unpack(packet) != nil {
			return nil // miekg/dns cannot read some data that are opaque here
		}
		t.Fatalf("unpack % x: %v", reply, err)
	}
	if p.question == again.question && edit == nil && len(again.records) != len(p.records) {
		t.Fatalf("packed again it has %d bytes, not %d", len(again.records), len(p.records))
	}
	return m
}

// compareRecords compares the records of two messages, in any order and letter case.
func compareRecords(t *testing.T, got, want *dns.Msg) {
	t.Helper()
	if got == nil {
		t.Fatal("unreadable")
	}
	for i, sections := range [][2][]dns.RR{{got.Answer, want.Answer}, {got.Ns, want.Ns}, {got.Extra, want.Extra}} {
		g, w := lines(sections[0]), lines(sections[1])
		if !slices.Equal(g, w) {
			t.Fatalf("section %d:\ngot  %q\nwant %q", i, g, w)
		}
	}
}

func lines(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == dns.TypeOPT || h.Rrtype == dns.TypeTSIG || h.Class != dns.ClassINET {
			continue
		}
		if h.Ttl > maxTTL {
			h.Ttl = 0
		}
		out = append(out, strings.ToLower(rr.String()))
	}
	slices.Sort(out)
	return out
}
