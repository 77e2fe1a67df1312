package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
)

// BenchmarkTake reads the dump of a cluster with 1,000 Services of 10 endpoints each.
func BenchmarkTake(b *testing.B) {
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, `- apiVersion: v1
  kind: Service
  metadata:
    name: s%d
    namespace: n%d
  spec:
    clusterIP: 10.%d.%d.1
    ports:
    - name: http
      port: 80
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata:
    name: s%[1]d-1
    namespace: n%[2]d
    labels:
      kubernetes.io/service-name: s%[1]d
  addressType: IPv4
  ports:
  - name: http
    port: 8080
  endpoints:
`, i, i%50, i>>8, i&255)
		for e := range 10 {
			fmt.Fprintf(&text, "  - addresses:\n    - 10.200.%d.%d\n    conditions:\n      ready: true\n", e, i%255)
		}
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		found := newObjects()
		if err := found.decode("dump.yaml", []byte(text.String())); err != nil {
			b.Fatal(err)
		}
		s, err := FromPath("dump.yaml", cluster.Needs{}, newLog(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if next := found.build(s.needs, s.selectors, &s.state); len(s.state.replace(next)) != 2050 {
			b.Fatal("not all objects were read")
		}
	}
}
