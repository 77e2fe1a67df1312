package kubernetes

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/records"
)

// parse reads a Corefile with one block and one kubernetes directive in it.
func parse(t *testing.T, corefile string) (Options, error) {
	t.Helper()
	block := plugintest.Block(t, corefile)
	return Parse(block, block.Directive("kubernetes"))
}

func TestParse(t *testing.T) {
	defaults := Options{Zones: config.Zones{"cluster.local."}, TTL: 5, StartupTimeout: 5 * time.Second}
	with := func(change func(*Options)) Options {
		o := defaults
		change(&o)
		return o
	}
	for _, test := range []struct {
		body string
		want Options
	}{
		{"", defaults},
		{"ttl 0", with(func(o *Options) { o.TTL = 0 })},
		{"ttl 3600 ignored", with(func(o *Options) { o.TTL = 3600 })},
		{"ttl 30\nttl 40", with(func(o *Options) { o.TTL = 40 })},
		{"pods insecure", with(func(o *Options) { o.Pods = records.PodsInsecure })},
		{"pods verified\npods disabled", defaults},
		{"fallthrough", with(func(o *Options) { o.Fallthrough = config.Zones{"."} })},
		{"fallthrough in-addr.arpa 10.0.0.0/8", with(func(o *Options) { o.Fallthrough = config.Zones{"in-addr.arpa.", "10.in-addr.arpa."} })},
		{"endpoint_pod_names\nnoendpoints\nignore empty_service", with(func(o *Options) { o.PodNames, o.NoEndpoints, o.IgnoreEmpty = true, true, true })},
		{"ignore", defaults},
		{"namespaces a b\nnamespaces c", with(func(o *Options) { o.Namespaces = []string{"a", "b", "c"} })},
		{"labels app in (web, db), !old", with(func(o *Options) { o.Labels = "app in (db,web),!old" })},
		{"startup_timeout 0", with(func(o *Options) { o.StartupTimeout = 0 })},
		{"startup_timeout 1m", with(func(o *Options) { o.StartupTimeout = time.Minute })},
		{"apiserver_qps 0.5\napiserver_burst 3\napiserver_max_inflight 2", with(func(o *Options) { o.QPS, o.Burst, o.MaxInflight = 0.5, 3, 2 })},
		{"kubeconfig file context", with(func(o *Options) { o.Kubeconfig, o.Context = "file", "context" })},
		{"endpoint https://a https://b\ntls c k ca", with(func(o *Options) {
			o.Endpoint, o.Certificate, o.Key, o.Authority = "https://a", "c", "k", "ca"
			pos := config.Pos{File: "Corefile", Line: 3}
			o.Warnings = []config.Warning{pos.Warningf("Multiple endpoints have been deprecated, only the first specified endpoint 'https://a' is used")}
		})},
		{"manifests dir", with(func(o *Options) { o.Manifests = "dir" })},
		{"multicluster cluster.local", with(func(o *Options) { o.Multicluster = config.Zones{"cluster.local."} })},
	} {
		got, err := parse(t, ".:53 {\nkubernetes cluster.local {\n"+test.body+"\n}\n}\n")
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %v\ngot  %+v\nwant %+v", test.body, err, got, test.want)
		}
	}
}

// TestParseErrors holds the texts against what CoreDNS 1.15.0 prints behind "plugin/kubernetes: ".
func TestParseErrors(t *testing.T) {
	const at = "Corefile:3 - Error during parsing: "
	for _, test := range []struct{ body, want string }{
		{"upstream", at + "unknown property 'upstream'"},
		{"pods", at + "Wrong argument count or unexpected line ending after 'pods'"},
		{"pods some", "wrong value for pods: some,  must be one of: disabled, verified, insecure"},
		{"zonal on", at + "Wrong argument count or unexpected line ending after 'on'"},
		{"ttl 30s", `strconv.Atoi: parsing "30s": invalid syntax`},
		{"ttl 3601", at + "ttl must be in range [0, 3600]: 3601"},
		{"ignore all", "unable to parse ignore value: 'all'"},
		{"labels a!=b", `unable to parse label selector value: 'a!=b': "!=" is not a valid label selector operator`},
		{"startup_timeout soon", `failed to parse startup_timeout: soon, time: invalid duration "soon"`},
		{"apiserver_qps -1", at + "apiserver_qps must be >= 0"},
		{"apiserver_burst 1.5", at + `invalid apiserver_burst "1.5": strconv.Atoi: parsing "1.5": invalid syntax`},
		{"tls a b", at + "Wrong argument count or unexpected line ending after 'b'"},
		{"namespaces a\nnamespace_labels b", "Corefile:5 - Error during parsing: namespaces and namespace_labels cannot both be set"},
		{"multicluster other", "Corefile:4 - Error during parsing: is not authoritative for the multicluster zone other. (authoritative zones: [cluster.local.])"},
		{"zonal\nnoendpoints", "Corefile:5 - Error during parsing: zonal requires the endpoint cache; remove noendpoints"},
		{"manifests a\nkubeconfig b", "Corefile:5 - Error during parsing: manifests cannot be set together with kubeconfig or endpoint: the cluster is read from one place"},
	} {
		_, err := parse(t, ".:53 {\nkubernetes cluster.local {\n"+test.body+"\n}\n}\n")
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%q:\ngot  %s\nwant %s", test.body, got, test.want)
		}
	}
	for zones, want := range map[string]string{
		"10.in-addr.arpa 10.0.0.0/8":   "non-reverse zone name must be used",
		"a.b\nkubernetes other.domain": config.ErrOnce.Error(),
	} {
		if _, err := parse(t, ".:53 {\nkubernetes "+zones+"\n}\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", zones, err, want)
		}
	}
}
