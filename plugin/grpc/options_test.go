package grpc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	resolv := write(t, "resolv.conf", "nameserver 10.10.255.252\nnameserver ::1\n")
	_, _, ca := upstreamtest.NewIdentity(t).Files(t)
	block := func(lines string) string { return "grpc . 10.0.0.1 {\n" + lines + "\n}" }
	for _, tt := range []struct{ lines, want string }{
		{"grpc . 10.0.0.1", "asks 10.0.0.1:53 over gRPC; without TLS"},
		{"grpc global 127.0.0.1:8053", "asks 127.0.0.1:8053 over gRPC for names under global.; without TLS"},
		{"grpc Example.ORG:53 ::1", "asks [::1]:53 over gRPC for names under example.org.; without TLS"},
		{"grpc . [2003::1]:53 [::1] fe80::1%eth0", "asks [2003::1]:53, [::1]:53, [fe80::1%eth0]:53 over gRPC, in random order; without TLS"},
		{"grpc . dns://10.0.0.1 grpc://10.0.0.1:443", "asks 10.0.0.1:443, 10.0.0.1:53 over gRPC, in random order; without TLS"},
		{"grpc . unix:///run/g.sock", "asks unix:///run/g.sock over gRPC; without TLS"},
		{"grpc . " + resolv + " 10.0.0.1", "asks 10.0.0.1:53, 10.10.255.252:53, [::1]:53 over gRPC, in random order; without TLS"},
		{"grpc . 10.0.0.2 10.0.0.1 {\npolicy round_robin\n}", "asks 10.0.0.2:53, 10.0.0.1:53 over gRPC, each in turn; without TLS"},
		{"grpc . 10.0.0.2 10.0.0.1 {\npolicy round_robin\npolicy sequential\n}", "asks 10.0.0.2:53, 10.0.0.1:53 over gRPC, the first that works; without TLS"},
		{block("except b a.b\nexcept c"), "asks 10.0.0.1:53 over gRPC; but not for names under a.b., b., c.; without TLS"},
		{block("tls"), "asks 10.0.0.1:53 over gRPC; with TLS and the system's authorities"},
		{block("tls " + ca + "\ntls_servername dns.example"), "asks 10.0.0.1:53 over gRPC; with the TLS files " + ca + "; servers have to have a certificate for dns.example"},
		{block("tls_servername dns.example"), "asks 10.0.0.1:53 over gRPC; with TLS and the system's authorities; servers have to have a certificate for dns.example"},
		{block("fallthrough"), "asks 10.0.0.1:53 over gRPC; without TLS; a name that does not exist, or that nobody replies to, goes on if it is under ."},
		{block("fallthrough a b"), "asks 10.0.0.1:53 over gRPC; without TLS; a name that does not exist, or that nobody replies to, goes on if it is under a., b."},
	} {
		o, err := Parse(plugintest.Directive(t, tt.lines))
		if err != nil {
			t.Errorf("%q: %v", tt.lines, err)
			continue
		}
		var texts []string
		for _, clause := range o.Explain() {
			texts = append(texts, clause.Text)
		}
		if got := strings.Join(texts, "; "); got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.lines, got, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	o, err := Parse(plugintest.Directive(t, "grpc 10.0.0.0/9 10.0.0.1 {\nexcept a..b c\nfallthrough d..e\n}"))
	want := "[Unsupported CIDR notation: '10.0.0.0/9' expands to multiple zones. Using only '0.10.in-addr.arpa.'. (Corefile:2) " +
		"\"a..b\" is not a zone and is left out (Corefile:3) \"d..e\" is not a zone and is left out (Corefile:4)]"
	if got := fmt.Sprint(o.Warnings); err != nil || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestParseErrors(t *testing.T) {
	junk := write(t, "junk.pem", "junk")
	block := func(line string) string { return "grpc . 10.0.0.1 {\n" + line + "\n}" }
	const at3 = "Corefile:3 - Error during parsing: "
	for _, tt := range []struct{ lines, want string }{
		{"grpc", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'grpc'"},
		{"grpc .", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '.'"},
		{"grpc a..b 10.0.0.1", "unable to normalize 'a..b'"},
		{"grpc . 10.0.0.1\ngrpc a 10.0.0.1", "this plugin can only be used once per Server Block"},
		{"grpc . " + strings.Repeat("10.0.0.1 ", 16), "more than 15 TOs configured: 16"},
		{"grpc . a27.0.0.1", `not an IP address or file "a27.0.0.1": failed to open file: no such file`},
		{"grpc . 10.0.0.1:99999", `not an IP address or file "10.0.0.1:99999": failed to open file: no such file`},
		{"grpc . " + write(t, "empty.conf", "#\n"), "no nameservers found"},
		{"grpc . dns://", `invalid address: "dns://"`},
		{"grpc . unix://", `invalid address: "unix://"`},
		{"grpc . unix://g.sock", `invalid address: "unix://g.sock"`},
		{"grpc . tls://10.0.0.1", "'tls' is not supported as a destination protocol in grpc: tls://10.0.0.1: write the address alone, and the option tls where TLS is spoken"},
		{block("except"), at3 + "Wrong argument count or unexpected line ending after 'except'"},
		{block("tls a b c d"), at3 + "Wrong argument count or unexpected line ending after 'd'"},
		{block("tls " + junk), "could not read root certs: no certificate in " + junk},
		{block("tls_servername"), at3 + "Wrong argument count or unexpected line ending after 'tls_servername'"},
		{block("tls_servername a b"), at3 + "unknown property 'b'"},
		{block("policy"), at3 + "Wrong argument count or unexpected line ending after 'policy'"},
		{block("policy x"), at3 + "unknown policy 'x'"},
		{block("policy x y"), at3 + "unknown policy 'x'"},
		{block("policy random y"), at3 + "unknown property 'y'"},
		{block("pool 5"), at3 + "unknown property 'pool'"},
	} {
		if _, err := Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}
