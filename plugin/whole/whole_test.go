package whole_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/whole"
)

// records parses records in presentation format.
func records(t testing.TB, lines ...string) (rrs []dns.RR) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// text is a message as dig prints it, on one line.
func text(m *dns.Msg) string {
	words := strings.Fields(m.String())
	return strings.Join(words, " ")
}

func TestWriteRead(t *testing.T) {
	m := &dns.Msg{
		Answer: records(t, "www.Example.org. 5 IN CNAME a.example.org.", "a.example.org. 6 IN A 192.0.2.1", "a.example.org. 6 IN TXT \"a b\" c"),
		Ns:     records(t, "example.org. 7 IN SOA ns.example.org. root.example.org. 1 2 3 4 5"),
		Extra:  records(t, "example.net. 8 IN SRV 1 2 3 a.example.org."),
	}
	m.Authoritative, m.RecursionAvailable, m.Rcode = true, true, dns.RcodeNameError
	q := plugintest.Ask(t, "WWW.example.org.", dns.TypeA)
	r := plugintest.Begin(q)
	if err := whole.Write(q, r, m); err != nil {
		t.Fatal(err)
	}
	got, err := whole.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = ";; opcode: QUERY, status: NXDOMAIN, id: 17085 ;; flags: qr aa rd ra; QUERY: 1, ANSWER: 3, AUTHORITY: 1, ADDITIONAL: 1 " +
		";; QUESTION SECTION: ;WWW.example.org. IN A " +
		";; ANSWER SECTION: WWW.example.org. 5 IN CNAME a.example.org. a.example.org. 6 IN A 192.0.2.1 a.example.org. 6 IN TXT \"a b\" \"c\" " +
		";; AUTHORITY SECTION: example.org. 7 IN SOA ns.example.org. root.example.org. 1 2 3 4 5 " +
		";; ADDITIONAL SECTION: example.net. 8 IN SRV 1 2 3 a.example.org."
	if text(got) != want {
		t.Errorf("got  %s\nwant %s", text(got), want)
	}
	if sent := text(plugintest.Message(t, r)); sent != want {
		t.Errorf("sent %s\nwant %s", sent, want)
	}
}

// TestWriteCuts checks that what is too much for the client is left out, and said to be.
func TestWriteCuts(t *testing.T) {
	m := new(dns.Msg)
	for i := range 100 {
		m.Answer = append(m.Answer, records(t, fmt.Sprintf("example.org. 5 IN A 192.0.2.%d", i))...)
	}
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	r := plugintest.Begin(q)
	if err := whole.Write(q, r, m); err != nil {
		t.Fatal(err)
	}
	if got := plugintest.Message(t, r); !got.Truncated || len(got.Answer) != (512-29)/16 {
		t.Errorf("%d records, truncated %t", len(got.Answer), got.Truncated)
	}
}

// TestWriteLong: what not even TCP can carry is cut, too.
func TestWriteLong(t *testing.T) {
	m := new(dns.Msg)
	for i := range 5000 {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.IPv4(10, 0, byte(i>>8), byte(i)),
		})
	}
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	q.Transport = message.TCP
	r := plugintest.Begin(q)
	if err := whole.Write(q, r, m); err != nil {
		t.Fatal(err)
	}
	if got := plugintest.Message(t, r); !got.Truncated || len(got.Answer) < 4000 || len(got.Answer) >= 5000 {
		t.Errorf("%d records, truncated %t", len(got.Answer), got.Truncated)
	}
}

func TestWriteErrors(t *testing.T) {
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	r := plugintest.Begin(q)
	m := &dns.Msg{Answer: []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: strings.Repeat("x", 64) + ".", Rrtype: dns.TypeA, Class: dns.ClassINET}}}}
	if err := whole.Write(q, r, m); err == nil {
		t.Error("a label of 64 bytes was written")
	}
	if !r.Empty() || r.Rcode != message.NoError {
		t.Error("something was written")
	}
}

// TestWriteClass checks that records keep the class that was asked for behind the client's back.
func TestWriteClass(t *testing.T) {
	request := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
	request.Question[0].Qclass = dns.ClassCHAOS
	q := plugintest.Query(t, request)
	q.Change()
	q.Class = message.ClassIN
	r := plugintest.Begin(q)
	r.Restart(q.First())
	if err := whole.Write(q, r, &dns.Msg{Answer: records(t, "example.org. 5 IN A 192.0.2.1")}); err != nil {
		t.Fatal(err)
	}
	if got := plugintest.Message(t, r); got.Question[0].Qclass != dns.ClassCHAOS || len(got.Answer) != 1 || got.Answer[0].Header().Class != dns.ClassINET {
		t.Errorf("got %v", got)
	}
}

func TestRequest(t *testing.T) {
	request := new(dns.Msg).SetQuestion(`A\.b.Example.org.`, dns.TypeAAAA).SetEdns0(1400, true)
	request.Id, request.CheckingDisabled, request.AuthenticatedData = 9, true, true
	got, err := whole.Request(plugintest.Query(t, request))
	if err != nil || text(got) != text(request) {
		t.Errorf("got  %v, %v\nwant %v", got, err, request)
	}
}

// resolver answers every question with one record, or with bytes of its own.
type resolver struct{ bytes []byte }

func (v resolver) Resolve(from *message.Query, name message.Name, typ message.Type) ([]byte, bool) {
	if v.bytes != nil {
		return v.bytes, true
	}
	var q message.Query
	q.Ask(from, name, typ)
	var r message.Reply
	r.Begin(&q, nil)
	r.Record(message.Answer, message.QuestionAt, typ, 5)
	r.Bytes([]byte{192, 0, 2, 1})
	r.End()
	return r.Finish(), true
}

func (resolver) Refresh(*message.Query) {}

func TestResolve(t *testing.T) {
	q := plugintest.Ask(t, "outer.", dns.TypeAAAA)
	q.Resolver = resolver{}
	m, err := whole.Resolve(q, "Target.example.", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(m.Answer), "[Target.example.\t5\tIN\tA\t192.0.2.1]"; got != want {
		t.Errorf("got %s", got)
	}
	if _, err := whole.Resolve(q, "a..b.", dns.TypeA); err == nil {
		t.Error("a..b. was asked for")
	}
	q.Resolver = resolver{[]byte("none")}
	if _, err := whole.Resolve(q, "b.", dns.TypeA); err == nil {
		t.Error("four bytes were read")
	}
}
