package watch

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
)

const kubeconfig = `
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: k, user: u}}
- {name: two, context: {cluster: other, user: u}}
- {name: nowhere, context: {cluster: missing, user: u}}
clusters:
- {name: k, cluster: {server: "https://192.0.2.1:6443"}}
- {name: other, cluster: {server: "https://192.0.2.2:6443/below"}}
users: [{name: u, user: {token: t}}]`

func TestAccess(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	write(t, config, kubeconfig)
	write(t, filepath.Join(dir, "broken"), "{")
	tests := []struct {
		name   string
		access Access
		want   string // the URL, or a part of the error
	}{
		{"file", Access{Kubeconfig: config}, "https://192.0.2.1:6443"},
		{"context", Access{Kubeconfig: config, Context: "two"}, "https://192.0.2.2:6443/below"},
		{"file before endpoint", Access{Kubeconfig: config, Endpoint: "http://192.0.2.9"}, "https://192.0.2.1:6443"},
		{"another server", Access{Kubeconfig: config, Server: "https://192.0.2.3:6443"}, "https://192.0.2.3:6443"},
		{"no such file", Access{Kubeconfig: dir + "/none"}, "stat " + dir + "/none: no such file or directory"},
		{"broken file", Access{Kubeconfig: dir + "/broken"}, "error loading config file"},
		{"no such context", Access{Kubeconfig: config, Context: "three"}, `context "three" does not exist`},
		{"no such cluster", Access{Kubeconfig: config, Context: "nowhere"}, "invalid configuration: "},
		{"endpoint", Access{Endpoint: "http://192.0.2.9:8080"}, "http://192.0.2.9:8080"},
		{"endpoint that is none", Access{Endpoint: "http://192.0.2.9:x"}, "host must be a URL"},
		{"no such certificates", Access{Endpoint: "https://192.0.2.9", CertFile: dir + "/c", KeyFile: dir + "/k", CAFile: dir + "/a"}, "invalid configuration: ["},
		{"no such authority", Access{Endpoint: "https://192.0.2.9", CAFile: config}, "unable to load root certificates"},
		{"not in a Pod", Access{}, "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"},
	}
	for _, test := range tests {
		source, err := NewAPIServer(Options{Access: test.access})
		switch {
		case err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: error %v", test.name, err)
		case err == nil && strings.TrimSuffix(source.client.base.String(), "/") != test.want:
			t.Errorf("%s: %s", test.name, source.client.base)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"must be >= 0":           {QPS: -1},
		"limits of requests":     {MaxInflight: -1},
		"limits":                 {Burst: -1},
		`label selector "a=b=c"`: {Needs: cluster.Needs{Labels: "a=b=c"}},
		`label selector "in ("`:  {Needs: cluster.Needs{NamespaceLabels: "in ("}},
	} {
		o.Endpoint = "http://192.0.2.1"
		if _, err := NewAPIServer(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %s", o, err, want)
		}
	}
}
