package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/e2e/kubeadm"
)

// sysctls: the component has the node's sysctls set before the companion starts, which lacks the right itself. How many flows
// there may be is the machine's to say and no namespace's, so the configuration leaves that.
func (c *town) sysctls(t *testing.T) {
	const plain, set = "maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null",
		"maxPerCore: 0, min: 0, tcpBeLiberal: false, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 2h0m0s"
	if !strings.Contains(kubeadm.KubeProxyConfig, plain) {
		t.Fatalf("kubeadm's configuration has no %q", plain)
	}
	const file = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
	if before, err := c.Nodes[0].Run(t.Context(), "cat", file); err != nil || before == "7200\n" {
		t.Fatalf("%s is %q before: %v", file, before, err)
	}
	c.objects.mustApply(t, vendor, parse(t, []byte(strings.Replace(kubeadm.KubeProxyConfig, plain, set, 1))))
	c.objects.mustApply(t, waypost, c.withSysctls(t, ""))
	eventually(t, "the sysctl", func(ctx context.Context) error {
		got, err := c.Nodes[0].Run(ctx, "cat", file)
		if err == nil && got != "7200\n" {
			err = errors.Join(fmt.Errorf("%s is %q", file, got), c.troubles(ctx))
		}
		return err
	})
	eventually(t, "the companion", func(ctx context.Context) error { return c.daemonSetReady(ctx, "waypost-proxy") })
	for _, pod := range c.pods(t, "k8s-app=waypost-proxy") {
		c.confined(t, pod, "waypost-proxy", 1<<12)
		text, err := c.log(t.Context(), &pod)
		if err != nil || strings.Contains(text, "not all of conntrack's settings") {
			t.Errorf("%s is left with something to set: %v\n%s", pod.Name, err, text)
		}
	}
}

// elsewhere has images come from a registry.
const elsewhere = "images: [{name: localhost/waypost-proxy, newName: registry.example.com/dns/waypost-proxy}]"

// withSysctls is the companion with the component that sets sysctls before it starts: by root, with the companion's image,
// wherever that comes from.
func (c *town) withSysctls(t *testing.T, images string) []*unstructured.Unstructured {
	t.Helper()
	built := kustomize(t, temporary(t, c, `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%[1]s/overlays/companion]
components: [%[1]s/components/sysctls]
`+images))
	daemonSet := one(t, built, "DaemonSet", "waypost-proxy")
	text, err := yaml.Marshal(at(daemonSet.Object, "spec.template.spec.initContainers"))
	if err != nil {
		t.Fatal(err)
	}
	image := containerImage(daemonSet)
	want := fmt.Sprintf(`- args:
  - --config=/var/lib/kube-proxy/config.conf
  - --init-only
  image: %s
  imagePullPolicy: IfNotPresent
  name: sysctls
  securityContext:
    privileged: true
    runAsGroup: 0
    runAsNonRoot: false
    runAsUser: 0
  volumeMounts:
  - mountPath: /var/lib/kube-proxy
    name: config
    readOnly: true
`, image)
	if string(text) != want {
		t.Errorf("the containers before the companion are\n%snot\n%s", text, want)
	}
	if images == elsewhere && !strings.HasPrefix(image, "registry.example.com/dns/waypost-proxy:") {
		t.Errorf("the companion's image is %s", image)
	}
	return built
}
