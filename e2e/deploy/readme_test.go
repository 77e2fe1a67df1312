package deploy

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/waypost/waypost/e2e/peers"
)

// TestReadme: deploy/README.md has a row for all that can be installed, names each file that has an address or a name of the
// cluster's, and its kustomization does what it is for.
func TestReadme(t *testing.T) {
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	c := &town{peers: p}
	text, err := os.ReadFile(c.folder("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	err = fs.WalkDir(os.DirFS(c.folder()), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".md" {
			return err
		}
		if what := installed(path); !strings.Contains(page, "\n| `"+what+"` |") {
			t.Errorf("it has no row for %s", what)
		}
		content, err := os.ReadFile(c.folder(path))
		for _, own := range []string{"10.96.0.10", "cluster.local"} {
			if bytes.Contains(content, []byte(own)) && !strings.Contains(page, "`"+path+"`") {
				t.Errorf("it does not name %s, which has %s", path, own)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checkExample(t, c, page)
}

// installed is what a file of deploy/ belongs to.
func installed(path string) string {
	parts := strings.Split(path, "/")
	switch {
	case path == "kustomization.yaml":
		return "base" // the same
	case path == "monitoring/alerts_test.yaml":
		return "monitoring/alerts.yaml"
	case parts[0] == "components", parts[0] == "overlays", parts[0] == "monitoring":
		return strings.Join(parts[:2], "/")
	}
	return parts[0]
}

// checkExample builds the kustomization that the page shows.
func checkExample(t *testing.T, c *town, page string) {
	t.Helper()
	var shown strings.Builder
	for line := range strings.Lines(page) {
		if line, ok := strings.CutPrefix(line, "    "); ok {
			shown.WriteString(line)
		}
	}
	list := kustomize(t, temporary(t, c, strings.ReplaceAll(shown.String(), "github.com/waypost/waypost/deploy", "%[1]s")))
	daemonSet := one(t, list, "DaemonSet", "waypost-proxy")
	args, _ := at(daemonSet.Object, "spec.template.spec.containers").([]any)[0].(map[string]any)["args"].([]any)
	got, err := yaml.Marshal([]any{
		at(one(t, list, "Service", "kube-dns").Object, "spec.clusterIP"), args,
		containerImage(one(t, list, "Deployment", "coredns")), containerImage(daemonSet),
	})
	const want = `- 10.0.0.10
- - --config=/var/lib/kube-proxy/config.conf
  - --hostname-override=$(NODE_NAME)
  - --cluster-dns=10.0.0.10
- registry.example.com/dns/waypost:0.1.0
- registry.example.com/dns/waypost-proxy:0.1.0
`
	if err != nil || string(got) != want {
		t.Errorf("its kustomization makes\n%snot\n%s", got, want)
	}
}
