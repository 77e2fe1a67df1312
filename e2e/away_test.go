package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/lab"
)

// TestAPIServerAway stops the API server that the DNS servers use, changes the cluster through the other one, forgets the
// history of what changed, and starts the API server again: the watches die, their resource versions are gone (410), and
// nothing may be lost.
func TestAPIServerAway(t *testing.T) {
	c := newChanging(t, ownKubeconfig)
	c.apply(t, shop+"\n---\n"+cart)
	c.see(t, patience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"})
	for round := range 2 {
		t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) {
			c.theirs.Stop()
			c.wait(t, patience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"}) // what was known is served on
			c.delete(t, cart)
			c.apply(t, cartRenamed)
			c.setReady(t, "prod", "db-0", "False")
			if err := c.control.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.theirs.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.see(t, longPatience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"},
				probe{"basket.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"}, probe{"db.prod.svc.cluster.local.", dns.TypeA, "10.244.2.40"})
			c.delete(t, cartRenamed)
			c.apply(t, cart)
			c.setReady(t, "prod", "db-0", "True")
			c.see(t, patience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"}, probe{"db.prod.svc.cluster.local.", dns.TypeA, "10.244.1.40 10.244.2.40"})
		})
	}
}

// TestTokenReplaced makes the token that the servers started with worthless. They must find the new one, in the file that
// their kubeconfig names.
func TestTokenReplaced(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	const first, second = "first-token", "second-token"
	c := newChanging(t, func(a *lab.APIServer) string {
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		writeToken(t, tokenFile, first)
		a.SetToken(first, "dns")
		a.Stop()
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.WriteKubeconfig(kubeconfig, "tokenFile: "+tokenFile); err != nil {
			t.Fatal(err)
		}
		return kubeconfig
	})
	writeToken(t, tokenFile, second)
	c.theirs.SetToken(first, "")
	c.theirs.SetToken(second, "dns")
	c.theirs.Stop()
	c.apply(t, shop+"\n---\n"+cart)
	if err := c.theirs.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.see(t, longPatience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"})
}

func writeToken(t *testing.T, path, token string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
}
