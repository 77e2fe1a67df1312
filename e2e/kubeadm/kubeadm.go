// Package kubeadm is what `kubeadm init` installs in a cluster, out of the sources of the Kubernetes that the tests run.
package kubeadm

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

// CoreDNS returns the manifests of CoreDNS, with the image given.
func CoreDNS(ctx context.Context, p *peers.Peers, image string) (manifests []string, err error) {
	return addon(ctx, p, "dns", map[string]any{
		"DeploymentName": "coredns", "Image": image, "Replicas": 2, "ControlPlaneTaintKey": "node-role.kubernetes.io/control-plane",
		"DNSDomain": "cluster.local", "DNSIP": lab.DNSAddress,
	})
}

// KubeProxy returns the DaemonSet of kube-proxy, with the image given, and the account that it runs under. What it mounts is
// KubeProxyConfig.
func KubeProxy(ctx context.Context, p *peers.Peers, image string) (manifests []string, err error) {
	all, err := addon(ctx, p, "proxy", map[string]any{"Image": image, "ProxyConfigMap": "kube-proxy", "ProxyConfigMapKey": "config.conf"})
	for _, manifest := range all {
		if strings.Contains(manifest, "kind: DaemonSet") { // the ConfigMap beside it is but a frame
			manifests = append(manifests, manifest)
		}
	}
	return append(manifests, kubeProxyAccount), err
}

// addon returns the manifests of an add-on, filled in.
func addon(ctx context.Context, p *peers.Peers, name string, values map[string]any) ([]string, error) {
	file, err := p.KubeadmAddon(ctx, name)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("read kubeadm's manifests: %w", err)
	}
	var manifests []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING || err != nil {
			return err == nil
		}
		var text string
		if text, err = fill(literal.Value, values); err != nil {
			err = fmt.Errorf("fill in a manifest of %s: %w", file, err)
		}
		manifests = append(manifests, text)
		return true
	})
	return manifests, err
}

// fill fills in a manifest that stands in the sources as a literal.
func fill(literal string, values map[string]any) (string, error) {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return "", err
	}
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, values)
	// kubeadm updates what is there; a new Service must not have a version.
	return strings.Replace(b.String(), "resourceVersion: \"0\"\n", "\n", 1), err
}
