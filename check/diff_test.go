package check_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/check"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// compare compares two Corefiles.
func compare(t *testing.T, old, next string) check.Diff {
	t.Helper()
	return check.Compare(run(t, "old", old), run(t, "new", next))
}

// TestSame: what means the same is no change, however it is written.
func TestSame(t *testing.T) {
	outside(t)
	t.Setenv("WAYPOST_TEST_TTL", "30")
	tests := []struct{ old, next string }{
		{". {\n  cache\n  whoami\n}\n", "# a comment\n.:53 {\n  whoami # another\n  cache {\n    success 10000 3600 5\n  }\n}\n"},
		{"a b {\n  whoami\n}\n", "b, a {\n  whoami\n}\n"},
		{"a {\n  whoami\n}\nb {\n  whoami\n}\n", "B {\n  whoami\n}\nA {\n  whoami\n}\n"},
		{". {\n  cache {$WAYPOST_TEST_TTL}\n  whoami\n}\n", ". {\n  cache 30\n  whoami\n}\n"},
		{"(s) {\n  errors\n  whoami\n}\n. {\n  import s\n}\n", ". {\n  errors\n  whoami\n}\n"},
		{". {\n  health {\n    lameduck 60s\n  }\n  whoami\n}\n", ". {\n  health :8080 {\n    lameduck 1m\n  }\n  whoami\n}\n"},
		{". {\n  forward . 192.0.2.1 192.0.2.2:53\n}\n", ". {\n  forward . dns://192.0.2.2 192.0.2.1 {\n    policy random\n    max_fails 2\n  }\n}\n"},
		{". {\n  log\n  whoami\n}\n", ". {\n  log . {common} {\n    class success denial error\n  }\n  whoami\n}\n"},
		{". {\n  rewrite name a. b.\n  whoami\n}\n", ". {\n  rewrite stop {\n    name exact A b\n  }\n  whoami\n}\n"},
		{"10.0.0.0/8 {\n  whoami\n}\n", "10.in-addr.arpa {\n  whoami\n}\n"},
		{". {\n  kubernetes cluster.local {\n    namespaces a b\n  }\n  whoami\n}\n", ". {\n  kubernetes cluster.local. {\n    namespaces b\n    namespaces a\n    pods disabled\n    ttl 5\n  }\n  whoami\n}\n"},
	}
	for _, tt := range tests {
		d := compare(t, tt.old, tt.next)
		if got := d.Text(); len(d.Changes) > 0 || !strings.HasSuffix(got, "old and new mean the same\n") {
			t.Errorf("%q and %q:\n%s", tt.old, tt.next, got)
		}
	}
}

// TestDiff shows what a person reads.
func TestDiff(t *testing.T) {
	const old = `.:53 {
    errors
    rewrite name a b
    rewrite name c d
    cache 30
    forward . 192.0.2.1
}
gone.example:53 {
    whoami
}
example.org:53 {
    whoami
}
`
	const next = `example.org:53 example.net:5353 {
    whoami
}
.:53 {
    rewrite name c d
    rewrite name a b
    log
    cache 60 {
        keepttl
    }
    forward . 192.0.2.1 192.0.2.2
}
new.example:53 {
    whoami
}
`
	d := compare(t, old, next)
	const want = `new in place of old:

server block for example.org. at dns://:53
  the server block changes (line 1, was line 11)
    + is asked for example.net. at dns://:5353

server block for . at dns://:53
  log is new (line 7)
    + prints a line for each query
  rewrite changes (line 5, was line 3)
    + the same in another order: c.: is asked for as d., and the answer has the client's name again; a.: is asked for as b., and the answer has the client's name again
  cache changes (line 8, was line 5)
    - keeps answers for 30s at most and 5s at least, 10000 of them
    - keeps denials for 30s at most and 5s at least, 10000 of them
    + keeps answers for 1m at most and 5s at least, 10000 of them
    + keeps denials for 1m at most and 5s at least, 10000 of them
    + the TTL of what is kept does not count down
  forward changes (line 11, was line 6)
    - asks 192.0.2.1
    + asks 192.0.2.1, 192.0.2.2, in random order
  errors is gone (was line 2)
    - prints why a query could not be answered

server block for new.example. at dns://:53
  the server block is new (line 13)
    + whoami: tells a client its own address, whatever it asks

server block for gone.example. at dns://:53
  the server block is gone (was line 8)
    - whoami: tells a client its own address, whatever it asks
`
	if diff := cmp.Diff(want, d.Text()); diff != "" {
		t.Error(diff)
	}
}

