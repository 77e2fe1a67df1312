package records

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// changedAt is when every change of these tests happens: the SOA serial.
var changedAt = time.Unix(1_800_000_000, 0)

// testConfig is what the usual Corefile says: three zones and ttl 30.
func testConfig() Config {
	return Config{Zones: names("cluster.local", "in-addr.arpa", "ip6.arpa"), TTL: 30}
}

func names(texts ...string) []message.Name {
	var out []message.Name
	for _, text := range texts {
		n, err := message.ParseName(text)
		if err != nil {
			panic(err)
		}
		out = append(out, n)
	}
	return out
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// ask answers one question as a step would and returns the reply in the form of dig: status and flags, then a line for
// each record with its section.
func ask(t testing.TB, z *Zone, name string, typ uint16) string {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), typ)
	m.RecursionDesired = false
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return digest(t, respond(t, z, packet))
}

// respond is what the kubernetes step does with a query, but for what leaves the zone.
func respond(t testing.TB, z *Zone, packet []byte) []byte {
	var q message.Query
	q.Transport = message.TCP
	if status := q.Parse(packet); status != message.Accepted {
		t.Fatalf("query not accepted: %d", status)
	}
	var r message.Reply
	r.Begin(&q, nil)
	result := z.Answer(&q, &r)
	switch result.Outcome {
	case Hit, Elsewhere:
		r.Authoritative = true
	case NoData, Between:
		z.Deny(&q, &r, result, message.NoError)
	case NoName:
		z.Deny(&q, &r, result, message.NXDomain)
	case NotReady:
		r.Fail(message.ServFail)
	case Refused, NotOurs:
		r.Fail(message.Refused)
	}
	return r.Finish()
}

