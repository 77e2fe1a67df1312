package plugin_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/upstream/upstreamtest"
)

// outside is an ExternalName Service whose target is not in the cluster.
const outside = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Service, metadata: {name: out, namespace: prod}, spec: {type: ExternalName, externalName: www.example.com}}
`

// TestAliasToNowhere: an alias whose target nobody here answers stands alone with NOERROR, however often it is asked for.
// What an upstream fails at is a failure, and that is kept.
func TestAliasToNowhere(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "outside.yaml"), outside)
	cluster := "\nkubernetes cluster.local {\nmanifests " + folder + "\n}\n"
	broken := upstreamtest.Start(t, upstreamtest.Rcode(dns.RcodeServerFailure)).Addr.String()
	for _, tt := range []struct{ name, lines, want string }{
		{"no cache", cluster, "NOERROR"},
		{"cache", "cache 30" + cluster, "NOERROR"},
		{"stale replies too", "cache 30 {\nserve_stale\n}" + cluster, "NOERROR"},
		{"failures kept for long", "cache 30 {\nservfail 5m\n}" + cluster, "NOERROR"},
		{"another zone is forwarded", "cache 30" + cluster + "forward example.org " + broken, "NOERROR"},
		{"behind rewrite", "cache 30\nrewrite name www.example.com www.example.net" + cluster, "NOERROR"},
		{"the target is forwarded", "cache 30" + cluster + "forward . " + broken, "SERVFAIL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := hosted(t, tt.lines)
			for i := range 3 {
				reply := ask(t, s, "udp", "out.prod.svc.cluster.local.", dns.TypeA)
				got := fmt.Sprint(dns.RcodeToString[reply.Rcode], reply.Answer)
				want := tt.want + "[out.prod.svc.cluster.local. 5 IN CNAME www.example.com.]"
				if got = strings.ReplaceAll(got, "\t", " "); got != want {
					t.Errorf("time %d: %s, want %s", i+1, got, want)
				}
			}
		})
	}
}

// TestManyAliases: of a Service whose endpoints are names each is an alias with what it has, as far as the server asks itself.
// Where it asks no further, that is said once.
func TestManyAliases(t *testing.T) {
	const said = "[ERROR] plugin/errors: 2 target100.example.com. A: server: a query needs too many further questions: " +
		"the answer lacks what the rest of them would give\n"
	for _, tt := range []struct {
		endpoints, addresses int
		said                 string
	}{{1, 1, ""}, {40, 40, ""}, {100, 100, ""}, {120, 100, said}} {
		folder := t.TempDir()
		var slice, hosts strings.Builder
		slice.WriteString(`
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Service, metadata: {name: many, namespace: prod}, spec: {clusterIP: None}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many, namespace: prod, labels: {kubernetes.io/service-name: many}}
addressType: FQDN
endpoints:
`)
		for i := range tt.endpoints {
			fmt.Fprintf(&slice, "- {addresses: [target%03d.example.com]}\n", i)
			fmt.Fprintf(&hosts, "192.0.2.%d target%03d.example.com\n", i, i)
		}
		write(t, filepath.Join(folder, "many.yaml"), slice.String())
		setup, out, err := compile(t, ".:0 {\nbind 127.0.0.1\nerrors\nhosts {\n"+hosts.String()+"fallthrough\n}\n"+
			"kubernetes cluster.local {\nmanifests "+folder+"\n}\n}")
		if err != nil {
			t.Fatal(err)
		}
		reply := ask(t, served(t, setup)[0], "tcp", "many.prod.svc.cluster.local.", dns.TypeA)
		found := map[uint16]int{}
		for _, rr := range reply.Answer {
			found[rr.Header().Rrtype]++
		}
		if found[dns.TypeCNAME] != tt.endpoints || found[dns.TypeA] != tt.addresses || reply.Rcode != dns.RcodeSuccess {
			t.Errorf("%d endpoints: %s, %d aliases, %d addresses, want %d", tt.endpoints, dns.RcodeToString[reply.Rcode],
				found[dns.TypeCNAME], found[dns.TypeA], tt.addresses)
		}
		_, got, _ := strings.Cut(out.text(), "(Corefile:1)\n") // a warning that there is no last resort
		if got != tt.said {
			t.Errorf("%d endpoints: said %q, want %q", tt.endpoints, got, tt.said)
		}
	}
}