// TestDiffOfViews: blocks with the same zones are told from each other by their views.
func TestDiffOfViews(t *testing.T) {
	const inside = ". {\n  view inside {\n    expr incidr(client_ip(), '10.0.0.0/8')\n  }\n  whoami\n}\n"
	const want = `new in place of old:

server block for . at dns://:53 in view outside
  log is new (line 6)
    + prints a line for each query

server block for . at dns://:53 in view inside
  view changes (line 9, was line 2)
    - takes only queries of which this is true: incidr(client_ip(), '10.0.0.0/8')
    + takes only queries of which this is true: incidr(client_ip(), '10.96.0.0/12')
`
	outside := strings.NewReplacer("inside", "outside", "10.0.0.0/8", "192.0.2.0/24").Replace(inside)
	d := compare(t, inside+outside, strings.Replace(outside, "whoami", "whoami\n  log", 1)+strings.Replace(inside, "10.0.0.0/8", "10.96.0.0/12", 1))
	if diff := cmp.Diff(want, d.Text()); diff != "" {
		t.Error(diff)
	}
}

// TestDiffOfErrors: what cannot be served is not compared.
func TestDiffOfErrors(t *testing.T) {
	d := compare(t, ". {\n  whoami\n}\n", ". {\n  foo\n}\n")
	const want = "new:2: error: Unknown directive 'foo'\nold and new cannot be compared before the errors are gone\n"
	if diff := cmp.Diff(want, d.Text()); diff != "" {
		t.Error(diff)
	}
}

