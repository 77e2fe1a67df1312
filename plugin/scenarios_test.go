package plugin_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/testdata/scenario"
)

// kubernetesService is in every real cluster, and so the zone has changed at least once.
const kubernetesService = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 10.96.0.1}}\n"

// TestScenarios asks Waypost the questions of the scenarios, its cluster being a folder of the scenario's objects. The
// end-to-end tests ask the same of it and of CoreDNS over a real API server.
func TestScenarios(t *testing.T) {
	scenarios, err := scenario.ReadDir("../testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "objects.yaml"), []byte(s.Objects+kubernetesService), 0o600); err != nil {
				t.Fatal(err)
			}
			setup, _, err := compile(t, s.Corefile("manifests "+folder))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range setup.Listeners {
				l.Server.Addr = "127.0.0.1:0"
			}
			server := served(t, setup)[0].Addr().String()
			for _, q := range s.Questions {
				client := &dns.Client{UDPSize: dns.MaxMsgSize, Timeout: 20 * time.Second}
				if q.TCP {
					client.Net = "tcp"
				}
				got, _, err := client.Exchange(q.Message, server)
				if err != nil {
					t.Fatalf("line %d: %s: %v", q.Line, q.Command, err)
				}
				if diff := q.Waypost.Diff(got); diff != "" {
					t.Errorf("line %d: %s: %s", q.Line, q.Command, diff)
				}
			}
		})
	}
}
