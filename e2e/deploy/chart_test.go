package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// chart: what the chart makes of its defaults, and of each file of values in testdata, passes `helm lint` and the API server.
func (c *town) chart(t *testing.T) {
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	for _, file := range append(files, "") {
		values := readValues(t, file)
		for _, m := range lint.RunAll(c.folder("chart"), values, system).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("helm lint with %s: %s", file, m)
			}
		}
		list, err := render(t, c.folder("chart"), values)
		if err != nil {
			t.Errorf("helm template with %s: %v", file, err)
			continue
		}
		var known []*unstructured.Unstructured
		for _, u := range list {
			if u.GetKind() != "ServiceMonitor" { // the Prometheus operator's, which is not there
				known = append(known, u)
			}
		}
		if err := c.objects.apply(t.Context(), waypost, known, true); err != nil {
			t.Errorf("with %s: %v", file, err)
		}
	}
}

// beside: where the Service kube-dns is somebody else's, a release of the chart shares the load with its servers, and serves alone
// once these are gone. A server block of its Corefile is in a Secret, which only root and the Pod's group may read;
// that has hosts in one of zoneFiles.
func (c *town) beside(t *testing.T) {
	list, err := render(t, c.folder("chart"), map[string]any{
		"fullnameOverride": "waypost", "k8sAppLabelOverride": "kube-dns",
		"extraConfig":  map[string]any{"import": map[string]any{"parameters": "/etc/more/*.server"}},
		"extraSecrets": []any{map[string]any{"name": "more", "mountPath": "/etc/more"}},
		"zoneFiles":    []any{map[string]any{"filename": "more.hosts", "contents": "192.0.2.8 file.more.example\n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.objects.mustApply(t, waypost, append(parse(t, []byte(secretServer)), list...))
	c.rolledOut(t, "waypost")
	c.removeServer(t)
	c.answers(t, "10.96.0.1\n", "kubernetes.default.svc.cluster.local")
	c.answers(t, "192.0.2.7\n", "secret.more.example")
	c.answers(t, "192.0.2.8\n", "file.more.example")
	for _, pod := range c.pods(t, "k8s-app=kube-dns") {
		c.confined(t, pod, "waypost", 1<<10)
		c.allowed(t, pod)
	}
}

const secretServer = `
apiVersion: v1
kind: Secret
metadata: {name: more, namespace: kube-system}
stringData:
  one.server: |
    more.example:53 {
        hosts /etc/coredns/more.hosts {
            192.0.2.7 secret.more.example
        }
    }
`

// TestChartValues: values of CoreDNS's chart have the effect they have there.
func TestChartValues(t *testing.T) {
	list, err := render(t, "../../deploy/chart", readValues(t, "testdata/values/full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	corefile, _, _ := unstructured.NestedString(one(t, list, "ConfigMap", "dns-coredns").Object, "data", "Corefile")
	want := `import /etc/more/*.server
dns://.:53 {
    errors
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    prometheus :9153
}
dns://.:5353 dns://example.org:5353 {
    errors
}`
	if corefile != want {
		t.Errorf("the Corefile is\n%s", corefile)
	}
	for _, tt := range []struct {
		kind, name string
		path       string
		want       string
	}{
		{"Deployment", "coredns", "spec.selector.matchLabels", "k8s-app: kube-dns\n"},
		{"Deployment", "coredns", "metadata.labels.team", "dns\n"},
		{"Deployment", "coredns", "metadata.annotations.note", "x\n"},
		{"Deployment", "coredns", "spec.strategy.rollingUpdate", "maxSurge: 25%\nmaxUnavailable: 1\n"},
		{"Deployment", "coredns", "spec.template.spec.imagePullSecrets", "- name: one\n- name: other\n"},
		{"Deployment", "coredns", "spec.template.spec.serviceAccountName", "dns-coredns\n"},
		{"Service", "kube-dns", "spec.clusterIP", "10.96.0.10\n"},
		{"Service", "kube-dns", "spec.ports", `- name: udp-53
  port: 53
  protocol: UDP
  targetPort: 53
- name: tcp-53
  port: 53
  protocol: TCP
  targetPort: 53
- name: udp-5353
  port: 5353
  protocol: UDP
  targetPort: 5353
`},
		{"PodDisruptionBudget", "dns-coredns", "spec.minAvailable", "1\n"},
		{"PodDisruptionBudget", "dns-coredns", "spec.maxUnavailable", "null\n"},
		{"HorizontalPodAutoscaler", "dns-coredns", "spec.maxReplicas", "7\n"},
		{"ServiceMonitor", "dns-coredns", "spec.endpoints", "- interval: 30s\n  port: metrics\n"},
	} {
		got := at(one(t, list, tt.kind, tt.name).Object, tt.path)
		text, err := yaml.Marshal(got)
		if err != nil || string(text) != tt.want {
			t.Errorf("%s %s: %s is\n%s", tt.kind, tt.name, tt.path, text)
		}
	}
	if replicas := at(one(t, list, "Deployment", "coredns").Object, "spec.replicas"); replicas != nil {
		t.Errorf("%v replicas, though an autoscaler is to say how many", replicas)
	}
}

// TestChartReadsPods: the right to read Pods is there where the Corefile needs it, whatever rbac.pods says, and nowhere else.
func TestChartReadsPods(t *testing.T) {
	for values, want := range map[string]bool{
		`{}`:                   false,
		`{rbac: {pods: true}}`: true,
		`{servers: [{port: 53, plugins: [{name: kubernetes, configBlock: "ttl 30\n  pods verified # a comment\nfallthrough"}]}]}`:      true,
		`{servers: [{port: 53, plugins: [{name: kubernetes, configBlock: "# pods verified\npods insecure # not verified"}]}]}`:         false,
		`{servers: [{port: 53, plugins: [{name: whoami}]}, {port: 54, plugins: [{name: autopath, parameters: "@kubernetes"}]}]}`:       true,
		`{servers: [{port: 53, plugins: [{name: autopath, parameters: "cluster.local @kubernetes"}]}]}`:                                true,
		`{servers: [{port: 53, plugins: [{name: autopath, parameters: /etc/resolv.conf}]}]}`:                                           false,
		`{extraConfig: {(pods): {configBlock: pods verified}}}`:                                                                        true,
		`{zoneFiles: [{filename: more, domain: example.org, contents: "example.org {\n  kubernetes {\n    pods verified\n  }\n}\n"}]}`: true,
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(values), &v); err != nil {
			t.Fatal(err)
		}
		list, err := render(t, "../../deploy/chart", v)
		if err != nil {
			t.Errorf("%s: %v", values, err)
			continue
		}
		rules, _ := at(one(t, list, "ClusterRole", "dns-coredns").Object, "rules").([]any)
		if len(rules) == 0 {
			t.Errorf("%s: no rights", values)
			continue
		}
		resources, _ := at(rules[0], "resources").([]any)
		if slices.Contains(resources, any("pods")) != want {
			t.Errorf("%s: the right is to read %v", values, resources)
		}
	}
}

// TestChartRefuses: what would have no effect, or not the one meant, is an error that names it.
func TestChartRefuses(t *testing.T) {
	for values, want := range map[string]string{
		`{replicas: 3}`: "replicas", // CoreDNS's is replicaCount
		`{hpa: {enabled: true}, autoscaler: {enabled: true}}`: "two autoscalers",
		`{rbac: {pspEnable: true}}`:                           "pspEnable",
		`{servers: []}`:                                       "servers",
		`{servers: [{port: 853, zones: [{zone: ., scheme: tls://}], plugins: [{name: errors}]}]}`:   "'/servers/0/zones/0/scheme': value must be one of '', 'dns://'",
		`{servers: [{port: 443, zones: [{zone: ., scheme: https://}], plugins: [{name: errors}]}]}`: "'/servers/0/zones/0/scheme': value must be one of '', 'dns://'",
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(values), &v); err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, "../../deploy/chart", v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// at follows a path of fields.
func at(object any, path string) any {
	for _, field := range strings.Split(path, ".") {
		m, ok := object.(map[string]any)
		if !ok {
			return nil
		}
		object = m[field]
	}
	return object
}

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if file == "" {
		return values
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return values
}

// render is `helm template dns CHART --namespace kube-system`.
func render(t *testing.T, folder string, values map[string]any) ([]*unstructured.Unstructured, error) {
	t.Helper()
	chart, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "dns", Namespace: system, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	texts, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range texts {
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var list []*unstructured.Unstructured
	for _, name := range names {
		list = append(list, parse(t, []byte(texts[name]))...)
	}
	return list, nil
}
