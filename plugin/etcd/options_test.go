package etcd

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/waypost/waypost/config"
)

func TestParse(t *testing.T) {
	at := func(line int) config.Pos { return config.Pos{File: "Corefile", Line: line} }
	with := func(change func(*Options)) Options {
		o := Options{
			Zones: config.Zones{"example.org.", "2.0.192.in-addr.arpa."}, Path: "skydns", Endpoints: []string{"http://localhost:2379"}, MinLease: 30, MaxLease: 86400,
		}
		change(&o)
		return o
	}
	for _, tt := range []struct {
		lines string
		want  Options
	}{
		{"etcd", with(func(*Options) {})},
		{"etcd {\nstubzones\ndebug\nupstream a b\npath /a/b\n}", with(func(o *Options) { o.Path = "/a/b" })},
		{"etcd a.example 10.0.0.0/8 b..c {\nfallthrough 10.0.0.0/8 d..e\nno_apex_fallback\n}", with(func(o *Options) {
			o.Zones, o.Fallthrough, o.NoApexFallback = config.Zones{"a.example.", "10.in-addr.arpa."}, config.Zones{"10.in-addr.arpa."}, true
			o.Warnings = append(at(2).LeftOut([]string{"b..c"}), at(3).LeftOut([]string{"d..e"})...)
		})},
		{"etcd {\nendpoint http://a:1 http://b:2\nendpoint http://c:3 d:4\n}", with(func(o *Options) { o.Endpoints = []string{"http://c:3", "d:4"} })},
		{"etcd {\nfallthrough\ncredentials me secret\n}", with(func(o *Options) {
			o.Fallthrough, o.Username, o.Password = config.Zones{"."}, "me", "secret"
		})},
		{"etcd {\nmin-lease-ttl 90\nmax-lease-ttl 2h30m\n}", with(func(o *Options) { o.MinLease, o.MaxLease = 90, 9000 })},
		{"etcd {\nmin-lease-ttl \"\"\nmax-lease-ttl 1.9s\n}", with(func(o *Options) { o.MinLease, o.MaxLease = 0, 1 })},
		{"etcd {\npath x\n}\netcd {\nnonsense\n}", with(func(o *Options) {
			o.Path = "x"
			o.Warnings = []config.Warning{at(5).Warningf("no effect, as the first etcd of a server block counts")}
		})},
	} {
		got, err := parse(t, tt.lines)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %v\ngot  %+v\nwant %+v", tt.lines, err, got, tt.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		at3  = "Corefile:3 - Error during parsing: "
		form = "invalid TTL format, use format like '30', '30s', '5m', '1h', or '2h30m'"
	)
	for _, tt := range []struct{ line, want string }{
		{"nosuch", at3 + "unknown property 'nosuch'"},
		{"path", at3 + "Wrong argument count or unexpected line ending after 'path'"},
		{"path a b", at3 + "unknown property 'b'"},
		{"stubzones x", at3 + "unknown property 'x'"},
		{"endpoint", at3 + "Wrong argument count or unexpected line ending after 'endpoint'"},
		{"no_apex_fallback x", at3 + "Wrong argument count or unexpected line ending after 'x'"},
		{"credentials", at3 + "Wrong argument count or unexpected line ending after 'credentials'"},
		{"credentials me", at3 + "credentials requires 2 arguments, username and password"},
		{"tls a b c d", "maximum of three arguments allowed for TLS config, found 4"},
		{"tls " + junk, "could not read root certs: no certificate in " + junk},
		{"min-lease-ttl", at3 + "Wrong argument count or unexpected line ending after 'min-lease-ttl'"},
		{"min-lease-ttl x", at3 + "invalid min-lease-ttl value: " + form},
		{"max-lease-ttl 5x", at3 + "invalid max-lease-ttl value: " + form},
		{"max-lease-ttl -1s", at3 + "invalid max-lease-ttl value: TTL must be non-negative"},
		{"max-lease-ttl 4294967296", at3 + "invalid max-lease-ttl value: TTL too large, maximum is 4294967295 seconds"},
	} {
		if _, err := parse(t, "etcd {\n"+tt.line+"\n}"); err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

// TestMeaning: what does not change how the directive works does not change what it means.
func TestMeaning(t *testing.T) {
	meaning := func(lines string) string {
		o, err := parse(t, lines)
		if err != nil {
			t.Fatal(err)
		}
		return o.Meaning()
	}
	plain := meaning("etcd")
	if got := meaning("etcd {\nstubzones\nendpoint http://localhost:2379\nmin-lease-ttl 30s\n}"); got != plain {
		t.Errorf("the defaults, written out: %s\nwant %s", got, plain)
	}
	for _, line := range []string{"path x", "endpoint x", "credentials a b", "tls", "fallthrough", "no_apex_fallback", "min-lease-ttl 1"} {
		if meaning("etcd {\n"+line+"\n}") == plain {
			t.Errorf("%s changes nothing", line)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"etcd", `answers names under example.org., 2.0.192.in-addr.arpa. with the SkyDNS records under /skydns in etcd at http://localhost:2379
a name under them that does not exist is NXDOMAIN`},
		{"etcd a {\npath b/c\nendpoint http://x:1 http://y:2\nfallthrough\ncredentials me secret\ntls\nno_apex_fallback\nmin-lease-ttl 60\nmax-lease-ttl 1h\n}",
			`answers names under a. with the SkyDNS records under /b/c in etcd at http://x:1, http://y:2
a name that does not exist is NXDOMAIN, and goes on if it is under .
logs in there as me
over TLS, trusting the system's authorities
has addresses for a zone itself only below apex.dns of the zone
with a TTL of at least 1m where a lease ends earlier
with a TTL of at most 1h where a lease ends later`},
	} {
		o, err := parse(t, tt.lines)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, clause := range o.Explain() {
			texts = append(texts, clause.Text)
		}
		if got := strings.Join(texts, "\n"); got != tt.want {
			t.Errorf("%s\n%s\nwant\n%s", tt.lines, got, tt.want)
		}
	}
}

func TestExplainTLS(t *testing.T) {
	for _, tt := range []struct{ files, want string }{
		{"ca", "over TLS, trusting ca"},
		{"cert key", "over TLS, with the certificate cert and the key key"},
		{"cert key ca", "over TLS, trusting ca, with the certificate cert and the key key"},
	} {
		if got := (Options{TLSFiles: strings.Fields(tt.files)}).explainTLS(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.files, got, tt.want)
		}
	}
}
