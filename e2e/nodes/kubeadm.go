package nodes

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"text/template"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// kubeadmOptions are what kubeadm fills its DNS manifests in with.
type kubeadmOptions struct {
	DeploymentName, Image, ControlPlaneTaintKey, DNSDomain, DNSIP string
	Replicas                                                      int
}

// kubeadmManifests returns kubeadm's manifests for CoreDNS, out of the sources of the Kubernetes that the tests run, filled
// in as `kubeadm init` does.
func kubeadmManifests(ctx context.Context, p *peers.Peers, image string) (string, error) {
	file, err := p.KubeadmAddon(ctx, "dns")
	if err != nil {
		return "", err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return "", fmt.Errorf("read kubeadm's manifests: %w", err)
	}
	var all []string
	for name, object := range parsed.Scope.Objects {
		text, err := constant(object)
		if err != nil {
			return "", fmt.Errorf("read kubeadm's manifest %s: %w", name, err)
		}
		filled, err := fill(text, kubeadmOptions{
			DeploymentName: "coredns", Image: image, ControlPlaneTaintKey: "node-role.kubernetes.io/control-plane",
			DNSDomain: "cluster.local", DNSIP: lab.DNSAddress, Replicas: 2,
		})
		if err != nil {
			return "", fmt.Errorf("fill in kubeadm's manifest %s: %w", name, err)
		}
		// kubeadm updates what is there; a new Service must not have a version.
		all = append(all, strings.Replace(filled, "resourceVersion: \"0\"\n", "\n", 1))
	}
	return strings.Join(all, "\n---\n"), nil
}

func constant(object *ast.Object) (string, error) {
	spec, ok := object.Decl.(*ast.ValueSpec)
	if !ok || len(spec.Values) != 1 {
		return "", fmt.Errorf("it is no constant")
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok {
		return "", fmt.Errorf("it is no literal")
	}
	return strconv.Unquote(literal.Value)
}

func fill(text string, o kubeadmOptions) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, o)
	return b.String(), err
}
