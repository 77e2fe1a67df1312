// Package e2e holds Waypost against CoreDNS on a real Kubernetes API server. Everything runs in namespaces that end with
// the test, see package lab.
package e2e

import (
	"os"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Run(m.Run, "etcd", "kube-apiserver", "kube-controller-manager", "coredns", "waypost", "knotd", "unbound"))
}

// startControlPlane starts a control plane that ends with the test.
func startControlPlane(t *testing.T) (*lab.ControlPlane, *peers.Peers) {
	t.Helper()
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	c, err := lab.StartControlPlane(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c, p
}

// The ports of the two servers under test. Their health, ready and metrics endpoints lie above, see lab.LaunchDNS.
const (
	corednsPort = 10053
	waypostPort = 10054
)

// servers are CoreDNS and Waypost with one Corefile at one API server.
type servers struct{ coredns, waypost *lab.DNS }

// startServers starts both and waits until each answers for probe. They end with the test.
func startServers(t *testing.T, p *peers.Peers, corefile, kubeconfig, probe string) servers {
	t.Helper()
	start := func(name string, port uint16) *lab.DNS {
		d, err := lab.StartDNS(t.Context(), lab.DNSOptions{
			Name: name, Program: p.Path(name), Corefile: corefile, Kubeconfig: kubeconfig, Port: port, Probe: probe,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Stop)
		return d
	}
	return servers{coredns: start("coredns", corednsPort), waypost: start("waypost", waypostPort)}
}
