package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/e2e/kubeadm"
)

// The images of CoreDNS in the vendors' Deployments, in full.
const (
	kubeadmImage = "registry.k8s.io/coredns/coredns:v1.14.2"
	k3sImage     = "docker.io/rancher/mirrored-coredns-coredns:1.11.3"
	eksImage     = "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/coredns:v1.14.3-eksbuild.3"
)

// replace: where kubeadm, k3s or EKS runs CoreDNS, Waypost starts with another image and nothing else changed.
func (c *town) replace(t *testing.T) {
	t.Run("kubeadm", func(t *testing.T) { c.replaceIn(t, c.kubeadm(t), c.setImage) })
	t.Run("kubeadm, deploy/replace", func(t *testing.T) { c.replaceIn(t, c.kubeadm(t), c.applyReplacement) })
	for _, name := range []string{"k3s", "eks"} {
		text, err := os.ReadFile("testdata/vendors/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { c.replaceIn(t, parse(t, text), c.setImage) })
	}
}

// replaceIn installs a vendor's CoreDNS in place of whatever Deployment there is, and then puts Waypost in its place.
func (c *town) replaceIn(t *testing.T, manifests []*unstructured.Unstructured, swap func(t *testing.T)) {
	c.removeServer(t)
	c.objects.mustApply(t, vendor, manifests)
	c.rolledOut(t, "coredns")
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
	for _, pod := range c.pods(t, "k8s-app=kube-dns") {
		c.process(t, pod, "coredns")
	}
	before := c.template(t)
	swap(t)
	after := c.template(t)
	vendors := containerImage(one(t, manifests, "Deployment", "coredns"))
	want := strings.Replace(before, fmt.Sprintf("image: %s\n", vendors), "image: "+c.image(t)+"\n", 1)
	if want == before {
		t.Fatalf("the vendor's Deployment has no image %s:\n%s", vendors, before)
	}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("more than the image was changed (-want +got):\n%s", diff)
	}
	c.rolledOut(t, "coredns")
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
	c.answers(t, "10.96.0.1\n", "+tcp", "kubernetes.default.svc.cluster.local")
	for _, pod := range c.pods(t, "k8s-app=kube-dns") {
		c.process(t, pod, "waypost")
		c.allowed(t, pod)
	}
}

// removeServer deletes the Deployment and waits until its Pods are gone.
func (c *town) removeServer(t *testing.T) {
	t.Helper()
	foreground := metav1.DeletePropagationForeground
	deployments := c.Client.AppsV1().Deployments(system)
	err := deployments.Delete(t.Context(), "coredns", metav1.DeleteOptions{PropagationPolicy: &foreground})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment to go", func(ctx context.Context) error {
		_, err := deployments.Get(ctx, "coredns", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("it is there: %v", err), c.troubles(ctx))
	})
}

// setImage is `kubectl -n kube-system set image deployment/coredns coredns=IMAGE`.
func (c *town) setImage(t *testing.T) {
	t.Helper()
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "coredns", "image": c.image(t)}},
	}}}}
	text, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Client.AppsV1().Deployments(system).Patch(t.Context(), "coredns", types.StrategicMergePatchType, text, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// applyReplacement is `kubectl apply --server-side --force-conflicts --field-manager=waypost -k deploy/replace`.
func (c *town) applyReplacement(t *testing.T) {
	t.Helper()
	c.objects.mustApply(t, waypost, kustomize(t, c.folder("replace")))
}

// image is the image that deploy/ installs.
func (c *town) image(t *testing.T) string {
	t.Helper()
	return containerImage(one(t, kustomize(t, c.folder("replace")), "Deployment", "coredns"))
}

// containerImage is the image of the first container of what has a Pod's template.
func containerImage(u *unstructured.Unstructured) string {
	containers, _ := at(u.Object, "spec.template.spec.containers").([]any)
	first, _ := containers[0].(map[string]any)
	image, _ := first["image"].(string)
	return image
}

// template is the Deployment's specification as the API server has it.
func (c *town) template(t *testing.T) string {
	t.Helper()
	d, err := c.Client.AppsV1().Deployments(system).Get(t.Context(), "coredns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(d.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// kubeadm returns the manifests of CoreDNS, filled in as `kubeadm init` does.
func (c *town) kubeadm(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	manifests, err := kubeadm.CoreDNS(t.Context(), c.peers, kubeadmImage)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, []byte(strings.Join(manifests, "\n---\n")))
}
