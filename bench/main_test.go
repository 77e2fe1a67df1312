// Package bench measures Waypost beside CoreDNS, Unbound and kube-proxy on one real API server and prints the figures. `make
// bench` runs it alone; absolute figures drift with the machine, so that what counts are the ratios of one run.
package bench

import (
	"os"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Run(m.Run, "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "coredns", "waypost", "waypost-proxy",
		"dnsperf", "knotd", "nft", "unbound"))
}

// startControlPlane starts a control plane that ends with the test.
func startControlPlane(t *testing.T) (*peers.Peers, *lab.ControlPlane) {
	t.Helper()
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	control, err := lab.StartControlPlane(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(control.Stop)
	return p, control
}
