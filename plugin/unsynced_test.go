package plugin_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// TestBeforeTheFirstSync: while nothing is known of the cluster, a name in its zones is SERVFAIL, as nobody's word, and
// fallthrough does not hand it to a server that would say that it does not exist. Names outside are answered.
func TestBeforeTheFirstSync(t *testing.T) {
	origin := upstreamtest.Start(t, upstreamtest.Rcode(dns.RcodeNameError))
	free := plugin.FreeAddresses(t, 2)
	ready, nobody := free[0], free[1]
	e, out := plugintest.Env(t, "", journal.Text)
	c, err := plugin.NewCompiler(plugin.Options{Journal: e.Journal})
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Parse("Corefile", []byte(`.:0 {
    bind 127.0.0.1
    ready `+ready+`
    cache
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        endpoint http://`+nobody+`
        startup_timeout 50ms
        pods insecure
        fallthrough
    }
    forward . `+origin.Addr.String()+patient+`
}`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	setup, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]

	if line, printed := "[WARNING] plugin/kubernetes: starting server with unsynced Kubernetes API\n", out.Take(); strings.Count(printed, line) != 1 {
		t.Errorf("printed:\n%swant:\n%s", printed, line)
	}
	if got := fetch(t, "http://"+ready+"/ready"); got != "503 kubernetes" {
		t.Errorf("/ready says %s", got)
	}
	for _, tt := range []struct {
		name  string
		types []uint16
	}{
		{"kubernetes.default.svc.cluster.local.", []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT}},
		{"_https._tcp.kubernetes.default.svc.cluster.local.", []uint16{dns.TypeSRV}},
		{"web-0.myapp.default.svc.cluster.local.", []uint16{dns.TypeA}},
		{"www.example.org.default.svc.cluster.local.", []uint16{dns.TypeA}},
		{"10-244-1-7.default.pod.cluster.local.", []uint16{dns.TypeA}},
		{"nosuch.cluster.local.", []uint16{dns.TypeA, dns.TypeMX}},
		{"1.0.96.10.in-addr.arpa.", []uint16{dns.TypePTR, dns.TypeA}},
		{"96.10.in-addr.arpa.", []uint16{dns.TypePTR, dns.TypeSOA}},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", []uint16{dns.TypePTR}},
	} {
		for _, qtype := range tt.types {
			for _, network := range []string{"udp", "tcp"} {
				m := ask(t, s, network, tt.name, qtype)
				if m.Rcode != dns.RcodeServerFailure || m.Authoritative || len(m.Answer)+len(m.Ns) > 0 {
					t.Errorf("%s %s: %v", tt.name, dns.Type(qtype), m)
				}
			}
		}
	}
	if n := origin.Requests.Count(); n != 0 {
		t.Errorf("%d questions came to the upstream", n)
	}
	if m := ask(t, s, "udp", "www.example.org.", dns.TypeA); m.Rcode != dns.RcodeNameError || origin.Requests.Count() != 1 {
		t.Errorf("the upstream was asked %d times: %v", origin.Requests.Count(), m)
	}
}
