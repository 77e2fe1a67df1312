package forward

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// write makes a file of the test.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	resolv := write(t, "resolv.conf", "nameserver 10.0.0.1\nnameserver 10.0.0.2\n")
	empty := write(t, "empty.conf", "search example.org\n")
	const defaults = "From:. To:[10.0.0.1:53] Policy:0 MaxFails:2 MaxConnectAttempts:-1 HealthCheck:500ms Expire:10s ReadTimeout:2s"
	for _, tt := range []struct{ lines, want string }{
		{"forward . 10.0.0.1", defaults},
		{"forward . dns://10.0.0.1", defaults},
		{"forward . 10.0.0.1:5353", "To:[10.0.0.1:5353]"},
		{"forward . fe80::1%eth0", "To:[[fe80::1%eth0]:53]"},
		{"forward . [2001:db8::1]:5353", "To:[[2001:db8::1]:5353]"},
		{"forward . [2001:db8::1]", "To:[[2001:db8::1]:53]"},
		{"forward . tls://9.9.9.9", "To:[tls://9.9.9.9:853]"},
		{"forward . tls://9.9.9.9%dns.quad9.net", "To:[tls://9.9.9.9:853 (dns.quad9.net)]"},
		{"forward . tls://9.9.9.9%dns.quad9.net:10853", "To:[tls://9.9.9.9:10853 (dns.quad9.net)]"},
		{"forward . tls://[2620:fe::fe%dns.quad9.net]:10853", "To:[tls://[2620:fe::fe]:10853 (dns.quad9.net)]"},
		{"forward . https://9.9.9.9", "To:[https://9.9.9.9:443]"},
		{"forward . dns.example.org", "To:[dns.example.org.:53]"},
		{"forward . tls://dns.example.org:8853", "To:[tls://dns.example.org.:8853]"},
		{"forward . " + resolv + " 10.0.0.9", "To:[" + resolv + " 10.0.0.9:53]"},
		{"forward . " + empty + " 10.0.0.9", "To:[" + empty + " 10.0.0.9:53]"},
		{"forward Example.ORG 10.0.0.1", "From:example.org."},
		{"forward 10.0.0.0/8 10.0.0.1", "From:10.in-addr.arpa."},
		{"forward 10.2.0.0/15 10.0.0.1", "Warnings:[Unsupported CIDR notation: '10.2.0.0/15' expands to multiple zones. Using only '2.10.in-addr.arpa.'. (Corefile:2)]"},
		{"forward . 10.0.0.1 {\nexcept a.example b.example\nexcept 10.0.0.0/15\n}", "Except:[a.example. b.example. 0.10.in-addr.arpa. 1.10.in-addr.arpa.]"},
		{"forward . 10.0.0.1 {\nforce_tcp\nprefer_udp\n}", "ForceTCP:true PreferUDP:true"},
		{"forward . 10.0.0.1 {\npolicy round_robin\n}", "Policy:1"},
		{"forward . 10.0.0.1 {\npolicy sequential\n}", "Policy:2"},
		{"forward . 10.0.0.1 {\nmax_fails 0\nmax_connect_attempts 0\nmax_idle_conns 7\nmax_concurrent 1000\n}", "MaxFails:0 MaxConnectAttempts:0 MaxIdleConns:7 MaxConcurrent:1000"},
		{"forward . 10.0.0.1 {\nhealth_check 5s no_rec domain Example.org\n}", "HealthCheck:5s HealthNoRecurse:true HealthDomain:example.org."},
		{"forward . 10.0.0.1 {\nexpire 1s\nmax_age 2s\nread_timeout 3s\n}", "Expire:1s MaxAge:2s ReadTimeout:3s"},
		{"forward . 10.0.0.1 {\ntls\ntls_servername a.example\ndoh_method GET\n}", "TLS:true TLSServerName:a.example DoHMethod:GET"},
		{"forward . 10.0.0.1 {\nnext NXDOMAIN servfail\nnext refused\nnext_on_nodata\nfailover servfail REFUSED\nfailfast_all_unhealthy_upstreams\n}", "Next:[3 2 5] NextOnNoData:true Failover:[2 5] FailFast:true"},
		{"forward . 10.0.0.1 {\nresolver 10.0.0.53 [2001:db8::1]:53\nsource_address 10.0.0.7\n}", "Resolver:[10.0.0.53 [2001:db8::1]:53] Source:10.0.0.7"},
		{"forward . 10.0.0.1\nforward example.org 10.0.0.2", defaults + "\nFrom:example.org. To:[10.0.0.2:53]"},
	} {
		all, err := Parse(plugintest.Directive(t, tt.lines))
		if err != nil {
			t.Errorf("%q: %v", tt.lines, err)
			continue
		}
		want := strings.Split(tt.want, "\n")
		for i, o := range all {
			got := describe(o)
			for _, field := range strings.Split(want[i], " ") {
				if !strings.Contains(got, field) {
					t.Errorf("%q: no %s in %s", tt.lines, field, got)
				}
			}
		}
		if len(all) != len(want) {
			t.Errorf("%q: %d lines", tt.lines, len(all))
		}
	}
}

