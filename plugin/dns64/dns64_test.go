package dns64_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/dns64"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParse(t *testing.T) {
	wellKnown := netip.MustParsePrefix("64:ff9b::/96")
	other := netip.MustParsePrefix("2001:db8::/64")
	tests := []struct {
		lines string
		want  dns64.Options
	}{
		{"dns64", dns64.Options{Prefix: wellKnown}},
		{"dns64 2001:DB8::1/64", dns64.Options{Prefix: other}},
		{"dns64 {\nprefix 2001:db8::/64\n}", dns64.Options{Prefix: other}},
		{"dns64 {\nallow_ipv4\ntranslate_all\n}", dns64.Options{Prefix: wellKnown, AllowIPv4: true, TranslateAll: true}},
		{"dns64 2001:db8::/64\ndns64 {\nallow_ipv4\n}", dns64.Options{Prefix: other, AllowIPv4: true}},
		{"dns64 2001:db8::/64 {\nallow_ipv4\n}", dns64.Options{Prefix: other,
			Warnings: []config.Warning{{Pos: config.Pos{File: "Corefile", Line: 3}, Text: `"allow_ipv4" has no effect behind a prefix: put the prefix into the braces too`}}}},
	}
	for _, tt := range tests {
		if got, err := dns64.Parse(plugintest.Directive(t, tt.lines)); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", tt.lines, got, err, tt.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"dns64 a b", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"dns64 a", "Corefile:2 - Error during parsing: invalid CIDR address: a"},
		{"dns64 10.0.0.0/8", "Corefile:2 - Error during parsing: invalid netmask 32 IPv6 address: \"10.0.0.0/8\""},
		{"dns64 64:ff9b::/97", "Corefile:2 - Error during parsing: invalid prefix length \"64:ff9b::/97\""},
		{"dns64 {\nprefix\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'prefix'"},
		{"dns64 {\nfoo\n}", "Corefile:3 - Error during parsing: unknown property 'foo'"},
	}
	for _, tt := range tests {
		if _, err := dns64.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// resolver replies to A questions with records in presentation format; nil cannot be read.
type resolver struct{ reply *dns.Msg }

func (v resolver) Resolve(from *message.Query, name message.Name, typ message.Type) ([]byte, bool) {
	if v.reply == nil || typ != message.TypeA {
		return nil, true
	}
	m := v.reply.Copy()
	m.SetQuestion(name.String(), dns.TypeA)
	m.Response = true
	wire, _ := m.Pack()
	return wire, true
}

func (resolver) Refresh(*message.Query) {}

// reply makes a reply of sections: answer, authority, additional; records stand between bars.
func reply(t testing.TB, rcode int, sections ...string) *dns.Msg {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode, Authoritative: true}}
	for i, section := range sections {
		for line := range strings.SplitSeq(section, "|") {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			if rr != nil {
				to := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}[i]
				*to = append(*to, rr)
			}
		}
	}
	return m
}

// serve gives a question to the step, and then the reply that the steps behind have for it.
func serve(t testing.TB, d *dns64.DNS64, q *message.Query, behind func(*message.Reply)) (r *message.Reply, v message.Verdict) {
	t.Helper()
	r = plugintest.Begin(q)
	if v := d.Serve(q, r); v != message.Next {
		t.Fatalf("verdict %d", v)
	}
	behind(r)
	for _, revision := range r.Revisions {
		v = revision.Revise(q, r)
	}
	return r, v
}

