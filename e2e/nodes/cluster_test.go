package nodes

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/e2e/kubeadm"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// long asks for the figures, which take longer than the tests of every day may.
var long = flag.Bool("long", false, "20 rolling restarts, 1,000,000 queries and 5 minutes without an API server")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(lab.Run(m.Run, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "containerd", "runc",
		"/usr/lib/cni/bridge", "nsenter", "kubectl", "dig", "dnsperf", "gcc", "musl-gcc", "coredns", "visitor", peers.Images, peers.Kubeadm))
}

// patience is how long anything may take that has no bar of its own.
const patience = 2 * time.Minute

// town is the cluster that the tests share, from the beginning of TestNodes to its end.
type town struct {
	*lab.Cluster
	peers *peers.Peers
}

// startTown starts the cluster with Services routed, and without DNS.
func startTown(t *testing.T) *town {
	t.Helper()
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	images, err := archives(p)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := lab.StartCluster(t.Context(), p, 2, images...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	c := &town{cluster, p}
	t.Logf("two nodes are ready after %v", time.Since(begun).Round(100*time.Millisecond))
	c.startUpstream(t)
	c.startCompanion(t)
	return c
}

// startUpstream starts the world's DNS, that the nodes' resolv.conf leads to.
func (c *town) startUpstream(t *testing.T) {
	t.Helper()
	upstream, err := lab.StartDNS(t.Context(), lab.DNSOptions{
		Name: "upstream", Program: c.peers.Path("coredns"), Port: 53, Probe: "www.example.org.",
		Corefile: ".:53 {\n hosts {\n  192.0.2.80 www.example.org\n }\n}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Stop)
}

// startCompanion runs waypost-proxy on each node, as deploy/ has it, with the configuration that kubeadm keeps for kube-proxy.
func (c *town) startCompanion(t *testing.T) {
	t.Helper()
	c.apply(t, kubeadm.KubeProxyConfig)
	c.kubectl(t, "apply", "-k", filepath.Join(c.peers.Root(), "deploy/overlays/companion"))
	c.kubectl(t, "-n", "kube-system", "rollout", "status", "daemonset/waypost-proxy", "--timeout", patience.String())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the companions say:\n%s", c.kubectlEnd("-n", "kube-system", "logs", "-l", "k8s-app=waypost-proxy", "--tail=50", "--prefix"))
			t.Logf("the DNS servers say:\n%s", c.kubectlEnd("-n", "kube-system", "logs", "-l", "k8s-app=kube-dns", "--tail=20", "--prefix"))
			t.Logf("Pods are:\n%s", c.kubectlEnd("get", "pods", "--all-namespaces", "-o", "wide"))
			t.Logf("it happened:\n%s", c.kubectlEnd("-n", "kube-system", "get", "events", "--sort-by=.lastTimestamp"))
		}
	})
}

// kubectlEnd runs kubectl where the test is over, and what it prints is all that matters.
func (c *town) kubectlEnd(args ...string) string {
	out, err := exec.Command("kubectl", append([]string{"--kubeconfig", c.Kubeconfig}, args...)...).CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return string(out)
}

// kubectl runs it and returns what it printed.
func (c *town) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return c.kubectlInput(t, "", args...)
}

func (c *town) kubectlInput(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	var out, messages bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), messages.String())
	}
	return out.String()
}

// apply writes objects.
func (c *town) apply(t *testing.T, manifests string) {
	t.Helper()
	c.kubectlInput(t, manifests, "apply", "-f", "-")
}

// eventually returns once try does not fail any more.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	eventuallyWithin(t, patience, what, try)
}

func eventuallyWithin(t *testing.T, patience time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
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

// awaitPod returns a Pod once it is ready.
func (c *town) awaitPod(t *testing.T, namespace, name string) *core.Pod {
	t.Helper()
	var pod *core.Pod
	eventually(t, "Pod "+name, func() (err error) {
		pod, err = c.Client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !ready(pod) {
			err = fmt.Errorf("it is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return err
	})
	return pod
}

func ready(pod *core.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodReady {
			return c.Status == core.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// rolledOut returns once a Deployment's Pods are what it asks for, and no others.
func (c *town) rolledOut(t *testing.T, namespace, name string) {
	t.Helper()
	c.kubectl(t, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout", patience.String())
}

// exec runs a program in a Pod and returns what it printed.
func (c *town) exec(t *testing.T, pod string, command ...string) string {
	t.Helper()
	return c.kubectl(t, append([]string{"exec", pod, "--"}, command...)...)
}

// countPods fails unless there are n Pods with a label, whatever they do.
func (c *town) countPods(t *testing.T, namespace, selector string, n int) error {
	list, err := c.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err
	}
	if len(list.Items) != n {
		return fmt.Errorf("there are %d Pods", len(list.Items))
	}
	return nil
}
