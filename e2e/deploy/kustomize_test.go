package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waypost/waypost/e2e/kubeadm"
)

// folder is one of deploy/.
func (c *town) folder(parts ...string) string {
	return filepath.Join(append([]string{c.peers.Root(), "deploy"}, parts...)...)
}

// kustomizations: the API server takes every kustomization of deploy/, to the last field: each component as its own comment has
// it used, and those together that go together.
func (c *town) kustomizations(t *testing.T) {
	overlays, components := c.found(t, "overlays"), c.found(t, "components")
	folders := append(overlays, c.folder(), c.folder("base"))
	for _, component := range components {
		folders = append(folders, temporary(t, c, usage(t, component)))
	}
	for _, autoscaler := range []string{"hpa", "proportional"} {
		folder := temporary(t, c, fmt.Sprintf(together, "dual-stack", autoscaler))
		if replicas := at(one(t, kustomize(t, folder), "Deployment", "coredns").Object, "spec.replicas"); replicas != nil {
			t.Errorf("%v replicas, though %s is to say how many", replicas, autoscaler)
		}
		folders = append(folders, folder)
	}
	for _, folder := range folders {
		if err := c.objects.apply(t.Context(), waypost, kustomize(t, folder), true); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}
	if _, err := build(temporary(t, c, fmt.Sprintf(together, "hpa", "proportional"))); err == nil || !strings.Contains(err.Error(), "/spec/replicas") {
		t.Errorf("two autoscalers of one Deployment were accepted, or for another reason not: %v", err)
	}
	if err := c.objects.apply(t.Context(), waypost, c.withSysctls(t, elsewhere), true); err != nil {
		t.Errorf("the companion with components/sysctls: %v", err)
	}
	wrong := kustomize(t, c.folder("base"))
	if err := unstructured.SetNestedField(one(t, wrong, "Deployment", "coredns").Object, true, "spec", "replica"); err != nil {
		t.Fatal(err)
	}
	if err := c.objects.apply(t.Context(), waypost, wrong, true); err == nil || !strings.Contains(err.Error(), "spec.replica") {
		t.Errorf("a field that there is not was accepted, or for another reason not: %v", err)
	}
}

// found are the kustomizations in a folder of deploy/.
func (c *town) found(t *testing.T, folder string) (folders []string) {
	t.Helper()
	files, err := filepath.Glob(c.folder(folder, "*", "kustomization.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", folder, err)
	}
	for _, file := range files {
		folders = append(folders, filepath.Dir(file))
	}
	return folders
}

// usage is the kustomization that a component's comment shows, for temporary.
func usage(t *testing.T, component string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(component, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(text), "\napiVersion: ")
	var shown strings.Builder
	for line := range strings.Lines(comment) {
		if line, ok := strings.CutPrefix(line, "#     "); ok {
			shown.WriteString(line)
		}
	}
	if !strings.Contains(shown.String(), "deploy/components/"+filepath.Base(component)+"]") {
		t.Fatalf("the comment of %s does not show how it is used", component)
	}
	return strings.ReplaceAll(shown.String(), "github.com/waypost/waypost/deploy", "%[1]s")
}

// together is a kustomization of four components, of which two are left open.
const together = `
resources: [%%[1]s/base]
components: [%%[1]s/components/%s, %%[1]s/components/%s, %%[1]s/components/lastgood, %%[1]s/components/pods]
`

// TestVersions: what deploy/ installs is what `make image` makes.
func TestVersions(t *testing.T) {
	const root = "../../"
	read := func(path, pattern string) string {
		text, err := os.ReadFile(root + path)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s does not name the version", path)
		}
		return string(m[1])
	}
	want := read("Makefile", `(?m)^VERSION \?= (\S+)$`)
	for path, pattern := range map[string]string{
		"deploy/base/kustomization.yaml":               `newTag: (\S+)`,
		"deploy/replace/kustomization.yaml":            `newTag: (\S+)`,
		"deploy/overlays/companion/kustomization.yaml": `newTag: (\S+)`,
		"deploy/chart/Chart.yaml":                      `(?m)^appVersion: (\S+)$`,
		"deploy/image/Dockerfile":                      `(?m)^ARG VERSION=(\S+)$`,
		"docs/replace-coredns.md":                      "localhost/waypost:([^` ]+)",
		"README.md":                                    `localhost/waypost:(\S+)`,
	} {
		if got := read(path, pattern); got != want {
			t.Errorf("%s has version %s, the Makefile %s", path, got, want)
		}
	}
}