func TestTranslate(t *testing.T) {
	soa := func(r *message.Reply) {
		r.Record(message.Authority, message.QuestionAt, message.TypeSOA, 30)
		r.Bytes(make([]byte, 2+20))
		r.End()
	}
	alias := func(r *message.Reply) {
		r.Record(message.Answer, message.QuestionAt, message.TypeCNAME, 30)
		r.String("\x01b\x00")
		r.End()
	}
	aaaa := func(r *message.Reply) {
		r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, make([]byte, 16), 5))
	}
	empty := func(r *message.Reply) { r.By = "x" }
	code := func(rcode message.Rcode, by string, then func(*message.Reply)) func(*message.Reply) {
		return func(r *message.Reply) { r.Rcode, r.By = rcode, by; then(r) }
	}
	address := reply(t, 0, "a.example. 60 IN A 192.0.2.33")
	tests := []struct {
		name   string
		lines  string
		client string
		typ    uint16
		behind func(*message.Reply)
		a      *dns.Msg
		want   string
	}{
		{"no data", "dns64", "2001:db8::1", dns.TypeAAAA, empty, address, "NOERROR | A.example. 60 IN AAAA 64:ff9b::c000:221"},
		{"the TTL of the denial", "dns64", "2001:db8::1", dns.TypeAAAA, soa, address, "NOERROR | A.example. 30 IN AAAA 64:ff9b::c000:221"},
		{"a long TTL", "dns64", "2001:db8::1", dns.TypeAAAA, empty, reply(t, 0, "a.example. 3600 IN A 192.0.2.33"), "NOERROR | A.example. 600 IN AAAA 64:ff9b::c000:221"},
		{"another prefix", "dns64 2001:db8:100::/40", "2001:db8::1", dns.TypeAAAA, empty, address, "NOERROR | A.example. 60 IN AAAA 2001:db8:1c0:2:21::"},
		{"an alias, and the other sections", "dns64", "2001:db8::1", dns.TypeAAAA, empty,
			reply(t, 0, "a.example. 60 IN CNAME b.example.|b.example. 60 IN A 192.0.2.33|b.example. 60 IN A 192.0.2.34", "example. 60 IN NS ns.example.", "ns.example. 60 IN A 192.0.2.1"),
			"NOERROR | A.example. 60 IN CNAME b.example. | b.example. 60 IN AAAA 64:ff9b::c000:221 | b.example. 60 IN AAAA 64:ff9b::c000:222 | " +
				"example. 60 IN NS ns.example. | ns.example. 60 IN A 192.0.2.1"},
		{"no address either", "dns64", "2001:db8::1", dns.TypeAAAA, soa, reply(t, 0, "", "example. 60 IN SOA a. b. 1 2 3 4 5"), "NOERROR | example. 60 IN SOA a. b. 1 2 3 4 5"},
		{"the other lookup's response code", "dns64", "2001:db8::1", dns.TypeAAAA, empty, reply(t, dns.RcodeRefused), "REFUSED"},
		{"no reply", "dns64", "2001:db8::1", dns.TypeAAAA, empty, nil, "SERVFAIL"},
		{"an error that was written", "dns64", "2001:db8::1", dns.TypeAAAA, code(message.ServFail, "forward", func(*message.Reply) {}), address, "NOERROR | A.example. 60 IN AAAA 64:ff9b::c000:221"},
		{"an error of the server's", "dns64", "2001:db8::1", dns.TypeAAAA, code(message.ServFail, "", func(*message.Reply) {}), address, "left SERVFAIL"},
		{"a name that does not exist", "dns64", "2001:db8::1", dns.TypeAAAA, code(message.NXDomain, "x", soa), address, "left NXDOMAIN | A.example. 30 IN SOA . . 0 0 0 0 0"},
		{"without proof", "dns64", "2001:db8::1", dns.TypeAAAA, code(message.NXDomain, "x", func(*message.Reply) {}), address, "left NXDOMAIN"},
		{"an alias to nothing", "dns64", "2001:db8::1", dns.TypeAAAA, code(message.NXDomain, "x", alias), address, "NOERROR | A.example. 60 IN AAAA 64:ff9b::c000:221"},
		{"it has addresses", "dns64", "2001:db8::1", dns.TypeAAAA, aaaa, address, "left NOERROR | A.example. 5 IN AAAA ::"},
		{"translate_all", "dns64 {\ntranslate_all\n}", "2001:db8::1", dns.TypeAAAA, aaaa, address, "NOERROR | A.example. 60 IN AAAA 64:ff9b::c000:221"},
		{"another type", "dns64", "2001:db8::1", dns.TypeTXT, empty, address, "left NOERROR"},
		{"a client with IPv4", "dns64", "192.0.2.1", dns.TypeAAAA, empty, address, "left NOERROR"},
		{"the same at a socket of both families", "dns64", "::ffff:192.0.2.1", dns.TypeAAAA, empty, address, "left NOERROR"},
		{"allow_ipv4", "dns64 {\nallow_ipv4\n}", "192.0.2.1", dns.TypeAAAA, empty, address, "NOERROR | A.example. 60 IN AAAA 64:ff9b::c000:221"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := dns64.Parse(plugintest.Directive(t, tt.lines))
			if err != nil {
				t.Fatal(err)
			}
			e, _ := plugintest.Env(t, "dns64", journal.Text)
			d, err := dns64.New(o, e)
			if err != nil {
				t.Fatal(err)
			}
			ask := func(mayBlock bool) *message.Query {
				q := plugintest.Ask(t, "A.example.", tt.typ)
				q.From = netip.AddrPortFrom(netip.MustParseAddr(tt.client), 53)
				q.MayBlock, q.Resolver, q.Listener = mayBlock, resolver{tt.a}, "dns://:53"
				return q
			}
			left := strings.HasPrefix(tt.want, "left")
			if _, v := serve(t, d, ask(false), tt.behind); (v == message.Park) == left {
				t.Errorf("at the socket: verdict %d", v)
			}
			r, _ := serve(t, d, ask(true), tt.behind)
			if by := r.By == "dns64"; by == (left || r.Err != nil) {
				t.Errorf("by %q", r.By)
			}
			if got, want := text(plugintest.Message(t, r)), strings.TrimPrefix(tt.want, "left "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			translated := 1.0
			if left || r.Err != nil {
				translated = 0
			}
			if got := count(t, e.Metrics.(prometheus.Gatherer)); got != translated {
				t.Errorf("%v are counted", got)
			}
		})
	}
}

