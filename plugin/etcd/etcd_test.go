package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// shelf is a store in memory: values by key, and what is left of leases.
type shelf struct {
	values map[string]string
	leases map[string]int64 // of a key, numbered by what is left
	err    error
	asked  []string
}

func (*shelf) start(context.Context) error { return nil }

func (*shelf) stop() {}

func (s *shelf) get(_ context.Context, key string, prefix bool) ([]entry, error) {
	s.asked = append(s.asked, key)
	if s.err != nil {
		return nil, s.err
	}
	var list []entry
	for found, value := range s.values {
		if found == key || prefix && strings.HasPrefix(found, key) {
			list = append(list, entry{found, []byte(value), s.leases[found]})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return list, nil
}

// remaining has no time left for a lease below 0, and nothing to say of lease 99.
func (s *shelf) remaining(_ context.Context, lease int64) (int64, error) {
	if lease == 99 {
		return 0, errors.New("no such lease")
	}
	return lease, nil
}

// outside is the server itself, which knows names under out.example.
type outside struct{}

func (outside) Refresh(*message.Query) {}

func (outside) Resolve(from *message.Query, name message.Name, typ message.Type) ([]byte, bool) {
	m := new(dns.Msg).SetQuestion(name.String(), uint16(typ))
	m.Response = true
	var text string
	switch {
	case typ == message.TypeA && strings.HasPrefix(name.String(), "www."):
		text = "alias.out.example. 60 IN CNAME www.out.example.\nwww.out.example. 60 IN A 203.0.113.9"
	case typ == message.TypeAAAA:
		text = "alias.out.example. 60 IN CNAME www.out.example.\nwww.out.example. 60 IN AAAA 2001:db8::9"
	case typ == message.TypeA && strings.HasPrefix(name.String(), "cut."):
		m.Truncated, text = true, "cut.out.example. 60 IN A 203.0.113.8"
	default:
		m.Rcode = dns.RcodeNameError
	}
	for line := range strings.Lines(text) {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packet, true
}

// start makes the step of the lines over a shelf.
func start(t testing.TB, lines string, s store) *Etcd {
	t.Helper()
	o, err := parse(t, lines)
	if err != nil {
		t.Fatal(err)
	}
	step, err := newEtcd(o, s)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func parse(t testing.TB, lines string) (Options, error) {
	block := plugintest.Block(t, "example.org 2.0.192.in-addr.arpa {\n"+lines+"\n}\n")
	return Parse(block, block.Directive("etcd"))
}

// ask has the step answer "NAME TYPE".
func ask(t testing.TB, step *Etcd, question string) string {
	t.Helper()
	name, typ, _ := strings.Cut(question, " ")
	q := plugintest.Ask(t, name, dns.StringToType[typ])
	q.MayBlock, q.Resolver = true, outside{}
	return serve(t, step, q)
}

// serve is what a step makes of a query: "next", "park", or the response code, aa, tc, the records with the serial 7, and
// what went wrong.
func serve(t testing.TB, step *Etcd, q *message.Query) string {
	t.Helper()
	r := plugintest.Begin(q)
	switch step.Serve(q, r) {
	case message.Next:
		return "next"
	case message.Park:
		return "park"
	}
	trouble, by := r.Err, r.By
	m := plugintest.Message(t, r)
	if by != "etcd" {
		t.Errorf("answered by %q", by)
	}
	words := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		words[0] += " aa"
	}
	if m.Truncated {
		words[0] += " tc"
	}
	for _, section := range []struct {
		name    string
		records []dns.RR
	}{{"", m.Answer}, {"authority ", m.Ns}, {"additional ", m.Extra}} {
		for _, rr := range section.records {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial = 7
			}
			words = append(words, section.name+strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	if trouble != nil {
		words = append(words, trouble.Error())
	}
	return strings.Join(words, "\n")
}

const (
	soaLine  = "example.org. 30 IN SOA ns.dns.example.org. hostmaster.example.org. 7 7200 1800 86400 30"
	noData   = "NOERROR aa\nauthority " + soaLine
	noName   = "NXDOMAIN aa\nauthority " + soaLine
	servfail = "SERVFAIL aa\nauthority " + soaLine + "\n"
)

// values are keys below /skydns/org/example unless they begin with a slash, each with its value.
func values(lines string) *shelf {
	s := &shelf{values: map[string]string{}, leases: map[string]int64{}}
	for line := range strings.Lines(lines) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == "" {
			continue
		}
		if !strings.HasPrefix(key, "/") {
			key = "/skydns/org/example/" + key
		}
		s.values[key] = value
	}
	return s
}

const basic = `
	www/a1 {"host":"192.0.2.1"}
	www/a2 {"host":"192.0.2.1","ttl":9}
	www/a3 {"host":"192.0.2.2","ttl":60,"port":80,"priority":20,"weight":3}
	www/b {"host":"2001:db8::1","text":"both"}
	www/t {"text":"only text"}
	one {"host":"192.0.2.9","mail":true,"targetstrip":1}
	dns/apex/x {"host":"192.0.2.80"}
	dns/ns/n1 {"host":"192.0.2.53"}
	dns/ns/n2 {"host":"2001:db8::53","targetstrip":2}
	/skydns/arpa/in-addr/192/0/2/1 {"host":"www.example.org"}
	/skydns/arpa/in-addr/192/0/2/2 {"host":"192.0.2.2"}
	/skydns/com/other {"host":"192.0.2.77"}
`

func TestServe(t *testing.T) {
	tests := []struct{ name, values, question, want string }{
		{"all below a name, each address once", basic, "WWW.example.org. A",
			"NOERROR aa\nWWW.example.org. 300 IN A 192.0.2.1\nWWW.example.org. 60 IN A 192.0.2.2"},
		{"IPv6", basic, "www.example.org. AAAA", "NOERROR aa\nwww.example.org. 300 IN AAAA 2001:db8::1"},
		{"the text of one without address", basic, "www.example.org. TXT", "NOERROR aa\nwww.example.org. 300 IN TXT \"only text\""},
		{"the key itself", basic, "one.example.org. A", "NOERROR aa\none.example.org. 300 IN A 192.0.2.9"},
		{"what is below hides the key itself", "x {\"host\":\"192.0.2.1\"}\nx/y {\"host\":\"192.0.2.2\"}", "x.example.org. A", "NOERROR aa\nx.example.org. 300 IN A 192.0.2.2"},
		{"keys that only begin alike", "xy {\"host\":\"192.0.2.1\"}", "x.example.org. A", noName},
		{"another type", basic, "one.example.org. AAAA", noData},
		{"a type that no record has", basic, "one.example.org. HTTPS", noData},
		{"no name", basic, "nosuch.example.org. A", noName},
		{"no name, another type", basic, "nosuch.example.org. HTTPS", noName},
		{"only text", "t {\"text\":\"x\"}", "t.example.org. A", noData},
		{"SOA anywhere in the zone", "", "nosuch.example.org. SOA", "NOERROR aa\n" + soaLine},
		{"name servers", basic, "Example.org. NS", "NOERROR aa\nExample.org. 300 IN NS n1.ns.dns.Example.org.\nExample.org. 300 IN NS dns.Example.org.\n" +
			"additional n1.ns.dns.Example.org. 300 IN A 192.0.2.53\nadditional dns.Example.org. 300 IN AAAA 2001:db8::53"},
		{"name servers elsewhere", basic, "www.example.org. NS", noData},
		{"no name servers", "x {\"host\":\"192.0.2.1\"}", "example.org. NS", noName},
		{"a name server that is a name", "dns/ns/n1 {\"host\":\"ns.example.net\"}", "example.org. NS", servfail + "NS record must be an IP address: ns.example.net"},
		{"the zone itself", basic, "example.org. A", "NOERROR aa\nexample.org. 300 IN A 192.0.2.80"},
		{"the zone itself, without apex", "x {\"host\":\"192.0.2.1\"}", "example.org. A", "NOERROR aa\nexample.org. 300 IN A 192.0.2.1"},
		{"the zone's texts", basic, "example.org. TXT", "NOERROR aa\nexample.org. 300 IN TXT \"only text\""},
		{"a reverse name", basic, "1.2.0.192.in-addr.arpa. PTR", "NOERROR aa\n1.2.0.192.in-addr.arpa. 300 IN PTR www.example.org."},
		{"another zone's SOA", basic, "2.2.0.192.in-addr.arpa. PTR", "NOERROR aa\nauthority " + strings.ReplaceAll(soaLine, "example.org.", "2.0.192.in-addr.arpa.")},
		{"a PTR of all below does not exist", basic, "www.example.org. PTR", noName},
		{"a zone that is not ours", basic, "other.com. A", "next"},
		{"broken JSON fails all", "x/a {\"host\":\"192.0.2.1\"}\nx/b {\"host\":", "x.example.org. A", servfail + "/skydns/org/example/x/b: unexpected end of JSON input"},
		{"wrong JSON", "x {\"port\":\"80\"}", "x.example.org. A", servfail + "/skydns/org/example/x: json: cannot unmarshal string into Go struct field Service.port of type int"},

		{"an address is a target by its key", basic, "one.example.org. SRV", "NOERROR aa\none.example.org. 300 IN SRV 10 100 0 example.org.\nadditional example.org. 300 IN A 192.0.2.9"},
		{"of MX the address keeps its name", basic, "one.example.org. MX", "NOERROR aa\none.example.org. 300 IN MX 10 example.org.\nadditional one.example.org. 300 IN A 192.0.2.9"},
		{"no mail", basic, "www.example.org. MX", noData},
		{"weights", basic, "www.example.org. SRV", `NOERROR aa
www.example.org. 300 IN SRV 10 33 0 a1.www.example.org.
www.example.org. 9 IN SRV 10 33 0 a2.www.example.org.
www.example.org. 60 IN SRV 20 100 80 a3.www.example.org.
www.example.org. 300 IN SRV 10 33 0 b.www.example.org.
additional a1.www.example.org. 300 IN A 192.0.2.1
additional a2.www.example.org. 9 IN A 192.0.2.1
additional a3.www.example.org. 60 IN A 192.0.2.2
additional b.www.example.org. 300 IN AAAA 2001:db8::1`},
		{"a weight is at least 1, port -1 is none", "x/a {\"host\":\"192.0.2.1\",\"weight\":1}\nx/b {\"host\":\"192.0.2.2\",\"weight\":1000,\"port\":-1}", "x.example.org. SRV",
			"NOERROR aa\nx.example.org. 300 IN SRV 10 1 0 a.x.example.org.\nadditional a.x.example.org. 300 IN A 192.0.2.1"},
		{"targets in the zone", "s/a {\"host\":\"one.example.org\",\"port\":1}\ns/b {\"host\":\"one.example.org\",\"port\":2}\none {\"host\":\"192.0.2.1\"}", "s.example.org. SRV",
			"NOERROR aa\ns.example.org. 300 IN SRV 10 50 1 one.example.org.\ns.example.org. 300 IN SRV 10 50 2 one.example.org.\nadditional one.example.org. 300 IN A 192.0.2.1"},
		{"targets outside", "s/a {\"host\":\"www.out.example\",\"mail\":true}", "s.example.org. MX",
			"NOERROR aa\ns.example.org. 300 IN MX 10 www.out.example.\nadditional alias.out.example. 60 IN CNAME www.out.example.\n" +
				"additional www.out.example. 60 IN A 203.0.113.9\nadditional www.out.example. 60 IN AAAA 2001:db8::9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(t, start(t, "etcd", values(tt.values)), tt.question); got != tt.want {
				t.Errorf("%s\n%s\nwant\n%s", tt.question, got, tt.want)
			}
		})
	}
}

func TestAliases(t *testing.T) {
	chain := ""
	for i := range 14 {
		chain += fmt.Sprintf("c%d {\"host\":\"c%d.example.org\"}\n", i, i+1)
	}
	chain += "c14 {\"host\":\"192.0.2.1\"}\n"
	aliases := func(from, to int) string {
		text := "NOERROR aa\n"
		for i := from; i < to; i++ {
			text += fmt.Sprintf("c%d.example.org. 300 IN CNAME c%d.example.org.\n", i, i+1)
		}
		return text
	}
	tests := []struct{ name, values, question, want string }{
		{"in the zone", "a {\"host\":\"B.example.org.\",\"ttl\":5}\nb {\"host\":\"192.0.2.1\"}", "a.example.org. A",
			"NOERROR aa\na.example.org. 5 IN CNAME B.example.org.\nB.example.org. 300 IN A 192.0.2.1"},
		{"to text", "a {\"host\":\"b.example.org\"}\nb {\"text\":\"x\"}", "a.example.org. TXT", "NOERROR aa\na.example.org. 300 IN CNAME b.example.org.\nb.example.org. 300 IN TXT \"x\""},
		{"to nothing of the type", "a {\"host\":\"b.example.org\"}\nb {\"host\":\"192.0.2.1\"}", "a.example.org. AAAA", noData},
		{"the alias itself", "a {\"host\":\"b.example.org\"}\na/x {\"host\":\"192.0.2.1\"}", "a.example.org. CNAME", "NOERROR aa\na.example.org. 300 IN CNAME b.example.org."},
		{"no alias of what is below", "a/x {\"host\":\"b.example.org\"}", "a.example.org. CNAME", noName},
		{"another type", "a {\"host\":\"b.example.org\"}", "a.example.org. HTTPS", noData},
		{"to itself", "a {\"host\":\"a.example.org\"}", "a.example.org. A", noData},
		{"to below", "a {\"host\":\"x.a.example.org\"}", "a.example.org. A", noData},
		{"in a circle", "a {\"host\":\"b.example.org\"}\nb {\"host\":\"a.example.org\"}", "a.example.org. A", noData},
		{"eleven", chain, "c3.example.org. A", aliases(3, 14) + "c14.example.org. 300 IN A 192.0.2.1"},
		{"twelve", chain, "c2.example.org. A", noData},
		{"outside", "a {\"host\":\"www.out.example\"}", "a.example.org. A",
			"NOERROR aa\na.example.org. 300 IN CNAME www.out.example.\nalias.out.example. 60 IN CNAME www.out.example.\nwww.out.example. 60 IN A 203.0.113.9"},
		{"outside, and cut", "a {\"host\":\"cut.out.example\"}", "a.example.org. A", "NOERROR aa tc\na.example.org. 300 IN CNAME cut.out.example.\ncut.out.example. 60 IN A 203.0.113.8"},
		{"outside, no name", "a {\"host\":\"nosuch.out.example\"}", "a.example.org. TXT", "NOERROR aa\na.example.org. 300 IN CNAME nosuch.out.example."},
		{"a target that is no name", "a {\"host\":\"" + strings.Repeat("x", 64) + ".example.org\"}\na/b {\"host\":\"192.0.2.1\"}", "a.example.org. CNAME", noData},
		{"broken JSON behind it", "a/1 {\"host\":\"b.example.org\"}\na/2 {\"host\":\"192.0.2.1\"}\nb {", "a.example.org. A", "NOERROR aa\na.example.org. 300 IN A 192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(t, start(t, "etcd", values(tt.values)), tt.question); got != tt.want {
				t.Errorf("%s\n%s\nwant\n%s", tt.question, got, tt.want)
			}
		})
	}
}