// base: one command, and an empty cluster resolves soon.
func (c *town) base(t *testing.T) {
	begun := time.Now()
	c.objects.mustApply(t, waypost, kustomize(t, c.folder()))
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
	took := time.Since(begun)
	t.Logf("from nothing to an answer of the DNS Service: %v", took.Round(100*time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("it took %v, not 20 seconds", took)
	}
	c.rolledOut(t, "coredns")
	for _, pod := range c.pods(t, "k8s-app=kube-dns") {
		c.confined(t, pod, "waypost", 1<<10)
		c.allowed(t, pod)
	}
}

// verified: `pods verified` needs one right more. Without it the new Pods do not get ready and say why, while the old ones serve
// on; with the component for it they do.
func (c *town) verified(t *testing.T) {
	built := kustomize(t, c.folder())
	verifyPods(t, built, "without the right")
	c.objects.mustApply(t, waypost, built)
	eventually(t, "a Pod that misses its right", func(ctx context.Context) error {
		for _, pod := range c.pods(t, "k8s-app=kube-dns") {
			if text, _ := c.log(ctx, &pod); strings.Contains(text, "forbidden") {
				return nil
			}
		}
		return errors.New("none says so")
	})
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")

	built = kustomize(t, temporary(t, c, `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%[1]s/base]
components: [%[1]s/components/pods, %[1]s/components/multicluster, %[1]s/components/lastgood]
`))
	rules, _, err := unstructured.NestedSlice(one(t, built, "ClusterRole", "system:coredns").Object, "rules")
	if err != nil || len(rules) != 4 {
		t.Fatalf("%d rules, not the base's two and one of each component: %v", len(rules), err)
	}
	verifyPods(t, built, "with the right")
	c.objects.mustApply(t, waypost, built)
	c.rolledOut(t, "coredns")
	pods := c.pods(t, "k8s-app=kube-dns")
	address := pods[0].Status.PodIP
	c.answers(t, address+"\n", strings.ReplaceAll(address, ".", "-")+".kube-system.pod.cluster.local")
	c.answers(t, "", "10-244-1-250.kube-system.pod.cluster.local")
	for _, pod := range pods {
		c.allowed(t, pod)
		kept, err := os.ReadDir(filepath.Join("/proc", c.process(t, pod, "waypost"), "root/var/lib/waypost"))
		if err != nil || len(kept) == 0 {
			t.Errorf("%s keeps no copy of its Corefile: %v", pod.Name, err)
		}
	}
}

// verifyPods asks for `pods verified` in the Corefile. The Pods are to be made anew, for which note has to differ each time: one
// that has the former Corefile may take a minute to see the present one.
func verifyPods(t *testing.T, built []*unstructured.Unstructured, note string) {
	t.Helper()
	corefile := one(t, built, "ConfigMap", "coredns").Object
	text, _, err := unstructured.NestedString(corefile, "data", "Corefile")
	if err == nil {
		err = unstructured.SetNestedField(corefile, strings.Replace(text, "pods insecure", "pods verified", 1), "data", "Corefile")
	}
	if err == nil {
		deployment := one(t, built, "Deployment", "coredns").Object
		err = unstructured.SetNestedField(deployment, note, "spec", "template", "metadata", "annotations", "corefile")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// temporary writes a kustomization, in which %[1]s is the way to deploy/, beside a checkout that it may lead into.
func temporary(t *testing.T, c *town, text string) string {
	t.Helper()
	folder := t.TempDir()
	way, err := filepath.Rel(folder, c.folder())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), fmt.Appendf(nil, text, way), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// companion: with kubeadm's configuration of kube-proxy, as nobody, with one capability, it makes ClusterIPs lead to Pods. Before,
// what kube-proxy has left goes.
func (c *town) companion(t *testing.T) {
	node := c.Nodes[0]
	if _, err := node.Run(t.Context(), "nft", "add", "table", "ip", "kube-proxy"); err != nil {
		t.Fatal(err)
	}
	c.cleanUp(t, "kube-proxy")
	c.tables(t)
	c.objects.mustApply(t, vendor, parse(t, []byte(kubeadm.KubeProxyConfig)))
	c.objects.mustApply(t, waypost, kustomize(t, c.folder("overlays", "companion")))
	eventually(t, "the companion", func(ctx context.Context) error { return c.daemonSetReady(ctx, "waypost-proxy") })
	for _, pod := range c.pods(t, "k8s-app=waypost-proxy") {
		c.confined(t, pod, "waypost-proxy", 1<<12)
		c.allowed(t, pod)
	}
}