// variants are ways to write each directive, all of which mean something else. Between them they have all options that
// docs/corefile.md says are there.
var variants = map[string][]string{
	"reload":   {"reload", "reload 10s", "reload 30s 1s", "reload 30s 0s"},
	"nsid":     {"nsid", "nsid a"},
	"bufsize":  {"bufsize", "bufsize 512"},
	"bind":     {"bind 127.0.0.1", "bind lo", "bind lo {\nexcept ::1\n}"},
	"ready":    {"ready", "ready :1", "ready {\nmonitor continuously\n}"},
	"health":   {"health", "health :1", "health {\nlameduck 5s\n}"},
	"errors":   {"errors", "errors {\nstacktrace\n}", "errors {\nconsolidate 5m a\n}", "errors {\nconsolidate 5m b\n}", "errors {\nconsolidate 1m a\n}", "errors {\nconsolidate 5m a warning\n}", "errors {\nconsolidate 5m a show_first\n}"},
	"log":      {"log", "log a", "log . {combined}", "log . {name}", "log {\nclass denial\n}", "log {\nclass error\n}"},
	"dns64":    {"dns64", "dns64 2001:db8::/64", "dns64 {\nprefix 2001:db8::/96\n}", "dns64 {\ntranslate_all\n}", "dns64 {\nallow_ipv4\n}"},
	"chaos":    {"chaos", "chaos a", "chaos a b"},
	"whoami":   {"whoami"},
	"view":     {"view a", "view b", "view a {\nexpr type() == 'A'\n}", "view a {\nexpr type() == 'MX'\n}", "view a {\nexpr type() == 'A'\nexpr do()\n}"},
	"loop":     {"loop", "loop exit"},
	"autopath": {"autopath testdata/resolv.conf", "autopath a testdata/resolv.conf", "autopath @kubernetes"},

	"pprof":      {"pprof", "pprof :1", "pprof {\nblock\n}", "pprof {\nblock 2\n}"},
	"prometheus": {"prometheus", "prometheus :1", "prometheus {\nruntime_metrics\n}", "prometheus {\ntls /dev/null\n}"},
	"loadbalance": {"loadbalance", "loadbalance {\nprefer 10.0.0.0/8\n}", "loadbalance {\nprefer 10.0.0.0/8 fd00::/8\n}", "loadbalance weighted /dev/null",
		"loadbalance weighted /dev/zero", "loadbalance weighted /dev/null {\nreload 10s\n}", "loadbalance weighted /dev/null {\nreload 0s\n}"},
	"rewrite": {"rewrite name a b", "rewrite continue name a b", "rewrite name a c", "rewrite name prefix a b", "rewrite name suffix a b", "rewrite name substring a b",
		"rewrite name regex a b", "rewrite name regex (a) {1}", "rewrite name regex a b answer name b a", "rewrite name regex a b answer value b a", "rewrite name suffix a b answer auto",
		"rewrite class CH IN", "rewrite type A AAAA", "rewrite type A MX", "rewrite ttl a 5", "rewrite ttl a 5-10", "rewrite ttl suffix a 5", "rewrite rcode a SERVFAIL NXDOMAIN",
		"rewrite rcode a SERVFAIL REFUSED", "rewrite cname a b", "rewrite cname a c", "rewrite edns0 local set 0xffee a", "rewrite edns0 local set 0xffee b", "rewrite edns0 local set 0xffef a",
		"rewrite edns0 local append 0xffee a", "rewrite edns0 local replace 0xffee a", "rewrite edns0 local set 0xffee a revert", "rewrite edns0 local set 0xffee {qname}",
		"rewrite edns0 local unset 0xffee", "rewrite edns0 nsid set", "rewrite edns0 nsid unset", "rewrite edns0 subnet set 24 56", "rewrite edns0 subnet set 16 56", "rewrite edns0 subnet set 24 48", "rewrite edns0 subnet unset"},
	"cache": {"cache", "cache 30", "cache 30 a", "cache {\nsuccess 2000\n}", "cache {\nsuccess 10000 60\n}", "cache {\nsuccess 10000 3600 1\n}", "cache {\ndenial 2000\n}", "cache {\ndenial 10000 60\n}",
		"cache {\ndenial 10000 1800 1\n}", "cache {\nprefetch 5\n}", "cache {\nprefetch 6\n}", "cache {\nprefetch 5 2m\n}", "cache {\nprefetch 5 1m 20%\n}", "cache {\nserve_stale\n}", "cache {\nserve_stale 2h\n}",
		"cache {\nserve_stale 1h immediate 5s\n}", "cache {\nserve_stale 1h immediate 5s 10s\n}", "cache {\nserve_stale 1h verify\n}", "cache {\nserve_stale 1h verify 1s\n}", "cache {\nserve_stale 1h verify 1s 5s\n}",
		"cache {\nserve_stale 1h verify 1s 5s 10s\n}", "cache {\nserve_stale\nserve_stale_policy prefer_positive\n}", "cache {\nservfail 0\n}", "cache {\nservfail 1s\n}", "cache {\ndisable success\n}",
		"cache {\ndisable success a\n}", "cache {\ndisable denial\n}", "cache {\nkeepttl\n}"},
	"template": {"template IN A", "template IN AAAA", "template IN A a", "template CH A", "template IN A {\nmatch a\n}", "template IN A {\nmatch a\nfallthrough\n}", "template IN A {\nmatch a\nfallthrough b\n}",
		"template IN A {\nexpr type() == 'A'\n}", "template IN A {\nvar v 'a'\n}", "template IN A {\nvar v 'b'\n}", "template IN A {\nanswer \"a A 192.0.2.1\"\n}", "template IN A {\nadditional \"a A 192.0.2.1\"\n}",
		"template IN A {\nauthority \"a A 192.0.2.1\"\n}", "template IN A {\nrcode NXDOMAIN\n}", "template IN A {\nederror 21\n}", "template IN A {\nederror 21 a\n}"},
	"hosts": {"hosts", "hosts /dev/null", "hosts /dev/null a", "hosts {\n192.0.2.1 a\n}", "hosts {\n192.0.2.1 b\n}", "hosts {\nttl 5\n}", "hosts {\nno_reverse\n}", "hosts {\nreload 1s\n}", "hosts {\nreload 0s\n}",
		"hosts {\nfallthrough\n}", "hosts {\nfallthrough a\n}", "hosts {\nfallthrough\nfallthrough_unsupported\n}"},
	"kubernetes": {"kubernetes", "kubernetes a", "kubernetes {\nendpoint http://a\n}", "kubernetes {\nendpoint https://a\ntls CERT KEY CA\n}", "kubernetes {\nkubeconfig KUBECONFIG\n}", "kubernetes {\nkubeconfig KUBECONFIG b\n}",
		"kubernetes {\nmanifests a\n}", "kubernetes {\napiserver_qps 1\n}", "kubernetes {\napiserver_burst 1\n}", "kubernetes {\napiserver_max_inflight 1\n}", "kubernetes {\nnamespaces a\n}", "kubernetes {\nlabels a\n}",
		"kubernetes {\nnamespace_labels a\n}", "kubernetes {\npods insecure\n}", "kubernetes {\npods verified\n}", "kubernetes {\nendpoint_pod_names\n}", "kubernetes {\nttl 30\n}", "kubernetes {\nnoendpoints\n}",
		"kubernetes {\nfallthrough\n}", "kubernetes {\nfallthrough a\n}", "kubernetes {\nignore empty_service\n}", "kubernetes {\nmulticluster .\n}", "kubernetes {\nzonal\n}", "kubernetes {\nstartup_timeout 0\n}", "kubernetes {\nstartup_timeout 1s\n}"},
	"etcd": {"etcd", "etcd a", "etcd {\nfallthrough\n}", "etcd {\nfallthrough a\n}", "etcd {\npath a\n}", "etcd {\nendpoint http://a\n}", "etcd {\nendpoint http://a http://b\n}", "etcd {\ncredentials a b\n}",
		"etcd {\ntls\n}", "etcd {\ntls CA\n}", "etcd {\ntls CERT KEY\n}", "etcd {\ntls CERT KEY CA\n}", "etcd {\nno_apex_fallback\n}", "etcd {\nmin-lease-ttl 1m\n}", "etcd {\nmax-lease-ttl 1h\n}"},
	"forward": {"forward . 192.0.2.1", "forward a 192.0.2.1", "forward . 192.0.2.2", "forward . 192.0.2.1:54", "forward . tls://192.0.2.1", "forward . tls://192.0.2.1%a", "forward . https://192.0.2.1", "forward . host.example",
		"forward . testdata/resolv.conf", "forward . 192.0.2.1 192.0.2.2", "forward . 192.0.2.1 192.0.2.2 {\npolicy round_robin\n}", "forward . 192.0.2.1 192.0.2.2 {\npolicy sequential\n}", "forward . 192.0.2.2 192.0.2.1 {\npolicy sequential\n}",
		"forward . 192.0.2.1 {\nexcept a\n}", "forward . 192.0.2.1 {\nforce_tcp\n}", "forward . 192.0.2.1 {\nprefer_udp\n}", "forward . 192.0.2.1 {\nmax_fails 0\n}", "forward . 192.0.2.1 {\nmax_fails 3\n}",
		"forward . 192.0.2.1 {\nhealth_check 1s\n}", "forward . 192.0.2.1 {\nhealth_check 1s no_rec\n}", "forward . 192.0.2.1 {\nhealth_check 1s domain a\n}", "forward . 192.0.2.1 {\nmax_connect_attempts 0\n}",
		"forward . 192.0.2.1 {\nmax_connect_attempts 5\n}", "forward . 192.0.2.1 {\nexpire 1s\n}", "forward . 192.0.2.1 {\nmax_age 1m\n}", "forward . 192.0.2.1 {\nmax_idle_conns 1\n}", "forward . 192.0.2.1 {\nread_timeout 1s\n}",
		"forward . 192.0.2.1 {\nmax_concurrent 1\n}", "forward . 192.0.2.1 {\ntls_servername a\n}", "forward . 192.0.2.1 {\ndoh_method GET\n}", "forward . 192.0.2.1 {\nnext NXDOMAIN\n}", "forward . 192.0.2.1 {\nnext_on_nodata\n}",
		"forward . 192.0.2.1 {\nfailover SERVFAIL\n}", "forward . 192.0.2.1 {\nfailfast_all_unhealthy_upstreams\n}", "forward . 192.0.2.1 {\nsource_address 192.0.2.9\n}", "forward . 192.0.2.1 {\nresolver 192.0.2.9\n}",
		"forward . tls://192.0.2.1 {\ntls CA\n}", "forward a 192.0.2.1\nforward . 192.0.2.1"},
	"grpc": {"grpc . 192.0.2.1", "grpc a 192.0.2.1", "grpc . 192.0.2.1:54", "grpc . unix:///run/g.sock", "grpc . 192.0.2.1 192.0.2.2", "grpc . 192.0.2.1 192.0.2.2 {\npolicy round_robin\n}",
		"grpc . 192.0.2.1 192.0.2.2 {\npolicy sequential\n}", "grpc . 192.0.2.2 192.0.2.1 {\npolicy sequential\n}", "grpc . 192.0.2.1 {\nexcept a\n}", "grpc . 192.0.2.1 {\ntls\n}", "grpc . 192.0.2.1 {\ntls CA\n}",
		"grpc . 192.0.2.1 {\ntls CERT KEY CA\n}", "grpc . 192.0.2.1 {\ntls_servername a\n}", "grpc . 192.0.2.1 {\nfallthrough\n}", "grpc . 192.0.2.1 {\nfallthrough a\n}"},
}

