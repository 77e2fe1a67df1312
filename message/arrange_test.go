package message

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// starts are where the records of a reply stand.
func starts(r *Reply) (order [3][]int) {
	for c := r.Cursor(); c.Next(); {
		order[c.Section] = append(order[c.Section], c.Owner())
	}
	return order
}

const arranged = `WWW.example. 5 IN CNAME a.example.
a.example. 5 IN CNAME b.example.
b.example. 6 IN A 192.0.2.1
b.example. 6 IN A 192.0.2.2
a.example. 5 IN MX 10 mail.a.example.
www.example. 5 IN SRV 0 0 80 b.example.
a.example. 5 IN TXT "text"
authority
example. 5 IN SOA ns.example. mail.a.example. 1 2 3 4 5
additional
mail.a.example. 5 IN A 192.0.2.3
mail.a.example. 5 IN AAAA 2001:db8::3
b.example. 5 IN A 192.0.2.4`

// TestArrange puts records in any order, and reads them again: they are those there were, and say the same.
func TestArrange(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var p Packer
	for range 200 {
		r := take(t, foreign(t, "www.example.", dns.TypeA, arranged), func(m *dns.Msg) { m.SetEdns0(1232, false) }, false)
		before := new(dns.Msg)
		if err := before.Unpack(slices.Clone(r.Wire())); err != nil {
			t.Fatal(err)
		}
		order := starts(r)
		for i, section := range [][]dns.RR{before.Answer, before.Ns, before.Extra} {
			random.Shuffle(len(section), func(a, b int) {
				section[a], section[b] = section[b], section[a]
				order[i][a], order[i][b] = order[i][b], order[i][a]
			})
		}
		if err := p.Arrange(r, &order); err != nil {
			t.Fatal(err)
		}
		if got, want := r.UncompressedLen(), before.Len(); got != want {
			t.Errorf("uncompressed %d bytes, want %d", got, want)
		}
		got := finished(t, r)
		got.Extra = slices.DeleteFunc(got.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
		for i, section := range [][]dns.RR{got.Answer, got.Ns, got.Extra} {
			want := [][]dns.RR{before.Answer, before.Ns, before.Extra}[i]
			if presented(section) != presented(want) {
				t.Errorf("section %d:\ngot\n%s\nwant\n%s", i, presented(section), presented(want))
			}
		}
	}
}

// presented are records in presentation format, in lower case: a pointer may lead to a name in other letters.
func presented(records []dns.RR) string {
	var b strings.Builder
	for _, rr := range records {
		fmt.Fprintln(&b, strings.ToLower(rr.String()))
	}
	return b.String()
}

// TestArrangeWrong: an order that leaves records out changes nothing.
func TestArrangeWrong(t *testing.T) {
	r := take(t, foreign(t, "www.example.", dns.TypeA, arranged), nil, false)
	before, order := string(r.Records()), starts(r)
	order[Answer] = order[Answer][1:]
	if err := new(Packer).Arrange(r, &order); err != errOrder {
		t.Errorf("error %v", err)
	}
	if string(r.Records()) != before {
		t.Error("the reply has changed")
	}
}

// TestAppendLower reads the owners of records, which are pointers but for one.
func TestAppendLower(t *testing.T) {
	r := take(t, foreign(t, "www.example.", dns.TypeA, arranged), nil, false)
	var got []string
	for c := r.Cursor(); c.Next(); {
		got = append(got, Name(c.AppendLower(nil, c.Owner())).String())
	}
	want := "www.example. a.example. b.example. b.example. a.example. www.example. a.example. example. " +
		"mail.a.example. mail.a.example. b.example."
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

// TestTarget: what stands behind a record that names a target points to that, though the target is not compressed.
func TestTarget(t *testing.T) {
	r := take(t, foreign(t, "_http._tcp.web.example.", dns.TypeSRV, `_http._tcp.web.example. 5 IN SRV 0 0 80 web-0.web.example.
additional
web-0.web.example. 5 IN A 192.0.2.1`), nil, false)
	if n := len(r.Records()); n != 2+10+6+19+2+10+4 {
		t.Errorf("%d bytes", n)
	}
}