// TestErrorsOfBoth checks that the client is told why the second lookup failed, and not also why the first one did.
func TestErrorsOfBoth(t *testing.T) {
	e, _ := plugintest.Env(t, "dns64", journal.Text)
	d, err := dns64.New(dns64.Options{Prefix: netip.MustParsePrefix("64:ff9b::/96"), AllowIPv4: true}, e)
	if err != nil {
		t.Fatal(err)
	}
	failure := new(dns.Msg).SetEdns0(1232, false)
	failure.Rcode = dns.RcodeServerFailure
	failure.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNetworkError}}
	q := plugintest.Query(t, new(dns.Msg).SetQuestion("a.example.", dns.TypeAAAA).SetEdns0(1232, false))
	q.MayBlock, q.Resolver = true, resolver{failure}
	r, _ := serve(t, d, q, func(r *message.Reply) {
		r.Fail(message.ServFail)
		r.By = "cache"
		r.Option(message.OptionError, []byte{0, byte(dns.ExtendedErrorCodeCachedError)})
	})
	options := plugintest.Message(t, r).IsEdns0().Option
	if len(options) != 1 || options[0].String() != failure.IsEdns0().Option[0].String() {
		t.Errorf("options %v", options)
	}
}

// text is a reply in a few words.
func text(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		words = append(words, "aa")
	}
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	return strings.Join(words, " | ")
}

// count is coredns_dns64_requests_translated_total{server="dns://:53"}.
func count(t testing.TB, metrics prometheus.Gatherer) float64 {
	t.Helper()
	n, err := testutil.GatherAndCount(metrics, "coredns_dns64_requests_translated_total")
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return 0
	}
	const want = `# HELP coredns_dns64_requests_translated_total Counter of DNS requests translated by dns64.
# TYPE coredns_dns64_requests_translated_total counter
coredns_dns64_requests_translated_total{server="dns://:53"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	return 1
}