// TestOptionsTell: no option is left out where a Corefile is put in words, so that no change of it goes unseen.
func TestOptionsTell(t *testing.T) {
	files := writeFiles(t)
	for name, all := range variants {
		words := map[string]string{}
		for _, lines := range all {
			written := files.Replace(lines)
			text := explained(t, name, written)
			if other, ok := words[text]; ok {
				t.Errorf("%q and %q are told in the same words: %s", other, lines, text)
			}
			words[text] = lines
		}
	}
	for name, option := range documented(t) {
		for _, word := range option {
			if word != "upstream" && !strings.Contains(strings.Join(variants[name], "\n")+"\n", word) { // which has no effect
				t.Errorf("%s: the documented option %s is not among the variants", name, word)
			}
		}
	}
}

// explained is what is said of a directive alone in a server block.
func explained(t *testing.T, name, lines string) string {
	t.Helper()
	report := run(t, "Corefile", ". {\n"+lines+"\n}\n")
	if len(report.Blocks) != 1 {
		t.Fatalf("%q: %v", lines, report.Findings)
	}
	for _, d := range append(report.Blocks[0].Steps, report.Blocks[0].Beside...) {
		if d.Name == name {
			return strings.Join(texts(d), "; ")
		}
	}
	t.Fatalf("%q: nothing is said", lines)
	return ""
}