// describe is the options in words.
func describe(o Options) string {
	var to []string
	for _, target := range o.To {
		text := target.File
		switch {
		case target.Host != "":
			text = fmt.Sprintf("%s.:%d", target.Host, target.Port)
		case target.File == "":
			text = target.Addr.String()
		}
		if target.File == "" && target.Protocol != "dns" {
			text = string(target.Protocol) + "://" + text
		}
		if target.ServerName != "" {
			text += " (" + target.ServerName + ")"
		}
		to = append(to, text)
	}
	text := fmt.Sprintf("%+v", o)
	_, rest, _ := strings.Cut(text, " Except:")
	text = fmt.Sprintf("From:%s To:%v Except:%s HealthDomain:%s ", o.From, to, rest, o.HealthDomain)
	if o.TLS != nil {
		text += "TLS:true"
	}
	return text
}

func TestParseErrors(t *testing.T) {
	identity := upstreamtest.NewIdentity(t)
	cert, key, ca := identity.Files(t)
	junk := write(t, "junk.pem", "junk")
	block := func(line string) string { return "forward . 10.0.0.1 {\n" + line + "\n}" }
	const at3 = "Corefile:3 - Error during parsing: "
	many := "forward . " + strings.Repeat("10.0.0.1 ", 16)
	for _, tt := range []struct{ lines, want string }{
		{"forward", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'forward'"},
		{"forward .", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '.'"},
		{"forward a..b 10.0.0.1", "unable to normalize 'a..b'"},
		{many, "more than 15 TOs configured: 16"},
		{"forward . " + write(t, "empty.conf", "#\n"), "no valid upstream addresses found"},
		{"forward . dns://", `invalid address: "dns://"`},
		{"forward . 10.0.0.1:99999", `invalid address: "10.0.0.1:99999": port "99999" is not a number from 0 to 65535`},
		{"forward . grpc://10.0.0.1", "'grpc' is not supported as a destination protocol in forward: grpc://10.0.0.1"},
		{"forward . quic://10.0.0.1", "Corefile:2 - Error during parsing: quic://10.0.0.1: forwarding over quic:// is not supported by Waypost yet: use tls:// or https://"},
		{"forward . https://10.0.0.1/dns-query", "paths are not allowed in HTTPS upstream addresses (the /dns-query path is used by default): https://10.0.0.1/dns-query"},
		{"forward . /no/such/resolv.conf", `not an IP address or file "/no/such/resolv.conf": failed to open file: no such file`},
		{"forward . a..b", `not an IP address, file, or valid domain: "a..b"`},
		{"forward . tls://10.0.0.1%a.example {\ntls_servername b.example\n}", "both forward ('b.example') and proxy level ('a.example') TLS servernames are set for upstream proxy 'tls://10.0.0.1%a.example'"},
		{block("max_age 1s"), "max_age (1s) must not be less than expire (10s)"},
		{block("except"), at3 + "Wrong argument count or unexpected line ending after 'except'"},
		{block("force_tcp yes"), at3 + "Wrong argument count or unexpected line ending after 'yes'"},
		{block("failfast_all_unhealthy_upstreams yes"), at3 + "Wrong argument count or unexpected line ending after 'yes'"},
		{block("tls a b c d"), at3 + "Wrong argument count or unexpected line ending after 'd'"},
		{block("tls " + junk), "could not read root certs: no certificate in " + junk},
		{block("tls " + ca + ".none"), "error reading " + ca + ".none: open " + ca + ".none: no such file or directory"},
		{block("tls " + cert + " " + junk), "could not load TLS cert: tls: failed to find any PEM data in key input"},
		{block("tls " + key + " " + cert), "could not load TLS cert: tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"},
		{block("max_fails -1"), `strconv.ParseUint: parsing "-1": invalid syntax`},
		{block("max_fails 1 2"), at3 + "unknown property '2'"},
		{block("max_connect_attempts x"), `strconv.ParseUint: parsing "x": invalid syntax`},
		{block("health_check"), at3 + "Wrong argument count or unexpected line ending after 'health_check'"},
		{block("health_check 5"), `time: missing unit in duration "5"`},
		{block("health_check -5s"), "health_check can't be negative: -5000000000"},
		{block("health_check 5s x"), "health_check: unknown option x"},
		{block("health_check 5s domain"), at3 + "Wrong argument count or unexpected line ending after 'domain'"},
		{block("health_check 5s domain a..b"), "health_check: invalid domain name a..b"},
		{block("expire -1s"), "expire can't be negative: -1s"},
		{block("max_age -1s"), "max_age can't be negative: -1s"},
		{block("max_idle_conns -1"), "max_idle_conns can't be negative: -1"},
		{block("read_timeout 0s"), "read_timeout must be positive: 0s"},
		{block("doh_method PUT"), "doh_method must be either POST or GET"},
		{block("policy x"), at3 + "unknown policy 'x'"},
		{block("max_concurrent -1"), "max_concurrent can't be negative: -1"},
		{block("max_concurrent many"), `strconv.Atoi: parsing "many": invalid syntax`},
		{block("next x"), "x is not a valid rcode"},
		{block("failover x"), "x is not a valid rcode"},
		{block("failover NOERROR"), "NoError cannot be used in failover"},
		{block("resolver x"), `resolver must be an IP address or IP:port: "x"`},
		{block("source_address x"), at3 + "invalid IP address: x"},
		{block("upstream"), at3 + "unknown property 'upstream'"},
	} {
		if _, err := Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// FuzzTo: whatever stands for an upstream in a Corefile is a server, a host or an error.
func FuzzTo(f *testing.F) {
	for _, text := range []string{"10.0.0.1", "tls://[::1%a]:853", "a.example:53", "[", "%", "https://"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, name, _, err := splitTo(text, 53)
		if err == nil && len(host)+len(name) > len(text) {
			t.Errorf("%q: host %q, name %q", text, host, name)
		}
	})
}