// TestFan: names that lead to many others, and these to many others, cost no more than a bound.
func TestFan(t *testing.T) {
	text := ""
	for i := range 8 {
		for j := range 12 {
			text += fmt.Sprintf("n%d/%d {\"host\":\"%d.n%d.example.org\"}\n", i, j, j, i+1)
			text += fmt.Sprintf("n%d/%d/x {\"host\":\"n%d.example.org\"}\n", i, j, i+1)
		}
	}
	s := values(text)
	got := ask(t, start(t, "etcd", s), "n0.example.org. A")
	if want := servfail + errTooMany.Error(); got != want || len(s.asked) > 3*maxNames {
		t.Errorf("asked for %d keys:\n%s\nwant\n%s", len(s.asked), got, want)
	}
}

func TestGroups(t *testing.T) {
	const two = `g/a {"host":"192.0.2.1","group":"g1"}
		g/b {"host":"192.0.2.2","group":"g1"}
		g/x/c {"host":"192.0.2.3","group":"g2"}
		g/d {"host":"192.0.2.4"}`
	tests := []struct{ name, values, question, want string }{
		{"that of the shortest keys", two, "g.example.org. A", "192.0.2.1 192.0.2.2 192.0.2.4"},
		{"that of what is asked for", two, "x.g.example.org. A", "192.0.2.3"},
		{"which disagree", two + "\n g/e {\"host\":\"192.0.2.5\",\"group\":\"g2\"}", "g.example.org. A", "192.0.2.1 192.0.2.2 192.0.2.4 192.0.2.5 192.0.2.3"},
		{"the shortest without one", "g/a/b {\"host\":\"192.0.2.1\",\"group\":\"g1\"}\ng/c {\"host\":\"192.0.2.2\"}\ng/d/e {\"host\":\"192.0.2.3\",\"group\":\"g2\"}", "g.example.org. A", "192.0.2.1 192.0.2.2"},
		{"the first without one", "g/a {\"host\":\"192.0.2.1\"}\ng/b/c {\"host\":\"192.0.2.2\",\"group\":\"g2\"}", "g.example.org. A", "192.0.2.1 192.0.2.2"},
		{"a shorter one behind", "g/a/b {\"host\":\"192.0.2.1\",\"group\":\"g1\"}\ng/c {\"host\":\"192.0.2.2\",\"group\":\"g2\"}", "g.example.org. A", "192.0.2.2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, start(t, "etcd", values(tt.values)), tt.question)
			var addresses []string
			for line := range strings.Lines(got) {
				if _, address, ok := strings.Cut(strings.TrimSpace(line), " IN A "); ok {
					addresses = append(addresses, address)
				}
			}
			if got := strings.Join(addresses, " "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestWildcards(t *testing.T) {
	const tree = `east/prod/a {"host":"192.0.2.1"}
		east/test/b {"host":"192.0.2.2"}
		west/prod/c {"host":"192.0.2.3"}
		prod {"host":"192.0.2.4"}`
	tests := []struct{ question, want string }{
		{"prod.*.example.org. A", "NOERROR aa\nprod.*.example.org. 300 IN A 192.0.2.1\nprod.*.example.org. 300 IN A 192.0.2.3"},
		{"prod.any.example.org. A", "NOERROR aa\nprod.any.example.org. 300 IN A 192.0.2.1\nprod.any.example.org. 300 IN A 192.0.2.3"},
		{"*.prod.east.example.org. A", "NOERROR aa\n*.prod.east.example.org. 300 IN A 192.0.2.1"},
		{"*.nosuch.example.org. A", noName},
		{"nosuch.*.example.org. A", noData},
		{"*.prod.example.org. A", noData},
		{"*.east.example.org. CNAME", noName},
	}
	for _, tt := range tests {
		if got := ask(t, start(t, "etcd", values(tree)), tt.question); got != tt.want {
			t.Errorf("%s\n%s\nwant\n%s", tt.question, got, tt.want)
		}
	}
}

func TestTexts(t *testing.T) {
	for _, tt := range []struct {
		length int
		want   []int // of each string
	}{{0, nil}, {1, []int{1}}, {254, []int{254}}, {255, []int{255, 0}}, {256, []int{255, 1}}, {600, []int{255, 255, 90}}} {
		s := Service{Text: strings.Repeat("x", tt.length)}
		var got []int
		for _, text := range s.txt("x.").(*dns.TXT).Txt {
			got = append(got, len(text))
		}
		if tt.length == 0 {
			got = got[1:]
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d bytes: strings of %v, want %v", tt.length, got, tt.want)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct {
		host  string
		strip int
		want  string
	}{
		{"a.b.c", 0, "a.b.c."}, {"a.b.c.", 1, "b.c."}, {"a.b.c", 2, "c."}, {"a.b.c", 3, "a.b.c."}, {"a.b.c", 9, "a.b.c."}, {"a.b.c", -1, "a.b.c."},
	} {
		s := Service{Host: tt.host, TargetStrip: tt.strip}
		if got := s.target(); got != tt.want {
			t.Errorf("%s without %d: %s, want %s", tt.host, tt.strip, got, tt.want)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct{ name, prefix, key, domain string }{
		{"www.example.org.", "skydns", "/skydns/org/example/www", "www.example.org."},
		{"www.example.org.", "/a/b/", "/a/b/org/example/www", "www.example.org.b."},
		{"org.", "", "/org", "."},
		{".", "skydns", "/skydns", "."},
		{".", "/", "/", "."},
	} {
		if got := key(tt.name, tt.prefix); got != tt.key {
			t.Errorf("%s under %q: %s, want %s", tt.name, tt.prefix, got, tt.key)
		}
		if got := domain(tt.key); got != tt.domain {
			t.Errorf("%s: %s, want %s", tt.key, got, tt.domain)
		}
	}
}

// TestLeases: the TTL of a record with a lease is what is left of it, within bounds, and never beyond what a TTL can be.
// CVE-2025-58063: the number of a lease was cast to a TTL, which pinned records for years.
func TestLeases(t *testing.T) {
	for _, tt := range []struct {
		lines string
		own   uint32
		left  int64 // 0 is no lease
		want  uint32
	}{
		{"etcd", 0, 0, 300}, {"etcd", 7, 0, 7},
		{"etcd", 0, 90, 90}, {"etcd", 60, 90, 60}, {"etcd", 120, 90, 90},
		{"etcd", 0, 3, 30}, {"etcd", 7, 3, 7}, {"etcd", 0, 1e6, 86400},
		{"etcd", 0, -1, 300}, {"etcd", 5, 99, 5}, {"etcd", 0, 99, 300},
		{"etcd {\nmin-lease-ttl 2m\nmax-lease-ttl 4m\n}", 0, 3, 120},
		{"etcd {\nmin-lease-ttl 2m\nmax-lease-ttl 4m\n}", 0, 1000, 240},
		{"etcd {\nmin-lease-ttl 0\nmax-lease-ttl 0\n}", 0, 3, 30},
		{"etcd", 0, 1<<31 - 1, 86400}, {"etcd", 0, 1 << 31, 86400}, {"etcd", 0, 1<<32 - 1, 86400},
		{"etcd", 0, 1 << 32, 86400}, {"etcd", 0, 1<<32 + 1, 86400}, {"etcd", 0, 1<<63 - 1, 86400},
		{"etcd", 0, -1 << 31, 300}, {"etcd", 0, -1 << 63, 300},
		{"etcd", 7, 1<<32 + 1, 7}, {"etcd", 1 << 31, 0, 0}, {"etcd", 1<<32 - 1, 0, 0}, {"etcd", 1 << 31, 90, 90},
		{"etcd {\nmax-lease-ttl 1000000h\n}", 0, 1<<31 - 1, 1<<31 - 1}, {"etcd {\nmax-lease-ttl 1000000h\n}", 0, 1 << 31, 0},
	} {
		s := values(fmt.Sprintf("x {\"host\":\"192.0.2.1\",\"ttl\":%d}", tt.own))
		s.leases["/skydns/org/example/x"] = tt.left
		got, want := ask(t, start(t, tt.lines, s), "x.example.org. A"), fmt.Sprintf("NOERROR aa\nx.example.org. %d IN A 192.0.2.1", tt.want)
		if got != want {
			t.Errorf("%q, ttl %d, left %d: %s, want %s", tt.lines, tt.own, tt.left, got, want)
		}
	}
}

// TestOptions: what the options make of answers.
func TestOptions(t *testing.T) {
	const at = "x {\"host\":\"192.0.2.1\"}\n/other/org/example/y {\"host\":\"192.0.2.2\"}\n"
	tests := []struct{ name, lines, question, want string }{
		{"fallthrough", "etcd {\nfallthrough\n}", "nosuch.example.org. A", "next"},
		{"fallthrough, a name that exists", "etcd {\nfallthrough\n}", "x.example.org. AAAA", noData},
		{"fallthrough of another zone", "etcd {\nfallthrough in-addr.arpa\n}", "nosuch.example.org. A", noName},
		{"fallthrough of this zone", "etcd {\nfallthrough in-addr.arpa\n}", "7.2.0.192.in-addr.arpa. PTR", "next"},
		{"path", "etcd {\npath /other\n}", "y.example.org. A", "NOERROR aa\ny.example.org. 300 IN A 192.0.2.2"},
		{"zones", "etcd net", "x.example.org. A", "next"},
		{"no_apex_fallback", "etcd {\nno_apex_fallback\n}", "example.org. A", noName},
		{"without", "etcd", "example.org. A", "NOERROR aa\nexample.org. 300 IN A 192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(t, start(t, tt.lines, values(at)), tt.question); got != tt.want {
				t.Errorf("%s\n%s\nwant\n%s", tt.question, got, tt.want)
			}
		})
	}
}

// TestAway: etcd that does not answer is asked once, and nothing is said to be missing.
func TestAway(t *testing.T) {
	s := &shelf{err: context.DeadlineExceeded}
	step := start(t, "etcd {\nfallthrough\n}", s)
	if got, want := ask(t, step, "x.example.org. A"), servfail+"context deadline exceeded"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got, want := ask(t, step, "x.example.org. SOA"), "NOERROR aa\n"+soaLine; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if want := []string{"/skydns/org/example/x/"}; !slices.Equal(s.asked, want) {
		t.Errorf("asked for %q, want %q", s.asked, want)
	}
}

// TestOffTheSocketLoop: whatever needs etcd is parked, and only so many at once.
func TestOffTheSocketLoop(t *testing.T) {
	s := values(basic)
	step := start(t, "etcd", s)
	for _, tt := range []struct{ name, want string }{{"www.example.org.", "park"}, {"other.com.", "next"}} {
		if got := serve(t, step, plugintest.Ask(t, tt.name, dns.TypeA)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got, want := serve(t, step, plugintest.Ask(t, "example.org.", dns.TypeSOA)), "NOERROR aa\n"+soaLine; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(s.asked) > 0 {
		t.Errorf("asked for %q on the socket loop", s.asked)
	}
	for range maxReading {
		step.places <- true
	}
	q := plugintest.Ask(t, "www.example.org.", dns.TypeA)
	q.MayBlock = true
	r := plugintest.Begin(q)
	if v := step.Serve(q, r); v != message.Done || r.Rcode != message.ServFail || !errors.Is(r.Err, errFull) {
		t.Errorf("verdict %v, %v, %v", v, r.Rcode, r.Err)
	}
}