func texts(d check.Directive) []string {
	var all []string
	for _, does := range d.Does {
		all = append(all, does.Text)
	}
	return all
}

// writeFiles writes the files that variants name, and puts their paths in.
func writeFiles(t *testing.T) *strings.Replacer {
	t.Helper()
	certificate, key, authority := upstreamtest.NewIdentity(t).Files(t)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	const text = "kind: Config\nclusters: [{name: c, cluster: {server: http://192.0.2.1}}]\n" +
		"contexts: [{name: a, context: {cluster: c}}, {name: b, context: {cluster: c}}]\ncurrent-context: a\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("KUBECONFIG", kubeconfig, "CERT", certificate, "KEY", key, "CA", authority)
}

// documented are the options that docs/corefile.md says are there, by directive: the first words of the rows.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/corefile.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	sections := regexp.MustCompile(`(?ms)^### (\w+)\n(.*?)(?:^###|\z)`)
	text := string(page)
	for {
		match := sections.FindStringSubmatchIndex(text)
		if match == nil {
			break
		}
		name, body := text[match[2]:match[3]], text[match[4]:match[5]]
		for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|[^|]*\\| yes \\|").FindAllStringSubmatch(strings.ReplaceAll(body, `\|`, "/"), -1) {
			for _, word := range regexp.MustCompile("`([a-z][a-z0-9_]+)").FindAllStringSubmatch(row[1], -1) {
				all[name] = append(all[name], word[1])
			}
		}
		text = text[match[5]:]
	}
	if len(all) < 20 {
		t.Fatalf("%d directives in docs/corefile.md", len(all))
	}
	return all
}
