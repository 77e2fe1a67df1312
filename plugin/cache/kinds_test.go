package cache

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func edns(size uint16, do bool) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, do) } }

const soa = "example. 60 IN SOA ns.example. hostmaster.example. 1 7200 1800 86400 30"

// TestKinds: what is kept, for how long, and which TTL the client sees on the first and on a later reply.
func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines string
		says  string
		first string
		after time.Duration
		again string
		asked int // the second time
	}{
		{"an answer", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 290 A 192.0.2.1", 0},
		{"until its last second", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 299 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"not longer", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 300 * time.Second, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
		{"the lowest TTL of all", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 20 IN A 192.0.2.1", "NOERROR / 0 www.example. 20 CNAME a.example. / 0 a.example. 20 A 192.0.2.1", 5 * time.Second, "NOERROR / 0 www.example. 15 CNAME a.example. / 0 a.example. 15 A 192.0.2.1", 0},
		{"the lowest, of the additional section", "cache", "NOERROR\nQNAME 300 IN A 192.0.2.1\n--\n--\na.example. 7 IN A 192.0.2.2", "NOERROR / 0 www.example. 7 A 192.0.2.1 / 2 a.example. 7 A 192.0.2.2", time.Second, "NOERROR / 0 www.example. 6 A 192.0.2.1 / 2 a.example. 6 A 192.0.2.2", 0},
		{"the cap of the argument", "cache 30", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 30 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 20 A 192.0.2.1", 0},
		{"the cap of an hour", "cache", "NOERROR\nQNAME 7200 IN A 192.0.2.1", "NOERROR / 0 www.example. 3600 A 192.0.2.1", 3599 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"the cap of success", "cache {\nsuccess 1000 40\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 40 A 192.0.2.1", 10 * time.Second, "NOERROR / 0 www.example. 30 A 192.0.2.1", 0},
		{"the floor", "cache", "NOERROR\nQNAME 0 IN A 192.0.2.1", "NOERROR / 0 www.example. 5 A 192.0.2.1", 4 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"the floor of success", "cache {\nsuccess 1000 3600 60\n}", "NOERROR\nQNAME 1 IN A 192.0.2.1", "NOERROR / 0 www.example. 60 A 192.0.2.1", 20 * time.Second, "NOERROR / 0 www.example. 40 A 192.0.2.1", 0},
		{"no floor", "cache {\nsuccess 1000 3600 0\n}", "NOERROR\nQNAME 0 IN A 192.0.2.1", "NOERROR / 0 www.example. 0 A 192.0.2.1", 0, "NOERROR / 0 www.example. 0 A 192.0.2.1", 1},
		{"a floor above the cap", "cache {\nsuccess 1000 3 60\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 3 A 192.0.2.1", 2 * time.Second, "NOERROR / 0 www.example. 1 A 192.0.2.1", 0},
		{"a TTL beyond 2^31", "cache", "NOERROR\nQNAME 4294967295 IN A 192.0.2.1", "NOERROR / 0 www.example. 5 A 192.0.2.1", 5 * time.Second, "NOERROR / 0 www.example. 5 A 192.0.2.1", 1},
		{"keepttl", "cache {\nkeepttl\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 100 * time.Second, "NOERROR / 0 www.example. 300 A 192.0.2.1", 0},
		{"flags", "cache", "NOERROR aa\nQNAME 300 IN A 192.0.2.1", "NOERROR aa / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR aa / 0 www.example. 300 A 192.0.2.1", 0},

		{"a name that does not exist", "cache", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 20 * time.Second, "NXDOMAIN / 1 example. 40 SOA ns.example.", 0},
		{"the cap of half an hour", "cache", "NXDOMAIN\n--\nexample. 7200 IN SOA ns.example. a.example. 1 2 3 4 5", "NXDOMAIN / 1 example. 1800 SOA ns.example.", time.Second, "NXDOMAIN / 1 example. 1799 SOA ns.example.", 0},
		{"the floor of denial", "cache {\ndenial 1000 1800 90\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 90 SOA ns.example.", time.Second, "NXDOMAIN / 1 example. 89 SOA ns.example.", 0},
		{"data that do not exist", "cache", "NOERROR\n--\n" + soa, "NOERROR / 1 example. 60 SOA ns.example.", 20 * time.Second, "NOERROR / 1 example. 40 SOA ns.example.", 0},
		{"data that do not exist behind an alias", "cache 100", "NOERROR\nQNAME 300 IN CNAME a.example.\n--\n" + soa, "NOERROR / 0 www.example. 60 CNAME a.example. / 1 example. 60 SOA ns.example.", time.Second, "NOERROR / 0 www.example. 59 CNAME a.example. / 1 example. 59 SOA ns.example.", 0},
		{"a name that does not exist behind an alias", "cache", "NXDOMAIN\nQNAME 300 IN CNAME a.example.\n--\n" + soa, "NXDOMAIN / 0 www.example. 60 CNAME a.example. / 1 example. 60 SOA ns.example.", time.Second, "NXDOMAIN / 0 www.example. 59 CNAME a.example. / 1 example. 59 SOA ns.example.", 0},
		{"a denial without SOA", "cache", "NXDOMAIN", "NXDOMAIN", 0, "NXDOMAIN", 1},
		{"an alias without the data, without SOA", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.", "NOERROR / 0 www.example. 300 CNAME a.example.", 0, "NOERROR / 0 www.example. 300 CNAME a.example.", 1},
		{"an alias that goes round", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 300 IN CNAME QNAME", "NOERROR / 0 www.example. 300 CNAME a.example. / 0 a.example. 300 CNAME www.example.", 0, "NOERROR / 0 www.example. 300 CNAME a.example. / 0 a.example. 300 CNAME www.example.", 1},
		{"an alias that leads to two places", "cache", "NOERROR\nQNAME 300 IN CNAME a.example.\nQNAME 300 IN CNAME b.example.\na.example. 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 CNAME a.example. / 0 www.example. 300 CNAME b.example. / 0 a.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 CNAME a.example. / 0 www.example. 300 CNAME b.example. / 0 a.example. 300 A 192.0.2.1", 1},
		{"data of another name", "cache", "NOERROR\nother.example. 300 IN A 192.0.2.1", "NOERROR / 0 other.example. 300 A 192.0.2.1", 0, "NOERROR / 0 other.example. 300 A 192.0.2.1", 1},
		{"nothing at all", "cache", "NOERROR", "NOERROR", 4 * time.Second, "NOERROR", 0},
		{"nothing at all, for five seconds", "cache", "NOERROR", "NOERROR", 5 * time.Second, "NOERROR", 1},
		{"a referral", "cache", "NOERROR\n--\nexample. 300 IN NS ns.example.", "NOERROR / 1 example. 5 NS ns.example.", time.Second, "NOERROR / 1 example. 4 NS ns.example.", 0},
		{"a truncated answer", "cache 100", "NOERROR tc\nQNAME 300 IN A 192.0.2.1", "NOERROR tc / 0 www.example. 100 A 192.0.2.1", 0, "NOERROR tc / 0 www.example. 100 A 192.0.2.1", 1},

		{"a failure", "cache", "SERVFAIL", "SERVFAIL", 4 * time.Second, "SERVFAIL", 0},
		{"a failure, for five seconds", "cache", "SERVFAIL", "SERVFAIL", 5 * time.Second, "SERVFAIL", 1},
		{"a failure of ours", "cache", "SERVFAIL error", "SERVFAIL", 4 * time.Second, "SERVFAIL", 0},
		{"a failure that nobody wrote", "cache", "SERVFAIL unwritten", "SERVFAIL", 0, "SERVFAIL", 1},
		{"NOTIMP", "cache", "NOTIMP", "NOTIMP", 4 * time.Second, "NOTIMP", 0},
		{"servfail", "cache {\nservfail 60s\n}", "SERVFAIL", "SERVFAIL", 59 * time.Second, "SERVFAIL", 0},
		{"servfail 0", "cache {\nservfail 0s\n}", "SERVFAIL", "SERVFAIL", 0, "SERVFAIL", 1},
		{"a refusal", "cache", "REFUSED", "REFUSED", 0, "REFUSED", 1},

		{"disable success", "cache {\ndisable success\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
		{"disable success elsewhere", "cache {\ndisable success example.org\n}", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 0},
		{"disable success, a denial", "cache {\ndisable success\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0},
		{"disable denial", "cache {\ndisable denial example\n}", "NXDOMAIN\n--\n" + soa, "NXDOMAIN / 1 example. 60 SOA ns.example.", 0, "NXDOMAIN / 1 example. 60 SOA ns.example.", 1},
		{"disable denial, a failure", "cache {\ndisable denial example\n}", "SERVFAIL", "SERVFAIL", 0, "SERVFAIL", 1},
		{"another zone", "cache 30 example.org", "NOERROR\nQNAME 300 IN A 192.0.2.1", "NOERROR / 0 www.example. 300 A 192.0.2.1", 0, "NOERROR / 0 www.example. 300 A 192.0.2.1", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, tt.lines)
			b.says(tt.says)
			b.expect(tt.first, 1, "www.example.", dns.TypeA)
			b.pass(tt.after)
			b.expect(tt.again, tt.asked, "www.example.", dns.TypeA)
		})
	}
}

// TestTypes: what answers a question of another type.
func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  uint16
		says string
		kept bool
	}{
		{"CNAME", dns.TypeCNAME, "NOERROR\nQNAME 300 IN CNAME a.example.", true},
		{"ANY", dns.TypeANY, "NOERROR\nQNAME 300 IN TXT x", true},
		{"ANY, of another name", dns.TypeANY, "NOERROR\na.example. 300 IN TXT x", false},
		{"MX behind an alias", dns.TypeMX, "NOERROR\nQNAME 300 IN CNAME a.example.\na.example. 300 IN MX 1 b.example.", true},
		{"addresses for AAAA", dns.TypeAAAA, "NOERROR\nQNAME 300 IN A 192.0.2.1", false},
		{"a transfer", dns.TypeAXFR, "NOERROR\nQNAME 300 IN AXFR", false},
		{"a long chain in any order", dns.TypeA, "NOERROR\nc.example. 300 IN A 192.0.2.1\nb.example. 300 IN CNAME c.example.\na.example. 300 IN CNAME b.example.\nQNAME 300 IN CNAME A.example.", true},
	} {
		if tt.typ == dns.TypeAXFR {
			tt.says = "NOERROR\n" + soa
		}
		b := start(t, "cache")
		b.says(tt.says)
		b.ask("www.example.", tt.typ)
		b.ask("www.example.", tt.typ)
		if kept := b.asked == 1; kept != tt.kept {
			t.Errorf("%s: kept %v", tt.name, kept)
		}
	}
}

// TestSignatures: an answer with an expired signature is not kept for those who look at signatures.
func TestSignatures(t *testing.T) {
	const rrsig = "\nQNAME 300 IN RRSIG A 8 2 300 %s %s 1 example. c2ln"
	day := func(days int) string {
		return time.Unix(1_800_000_000, 0).UTC().AddDate(0, 0, days).Format("20060102150405")
	}
	for _, tt := range []struct {
		from, to int
		do       bool
		kept     bool
	}{{-1, 1, true, true}, {-2, -1, true, false}, {1, 2, true, false}, {-2, -1, false, true}} {
		b := start(t, "cache")
		b.says("NOERROR\nQNAME 300 IN A 192.0.2.1" + fmt.Sprintf(rrsig, day(tt.to), day(tt.from)))
		b.ask("www.example.", dns.TypeA, edns(1232, tt.do))
		b.ask("www.example.", dns.TypeA, edns(1232, tt.do))
		if kept := b.asked == 1; kept != tt.kept {
			t.Errorf("%+v: kept %v", tt, kept)
		}
	}
}
