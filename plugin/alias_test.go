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
