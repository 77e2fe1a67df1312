package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseZones(t *testing.T) {
	for _, tt := range []struct{ args, want, dropped string }{
		{"Cluster.Local", "cluster.local.", ""},
		{"cluster.local. in-addr.arpa ip6.arpa", "cluster.local. in-addr.arpa. ip6.arpa.", ""},
		{".", ".", ""},
		{"tls://a.b:5353", "a.b.", ""},
		{"10.0.0.0/8", "10.in-addr.arpa.", ""},
		{"10.1.2.3/8", "10.in-addr.arpa.", ""},
		{"10.2.0.0/15", "2.10.in-addr.arpa. 3.10.in-addr.arpa.", ""},
		{"192.168.1.128/30", "128.1.168.192.in-addr.arpa. 129.1.168.192.in-addr.arpa. 130.1.168.192.in-addr.arpa. 131.1.168.192.in-addr.arpa.", ""},
		{"1.2.3.4/32", "4.3.2.1.in-addr.arpa.", ""},
		{"0.0.0.0/0", "in-addr.arpa.", ""},
		{"fd00::/8", "d.f.ip6.arpa.", ""},
		{"2001:db8::/31", "8.b.d.0.1.0.0.2.ip6.arpa. 9.b.d.0.1.0.0.2.ip6.arpa.", ""},
		{"10.0.0.0/33", "10.0.0.0/33.", ""},
		{"3600s", "3600s.", ""},
		{`a\.b\032c.d`, `a\.b\032c.d.`, ""},
		{`a\.`, `a\..`, ""},
		{"a..b c: ::/8 ok", "ok.", "a..b c: ::/8"},
		{`\ \256 a\`, "", `\ \256 a\`},
	} {
		zones, dropped := ParseZones(strings.Fields(tt.args))
		if diff := cmp.Diff(tt.want, strings.Join(zones, " ")); diff != "" {
			t.Errorf("%s: %s", tt.args, diff)
		}
		if diff := cmp.Diff(tt.dropped, strings.Join(dropped, " ")); diff != "" {
			t.Errorf("%s, dropped: %s", tt.args, diff)
		}
	}
}

// TestWideCIDR counts the zones of masks between two labels: CoreDNS makes 128 of a /17.
func TestWideCIDR(t *testing.T) {
	for text, want := range map[string]int{"10.0.0.0/17": 128, "10.0.0.0/9": 128, "10.0.0.0/23": 2, "fd00::/9": 8, "fd00::/127": 2} {
		if zones, _ := ParseZones([]string{text}); len(zones) != want {
			t.Errorf("%s: %d zones, want %d", text, len(zones), want)
		}
	}
}

func TestZonesOr(t *testing.T) {
	f, err := Parse("Corefile", []byte("a tls://a b.c:5353 10.0.0.0/15 {\n}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	zones, _ := f.Blocks[0].ZonesOr(nil)
	if diff := cmp.Diff(Zones{"a.", "b.c.", "0.10.in-addr.arpa.", "1.10.in-addr.arpa."}, zones); diff != "" {
		t.Error(diff)
	}
	zones, dropped := f.Blocks[0].ZonesOr([]string{"Own", "x..y"})
	if diff := cmp.Diff(Zones{"own."}, zones); diff != "" || len(dropped) != 1 {
		t.Error(diff, dropped)
	}
}

func TestParseFallthrough(t *testing.T) {
	all, _ := ParseFallthrough(nil)
	some, _ := ParseFallthrough([]string{"in-addr.arpa", "10.0.0.0/8"})
	if diff := cmp.Diff([]Zones{{"."}, {"in-addr.arpa.", "10.in-addr.arpa."}}, []Zones{all, some}); diff != "" {
		t.Error(diff)
	}
}

func TestZoneWarning(t *testing.T) {
	for zone, want := range map[string]string{
		".": "", "cluster.local.": "", "in-addr.arpa.": "", "10.in-addr.arpa.": "", "0/25.2.0.192.in-addr.arpa.": "", "a1-b.c.": "",
		"k8s_external.local.": `Warning: Domain "k8s_external.local." does not follow RFC1035 preferred syntax`,
		"1a.":                 `Warning: Domain "1a." does not follow RFC1035 preferred syntax`,
		"a-.b.":               `Warning: Domain "a-.b." does not follow RFC1035 preferred syntax`,
	} {
		if got := ZoneWarning(zone); got != want {
			t.Errorf("%s: got %q, want %q", zone, got, want)
		}
	}
}
