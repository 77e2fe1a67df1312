package message

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestParseName(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{".", "."},
		{"cluster.local", "cluster.local."},
		{"Cluster.LOCAL.", "cluster.local."},
		{`a\.b.c`, `a\.b.c.`},
		{`a\065b`, "aab."},
		{`\000\255 \032x`, `\000\255\ \ x.`},
		{strings.Repeat("a", 63) + ".x", strings.Repeat("a", 63) + ".x."},
		{strings.Repeat("a.", 127), strings.Repeat("a.", 127)},
		{"", `name "" is empty`},
		{"..", `name "..": empty label`},
		{".a", `name ".a": empty label`},
		{"a..b", `name "a..b": empty label`},
		{`a\`, `name "a\\": bad escape at byte 1`},
		{`a\2`, `name "a\\2": bad escape at byte 1`},
		{`a\256`, `name "a\\256": bad escape at byte 1`},
		{strings.Repeat("a", 64), `name "` + strings.Repeat("a", 64) + `": label of 64 bytes, the most is 63`},
		{strings.Repeat("a.", 128), `name "` + strings.Repeat("a.", 128) + `": name is longer than 255 bytes`},
	} {
		name, err := ParseName(tt.text)
		got := name.String()
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q is %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestName(t *testing.T) {
	name, err := ParseName("db-0.db.cluster.local.")
	if err != nil {
		t.Fatal(err)
	}
	if name.Labels() != 4 || Root.Labels() != 0 {
		t.Errorf("%d labels, the root %d", name.Labels(), Root.Labels())
	}
	if name.Parent().String() != "db.cluster.local." || Root.Parent() != Root {
		t.Errorf("parent %s, of the root %s", name.Parent(), Root.Parent())
	}
	for zone, want := range map[string]bool{".": true, "local": true, "db-0.db.cluster.local": true, "x.db-0.db.cluster.local": false, "al": false} {
		z, err := ParseName(zone)
		if err != nil {
			t.Fatal(err)
		}
		if name.Under(z) != want {
			t.Errorf("%s under %s: %v", name, zone, !want)
		}
	}
}

// badDigits finds the escapes that PackName refuses and miekg/dns takes for something: fewer than three digits (RFC 1035
// section 5.1 has none such), more than 255, and nothing at all. What it makes of an escaped dot at the very end depends
// on the characters before it.
var badDigits = regexp.MustCompile(`\\(\d{1,2}(\D|$)|2[6-9]\d|25[6-9]|[3-9]\d\d|$)`)

// FuzzPackName compares both ways between text and bytes with miekg/dns.
func FuzzPackName(f *testing.F) {
	for _, text := range []string{".", "cluster.local.", `a\.b.c`, `\000\255 \032x`, "a..b", `a\`, `a\25`, strings.Repeat("a.", 127), strings.Repeat("a", 64)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := PackName(text)
		if text == "" || strings.HasSuffix(text, `\.`) || err != nil && badDigits.MatchString(text) {
			return
		}
		want := make([]byte, 1024)
		n, wantErr := dns.PackDomainName(dns.Fqdn(text), want, 0, nil, false)
		if wantErr == nil && n > MaxNameLen { // which miekg/dns packs and does not unpack
			wantErr = errLongName
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, but miekg/dns: %v", text, err, wantErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(got, want[:n]) {
			t.Fatalf("%q is % x, want % x", text, got, want[:n])
		}
		back, _, err := dns.UnpackDomainName(want[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(AppendName(nil, got)); s != back {
			t.Errorf("%q is printed %s, want %s", text, s, back)
		}
	})
}

// TestLowerName holds eight bytes at a time against one at a time: every byte at every place among the eight, between
// neighbours that a carry would reach.
func TestLowerName(t *testing.T) {
	for _, around := range []byte{0, 'A', 'Z', 0xFF} {
		for at := range 19 { // two words and what is left
			for c := range 256 {
				name := bytes.Repeat([]byte{around}, 19)
				name[at] = byte(c)
				got, want := make([]byte, len(name)), make([]byte, len(name))
				for i, b := range name {
					want[i] = lower(b)
				}
				if lowerName(got, name); !bytes.Equal(got, want) {
					t.Fatalf("%q becomes %q, want %q", name, got, want)
				}
			}
		}
	}
}

func BenchmarkLowerName(b *testing.B) {
	name := []byte("\x0Cservice-1234\x05ns-34\x03svc\x07cluster\x05local\x00")
	lowered := make([]byte, len(name))
	for b.Loop() {
		lowerName(lowered, name)
	}
}
