package upstreams

import (
	"fmt"
	"strings"
)

// SignedZone is signed, with NSEC3, and Unbound believes its key; BrokenZone is where the front misbehaves.
const (
	SignedZone = "signed.test."
	BrokenZone = "broken.test."
)

// ownZones are served whatever the Corefiles name.
var ownZones = []string{
	".", "example.com.", "example.org.", "example.net.", SignedZone, BrokenZone, "10.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.",
}

// The sizes of the large sets, in A records of 16 bytes each: beyond 512, 1232 and 4096 bytes.
const (
	over512  = 40
	over1232 = 90
	over4096 = 300
)

// Names are what each zone has, relative to it, and what it has not: "" is its apex.
func Names() []string {
	return []string{
		"", "ns", "www", "www", "www", "alias", "chain-1", "chain-2", "chain-5", "chain-9", "dangling", "circle-1", "circle-2", "self", "away",
		"away-wild", "over512", "over1232", "over4096", "txt", "bigtxt", "zero", "one", "five", "long", "longest", "x.wild", "y.x.wild", "wild",
		"own.wild", "x.wild-alias", "mx", "_http._tcp.srv", "srv", "b.ent", "ent", "a.b.ent", "caa", "web", "naptr", "hinfo", "mixed.Case", "ptr",
		"v4", "v6", "same-1", "same-2", "nosuch", "a.nosuch", "x.www", "under_score", "*", "*.wild", "a\\.b", "dname", "unknown", "tlsa",
	}
}

// records are a zone's, but for the large sets.
const records = `
@ 3600 SOA ns hostmaster 7 7200 3600 1209600 60
@ 3600 NS ns
@ 300 A 198.51.100.1
@ 300 TXT "the apex"
@ 300 MX 10 mx
ns 3600 A 127.0.0.54
www 300 A 198.51.100.2
www 300 A 198.51.100.3
www 300 A 198.51.100.4
www 300 AAAA 2001:db8::2
www 300 AAAA 2001:db8::3
alias 300 CNAME www
chain-1 300 CNAME www
chain-2 200 CNAME chain-1
chain-3 100 CNAME chain-2
chain-4 50 CNAME chain-3
chain-5 40 CNAME chain-4
chain-6 300 CNAME chain-5
chain-7 300 CNAME chain-6
chain-8 300 CNAME chain-7
chain-9 300 CNAME chain-8
dangling 300 CNAME nosuch
circle-1 300 CNAME circle-2
circle-2 300 CNAME circle-1
self 300 CNAME self
away 300 CNAME www.example.org.
away-wild 300 CNAME any.wild.example.net.
txt 300 TXT "one" "two words" "quote\" backslash\\ semicolon; \000\255"
zero 0 A 198.51.100.5
zero 0 TXT "gone at once"
one 1 A 198.51.100.6
five 5 A 198.51.100.7
long 86400 A 198.51.100.8
longest 2147483647 A 198.51.100.9
*.wild 300 A 198.51.100.10
*.wild 300 TXT "wild"
own.wild 300 A 198.51.100.11
*.wild-alias 300 CNAME www
mx 300 MX 10 www
mx 300 MX 10 alias
mx 300 MX 20 mail.example.org.
srv 300 SRV 1 2 443 www
_http._tcp.srv 300 SRV 1 2 80 www
_http._tcp.srv 300 SRV 1 2 8080 v4
a.b.ent 300 A 198.51.100.12
caa 300 CAA 0 issue "ca.example.net"
web 300 HTTPS 1 . alpn=h2 ipv4hint=198.51.100.2
naptr 300 NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
hinfo 300 HINFO "PDP-11" "UNIX"
mixed.Case 300 A 198.51.100.13
ptr 300 PTR Www
v4 300 A 198.51.100.14
v6 300 AAAA 2001:db8::14
same-1 60 A 198.51.100.15
same-2 60 A 198.51.100.15
under_score 300 A 198.51.100.16
a\.b 300 A 198.51.100.17
dname 300 DNAME wild
unknown 300 TYPE65280 \# 3 010203
tlsa 300 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
`

// zoneText is a zone's master file. Zones above others delegate to them.
func zoneText(zone string, all []string) string {
	var b strings.Builder
	own := records
	if zone == SignedZone { // signatures must outlive what they sign
		own = strings.ReplaceAll(own, "longest 2147483647 ", "longest 604800 ")
	}
	fmt.Fprintf(&b, "$ORIGIN %s\n%s", zone, own)
	for name, count := range map[string]int{"over512": over512, "over1232": over1232, "over4096": over4096} {
		for i := range count {
			fmt.Fprintf(&b, "%s 300 A 203.0.%d.%d\n", name, 113+i/250, 1+i%250)
		}
	}
	for i := range 12 {
		fmt.Fprintf(&b, "bigtxt 300 TXT \"%d %s\"\n", i, strings.Repeat("x", 180))
	}
	if zone == BrokenZone {
		fmt.Fprintf(&b, "* 300 A %s\n", BrokenAnswer)
	}
	for i := range 20 {
		fmt.Fprintf(&b, "%d.0.0 300 PTR host-%d.example.com.\n", i+1, i+1)
	}
	for _, child := range all {
		if child != zone && (zone == "." || strings.HasSuffix(child, "."+zone)) {
			fmt.Fprintf(&b, "%s 3600 NS ns.%s\nns.%s 3600 A 127.0.0.1\n", child, strings.TrimPrefix(child, "."), child)
		}
	}
	return b.String()
}
