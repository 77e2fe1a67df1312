package deploy

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waypost/waypost/e2e/kubeadm"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// kubeProxyImage is what kubeadm's DaemonSet names.
const kubeProxyImage = "registry.k8s.io/kube-proxy:v1.36.3"

// kubeProxy makes an image of it, with what its mode nftables runs.
func kubeProxy(p *peers.Peers) (lab.Image, error) {
	image := lab.Image{Name: kubeProxyImage, Files: map[string]string{"usr/local/bin/kube-proxy": p.Path("kube-proxy")}}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return image, err
	}
	return image, image.Add("usr/sbin/nft", nft)
}

// replaceProxy: where kubeadm runs kube-proxy, waypost-proxy takes its place with another image and nothing else changed, and
// goes again with the former one.
func (c *town) replaceProxy(t *testing.T) {
	c.removeCompanion(t)
	c.cleanUp(t, "own")
	c.tables(t)
	manifests, err := kubeadm.KubeProxy(t.Context(), c.peers, kubeProxyImage)
	if err != nil {
		t.Fatal(err)
	}
	// The mode that needs the fewest programs, and no sysctls, which nobody may set on this node.
	config := strings.NewReplacer(`mode: ""`, "mode: nftables", "maxPerCore: null, min: null", "maxPerCore: 0, min: 0",
		"tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null", "tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s").Replace(kubeadm.KubeProxyConfig)
	c.objects.mustApply(t, vendor, parse(t, []byte(config+"---\n"+strings.Join(manifests, "\n---\n"))))
	c.routing(t, "kube-proxy")
	c.tables(t, "kube-proxy")

	own := containerImage(one(t, kustomize(t, c.folder("overlays", "companion")), "DaemonSet", "waypost-proxy"))
	c.setProxyImage(t, own)
	for _, pod := range c.routing(t, "waypost-proxy") {
		c.allowed(t, pod)
		eventually(t, "what kube-proxy has left behind to go", func(ctx context.Context) error {
			text, err := c.log(ctx, &pod)
			if err == nil && !strings.Contains(text, "is taken away: table ip kube-proxy, table ip6 kube-proxy") {
				err = fmt.Errorf("the log is\n%s", text)
			}
			return err
		})
	}
	c.tables(t, "waypost")

	c.setProxyImage(t, kubeProxyImage)
	c.routing(t, "kube-proxy")
	c.tables(t, "kube-proxy", "waypost")
	c.cleanUp(t, "own")
	c.tables(t, "kube-proxy")
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
}

func (c *town) removeCompanion(t *testing.T) {
	t.Helper()
	foreground := metav1.DeletePropagationForeground
	daemonSets := c.Client.AppsV1().DaemonSets(system)
	if err := daemonSets.Delete(t.Context(), "waypost-proxy", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the companion to go", func(ctx context.Context) error {
		if _, err := daemonSets.Get(ctx, "waypost-proxy", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}

// setProxyImage is `kubectl -n kube-system set image daemonset/kube-proxy kube-proxy=IMAGE`.
func (c *town) setProxyImage(t *testing.T, image string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec": {"template": {"spec": {"containers": [{"name": "kube-proxy", "image": %q}]}}}}`, image)
	_, err := c.Client.AppsV1().DaemonSets(system).Patch(t.Context(), "kube-proxy", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// routing returns the Pods of kubeadm's DaemonSet once they run a program and the cluster's names resolve through their routes.
func (c *town) routing(t *testing.T, program string) []core.Pod {
	t.Helper()
	eventually(t, "kubeadm's DaemonSet with "+program, func(ctx context.Context) error { return c.daemonSetReady(ctx, "kube-proxy") })
	pods := c.pods(t, "k8s-app=kube-proxy")
	for _, pod := range pods {
		c.process(t, pod, "kube-proxy") // which both images call it
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, pod := range pods {
			text, _ := c.log(context.WithoutCancel(t.Context()), &pod)
			t.Logf("%s says\n%s", pod.Name, text)
		}
	})
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
	return pods
}

// tables waits until the node has the nftables of some programs, and of no other one.
func (c *town) tables(t *testing.T, programs ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the tables of %v", programs), func(ctx context.Context) error {
		text, err := c.Nodes[0].Run(ctx, "nft", "list", "tables")
		if err != nil {
			return err
		}
		for _, program := range []string{"kube-proxy", "waypost"} {
			if strings.Contains(text, "table ip "+program+"\n") != slices.Contains(programs, program) {
				return fmt.Errorf("there are\n%s", text)
			}
		}
		return nil
	})
}

// cleanUp runs the Pod that `kubectl debug node/NAME --profile=netadmin --custom=FILE -- /waypost-proxy cleanup WHOSE` makes, by
// root as docs/replace-coredns.md has it in FILE.
func (c *town) cleanUp(t *testing.T, whose string) {
	t.Helper()
	daemonSet := one(t, kustomize(t, c.folder("overlays", "companion")), "DaemonSet", "waypost-proxy")
	c.objects.mustApply(t, waypost, parse(t, fmt.Appendf(nil, cleanupPod, whose, c.Nodes[0].Name, containerImage(daemonSet), whose)))
	eventually(t, "the cleanup", func(ctx context.Context) error {
		pod, err := c.Client.CoreV1().Pods(system).Get(ctx, "cleanup-"+whose, metav1.GetOptions{})
		if err == nil && pod.Status.Phase != core.PodSucceeded {
			text, _ := c.log(ctx, pod)
			err = fmt.Errorf("the Pod's status is %+v\n%s", pod.Status, text)
		}
		return err
	})
	if err := c.Client.CoreV1().Pods(system).Delete(t.Context(), "cleanup-"+whose, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
}

const cleanupPod = `
apiVersion: v1
kind: Pod
metadata: {name: cleanup-%s, namespace: kube-system}
spec:
  nodeName: %s
  hostNetwork: true
  hostPID: true
  restartPolicy: Never
  containers:
  - name: debugger
    image: %s
    command: [/waypost-proxy, cleanup, %s]
    securityContext: {runAsUser: 0, capabilities: {add: [NET_ADMIN, NET_RAW]}}
`
