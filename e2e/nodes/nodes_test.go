package nodes

import (
	"strings"
	"testing"
	"time"
)

// TestNodes is one story told of one cluster: each part takes it up where the one before has left it.
func TestNodes(t *testing.T) {
	c := startTown(t)
	manifests, err := kubeadmManifests(t.Context(), c.peers, corednsImage)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	c.apply(t, manifests)
	c.apply(t, client)
	c.awaitRollout(t)
	t.Logf("CoreDNS is there after %v", time.Since(begun).Round(100*time.Millisecond))
	c.awaitPod(t, "default", "client")
	if got := c.exec(t, "client", "dig", "+short", "kubernetes.default.svc.cluster.local"); got != "10.96.0.1\n" {
		t.Errorf("dig +short kubernetes.default.svc.cluster.local in a Pod:\n%s", got)
	}
	if got := c.exec(t, "client", "cat", "/etc/resolv.conf"); !strings.Contains(got, "nameserver 10.96.0.10\n") {
		t.Errorf("a Pod's resolv.conf:\n%s", got)
	}
	t.Run("swap", func(t *testing.T) { c.swap(t, waypostImage, 3, 1000) })
}

const client = `
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: tools, image: "` + toolsImage + `", imagePullPolicy: Never}]
`