func digest(t testing.TB, wire []byte) string {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("reply does not unpack: %v", err)
	}
	lines := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		lines[0] += " aa"
	}
	if m.Truncated {
		lines[0] += " tc"
	}
	for section, records := range map[string][]dns.RR{"": m.Answer, "authority: ": m.Ns, "additional: ": m.Extra} {
		for _, rr := range records {
			lines = append(lines, section+strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

func add1(objects ...cluster.Object) []cluster.Change {
	var changes []cluster.Change
	for _, o := range objects {
		changes = append(changes, cluster.Change{New: o})
	}
	return changes
}

// newZone is a synced zone with the objects in it.
func newZone(c Config, objects ...cluster.Object) *Store {
	s := NewStore(c)
	s.Apply(add1(objects...), changedAt)
	s.Synced()
	return s
}

func endpoint(address, hostname string) cluster.Endpoint {
	return cluster.Endpoint{Address: netip.MustParseAddr(address), Hostname: hostname, State: cluster.Ready | cluster.Serving}
}

var (
	httpPort  = cluster.Port{Name: "http", Protocol: cluster.TCP, Number: 80}
	httpsPort = cluster.Port{Name: "https", Protocol: cluster.TCP, Number: 443}
	prod      = &cluster.Namespace{Name: "prod"}
	web       = &cluster.Service{Namespace: "prod", Name: "web", ClusterIPs: addrs("10.96.1.1"), Ports: []cluster.Port{httpPort, httpsPort}}
	webSlice  = &cluster.Slice{Namespace: "prod", Name: "web-1", Service: "web", Ports: []cluster.Port{httpPort},
		Endpoints: []cluster.Endpoint{endpoint("10.244.1.10", ""), endpoint("10.244.1.11", "")}}
	db      = &cluster.Service{Namespace: "prod", Name: "db", Type: cluster.Headless, Ports: []cluster.Port{{Name: "pg", Protocol: cluster.TCP, Number: 5432}}}
	dbSlice = &cluster.Slice{Namespace: "prod", Name: "db-1", Service: "db", Ports: db.Ports,
		Endpoints: []cluster.Endpoint{endpoint("10.244.2.10", "db-0"), endpoint("10.244.2.11", "db-1")}}
)

const soa = "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1800000000 7200 1800 86400 30"

func TestAnswers(t *testing.T) {
	docs := &cluster.Service{Namespace: "prod", Name: "docs", Type: cluster.ExternalName, ExternalName: "Web.prod.svc.cluster.LOCAL"}
	z := newZone(testConfig(), prod, web, webSlice, db, dbSlice, docs).Zone()
	for _, test := range []struct{ question, want string }{
		{"web.prod.svc.cluster.local A", "NOERROR aa\nweb.prod.svc.cluster.local. 30 IN A 10.96.1.1"},
		{"WEB.prod.svc.cluster.local A", "NOERROR aa\nWEB.prod.svc.cluster.local. 30 IN A 10.96.1.1"},
		{"web.prod.svc.cluster.local AAAA", "NOERROR aa\nauthority: " + soa},
		{"web.prod.svc.CLUSTER.local SRV", "NOERROR aa\n" +
			"additional: web.prod.svc.CLUSTER.local. 30 IN A 10.96.1.1\n" +
			"web.prod.svc.CLUSTER.local. 30 IN SRV 0 50 443 web.prod.svc.CLUSTER.local.\n" +
			"web.prod.svc.CLUSTER.local. 30 IN SRV 0 50 80 web.prod.svc.CLUSTER.local."},
		{"_http._tcp.web.prod.svc.cluster.local SRV", "NOERROR aa\n" +
			"_http._tcp.web.prod.svc.cluster.local. 30 IN SRV 0 100 80 web.prod.svc.cluster.local.\n" +
			"additional: web.prod.svc.cluster.local. 30 IN A 10.96.1.1"},
		{"_._tcp.web.prod.svc.cluster.local SRV", "NOERROR aa\n" +
			"_._tcp.web.prod.svc.cluster.local. 30 IN SRV 0 50 443 web.prod.svc.cluster.local.\n" +
			"_._tcp.web.prod.svc.cluster.local. 30 IN SRV 0 50 80 web.prod.svc.cluster.local.\n" +
			"additional: web.prod.svc.cluster.local. 30 IN A 10.96.1.1"},
		{"_tcp.web.prod.svc.cluster.local A", "NOERROR aa\nauthority: " + soa},
		{"_udp.web.prod.svc.cluster.local A", "NXDOMAIN aa\nauthority: " + soa},
		{"10-244-1-10.web.prod.svc.cluster.local A", "NOERROR aa\n10-244-1-10.web.prod.svc.cluster.local. 30 IN A 10.244.1.10"},
		{"db.prod.svc.cluster.local A", "NOERROR aa\n" +
			"db.prod.svc.cluster.local. 30 IN A 10.244.2.10\ndb.prod.svc.cluster.local. 30 IN A 10.244.2.11"},
		{"db-1.db.prod.svc.cluster.local A", "NOERROR aa\ndb-1.db.prod.svc.cluster.local. 30 IN A 10.244.2.11"},
		{"_pg._tcp.db.prod.svc.cluster.local SRV", "NOERROR aa\n" +
			"_pg._tcp.db.prod.svc.cluster.local. 30 IN SRV 0 50 5432 db-0.db.prod.svc.cluster.local.\n" +
			"_pg._tcp.db.prod.svc.cluster.local. 30 IN SRV 0 50 5432 db-1.db.prod.svc.cluster.local.\n" +
			"additional: db-0.db.prod.svc.cluster.local. 30 IN A 10.244.2.10\n" +
			"additional: db-1.db.prod.svc.cluster.local. 30 IN A 10.244.2.11"},
		{"docs.prod.svc.cluster.local TXT", "NOERROR aa\n" +
			"authority: " + soa + "\ndocs.prod.svc.cluster.local. 30 IN CNAME Web.prod.svc.cluster.LOCAL."},
		{"docs.prod.svc.cluster.local A", "NOERROR aa\n" +
			"Web.prod.svc.cluster.LOCAL. 30 IN A 10.96.1.1\ndocs.prod.svc.cluster.local. 30 IN CNAME Web.prod.svc.cluster.LOCAL."},
		{"1.1.96.10.in-addr.arpa PTR", "NOERROR aa\n1.1.96.10.in-addr.arpa. 30 IN PTR web.prod.svc.cluster.local."},
		{"11.2.244.10.in-addr.arpa PTR", "NOERROR aa\n11.2.244.10.in-addr.arpa. 30 IN PTR db-1.db.prod.svc.cluster.local."},
		{"dns-version.cluster.local TXT", "NOERROR aa\ndns-version.cluster.local. 28800 IN TXT \"1.1.0\""},
		{"cluster.local SOA", "NOERROR aa\n" + soa},
		{"nosuch.prod.svc.cluster.local SOA", "NXDOMAIN aa\nauthority: " + soa},
		{"prod.svc.cluster.local TXT", "NOERROR aa\nauthority: " + soa},
		{"example.com A", "REFUSED"},
	} {
		t.Run(test.question, func(t *testing.T) {
			name, typ, _ := strings.Cut(test.question, " ")
			if got := ask(t, z, name, dns.StringToType[typ]); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestAnswerAllocatesNothing(t *testing.T) {
	z := newZone(testConfig(), prod, web, webSlice, db, dbSlice).Zone()
	for _, question := range []string{
		"web.prod.svc.cluster.local A", "web.prod.svc.cluster.local AAAA", "nosuch.prod.svc.cluster.local A",
		"web.prod.svc.cluster.local.prod.svc.cluster.local A", "_pg._tcp.db.prod.svc.cluster.local SRV", "db.prod.svc.cluster.local A",
		"db-1.db.prod.svc.cluster.local A", "1.1.96.10.in-addr.arpa PTR", "10.1.244.10.in-addr.arpa PTR",
	} {
		name, typ, _ := strings.Cut(question, " ")
		packet := query(t, name, message.Type(dns.StringToType[typ]))
		var q message.Query
		var r message.Reply
		out := make([]byte, 4096)
		if n := testing.AllocsPerRun(100, func() {
			q.Parse(packet)
			r.Begin(&q, out)
			if result := z.Answer(&q, &r); result.Outcome != Hit {
				z.Deny(&q, &r, result, message.NXDomain)
			}
			r.Finish()
		}); n != 0 {
			t.Errorf("%s: %v allocations", question, n)
		}
	}
}

// TestApplyKeepsTheRest applies a change that cannot be: an endpoint is said to be a name and there is none.
func TestApplyKeepsTheRest(t *testing.T) {
	broken := &cluster.Slice{Namespace: "prod", Name: "broken", Service: "web", FQDNs: []string{}, Endpoints: webSlice.Endpoints}
	s := newZone(testConfig(), prod, web)
	if err := s.Apply(add1(webSlice, broken, db, dbSlice), changedAt); err == nil || !strings.Contains(err.Error(), "endpointslices prod/broken") {
		t.Errorf("got error %v", err)
	}
	if err := s.Zone().Check(); err != nil {
		t.Error(err)
	}
	const question = "db-1.db.prod.svc.cluster.local"
	if got := ask(t, s.Zone(), question, dns.TypeA); got != "NOERROR aa\n"+question+". 30 IN A 10.244.2.11" {
		t.Error(got)
	}
}

// TestLongLabels has endpoints whose names are too long for a label: they have no name of their own, and their addresses
// are answered all the same.
func TestLongLabels(t *testing.T) {
	long := &cluster.Slice{Namespace: "prod", Name: "db-2", Service: "db", Ports: db.Ports,
		Endpoints: []cluster.Endpoint{endpoint("10.244.2.12", strings.Repeat("x", 64))}}
	z := newZone(testConfig(), prod, db, long).Zone()
	if got, want := ask(t, z, "db.prod.svc.cluster.local", dns.TypeA), "NOERROR aa\ndb.prod.svc.cluster.local. 30 IN A 10.244.2.12"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := ask(t, z, "db.prod.svc.cluster.local", dns.TypeSRV), "NOERROR aa\nauthority: "+soa; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestPackKeepsKeyAndAddresses has entries around the size up to which these stand in the entry itself.
func TestPackKeepsKeyAndAddresses(t *testing.T) {
	const key = "\x03web\x04prod"
	for n := range 3 * len(entry{}.packed) {
		a, aaaa := []byte(strings.Repeat("4", n)), []byte(strings.Repeat("6", n/2))
		e := &entry{key: key, a: a, aaaa: aaaa}
		e.pack()
		if e.key != key || string(e.a) != string(a) || string(e.aaaa) != string(aaaa) {
			t.Fatalf("%d and %d bytes of addresses: key %q, a %q, aaaa %q", n, n/2, e.key, e.a, e.aaaa)
		}
		if inside, fits := unsafe.StringData(e.key) == &e.packed[0], len(key)+n+n/2 <= len(e.packed); inside != fits {
			t.Errorf("%d and %d bytes of addresses: in the entry %v, want %v", n, n/2, inside, fits)
		}
	}
}
