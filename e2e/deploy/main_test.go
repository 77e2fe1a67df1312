package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Run(m.Run, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "containerd", "runc",
		"/usr/lib/cni/bridge", "nsenter", "dig", "nft", "prometheus", "coredns", "kube-proxy", "visitor", peers.Images, peers.Kubeadm))
}

// TestDeploy is one story told of one cluster of a single node: each part takes it up where the one before has left it.
func TestDeploy(t *testing.T) {
	c := startTown(t)
	t.Run("every kustomization is accepted", c.kustomizations)
	t.Run("the chart is accepted", c.chart)
	t.Run("the companion routes", c.companion)
	t.Run("sysctls are set for the companion", c.sysctls)
	t.Run("an empty cluster resolves", c.base)
	t.Run("what the dashboard and the alerts ask for is there", c.metrics)
	t.Run("rights for pods verified", c.verified)
	t.Run("one line in CoreDNS's Deployments", c.replace)
	t.Run("the chart beside another DNS server", c.beside)
	t.Run("one line in kube-proxy's DaemonSet", c.replaceProxy)
}

// town is the cluster.
type town struct {
	*lab.Cluster
	peers   *peers.Peers
	objects *objects
}

func startTown(t *testing.T) *town {
	t.Helper()
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	others, err := writeImages(p)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := lab.StartCluster(t.Context(), p, 1, others, p.Image("waypost"), p.Image("waypost-proxy"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	o, err := newObjects(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	return &town{cluster, p, o}
}

// writeImages makes the images that are not ours: what keeps Pods' namespaces, kube-proxy, and CoreDNS under the names that vendors
// give it. They are of one CoreDNS, the peer of all tests.
func writeImages(p *peers.Peers) (archive string, err error) {
	images := []lab.Image{{Name: lab.PauseImage, Files: map[string]string{"visitor": p.Path("visitor")}, Entrypoint: []string{"/visitor", "pause"}}}
	for _, name := range []string{kubeadmImage, k3sImage, eksImage} {
		image := lab.Image{Name: name, Files: map[string]string{}, Entrypoint: []string{"/coredns"}}
		if err := image.Add("coredns", p.Path("coredns")); err != nil {
			return "", err
		}
		images = append(images, image)
	}
	proxy, err := kubeProxy(p)
	if err != nil {
		return "", err
	}
	images = append(images, proxy)
	archive = filepath.Join(lab.Folder(), "images.tar")
	return archive, lab.WriteImages(archive, images...)
}

// patience is how long anything may take that has no bar of its own.
const patience = 2 * time.Minute

// eventually returns once try does not fail any more.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		case <-ticker.C:
		}
	}
}

// dig asks the cluster's DNS Service from the node and returns what `dig +short` prints.
func (c *town) dig(ctx context.Context, question ...string) (string, error) {
	return c.Nodes[0].Run(ctx, "dig", append([]string{"@" + lab.DNSAddress, "+short", "+time=1", "+tries=1"}, question...)...)
}

// answers waits until the DNS Service gives an answer.
func (c *town) answers(t *testing.T, want string, question ...string) {
	t.Helper()
	eventually(t, strings.Join(question, " "), func(ctx context.Context) error {
		got, err := c.dig(ctx, question...)
		if err == nil && got != want {
			err = fmt.Errorf("got %q, not %q", got, want)
		}
		return err
	})
}
