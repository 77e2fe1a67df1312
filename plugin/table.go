package plugin

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/bind"
	"github.com/waypost/waypost/plugin/cache"
	"github.com/waypost/waypost/plugin/dns64"
	"github.com/waypost/waypost/plugin/errors"
	"github.com/waypost/waypost/plugin/etcd"
	"github.com/waypost/waypost/plugin/forward"
	"github.com/waypost/waypost/plugin/grpc"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/kubernetes"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/log"
	"github.com/waypost/waypost/plugin/pprof"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/ready"
	"github.com/waypost/waypost/plugin/rewrite"
	"github.com/waypost/waypost/plugin/template"
	"github.com/waypost/waypost/plugin/view"
)

// directive is a row of the table.
type directive struct {
	name string
	// link says that the directive is a link of CoreDNS's chain of handlers. What is not one only sets something up: it
	// is not named in "no next plugin found", and not in the metrics.
	link bool
	// build turns what the Corefile says into parts of its block. It is nil where Waypost does not have the directive,
	// and then instead says in a sentence what to write in its place.
	build   func(*block, *config.Directive) error
	instead string
	// words are the options that may begin a line in the braces; nil where there are none.
	words func() []string
}

// table lists the directives of CoreDNS 1.15.0 in the order in which it runs them, whatever the order in a Corefile is.
var table = []directive{
	{name: "root", instead: "give files with their full path"},
	{name: "metadata", link: true, instead: "leave it out, what asks for metadata here gets nothing"},
	{name: "geoip", link: true, instead: "tell clients by their addresses, with incidr in view"},
	{name: "cancel", link: true, instead: "leave it out, no query waits without a limit"},
	{name: "proxyproto", link: true, instead: "leave it out, and have the load balancer keep the clients' addresses"},
	{name: "quic", instead: "serve plain DNS behind a proxy that speaks DNS over QUIC"},
	{name: "grpc_server", instead: "serve plain DNS behind a proxy that speaks gRPC"},
	{name: "https", instead: "serve plain DNS behind a proxy that speaks DNS over HTTPS"},
	{name: "https3", instead: "serve plain DNS behind a proxy that speaks DNS over HTTP/3"},
	{name: "timeouts", instead: "leave it out, TCP clients then have 3 s for the first query and 10 s for each further one"},
	{name: "multisocket", instead: "leave it out, there is a socket for each core in any case"},
	{name: "reload", build: buildReload},
	{name: "nsid", link: true, build: buildNSID},
	{name: "bufsize", link: true, build: buildBufsize},
	{name: "bind", build: buildBind, words: bind.Words},
	{name: "debug", instead: "leave it out, a panic is logged and survived"},
	{name: "trace", link: true, instead: "leave it out, and look at coredns_dns_request_duration_seconds"},
	{name: "ready", build: buildReady, words: ready.Words},
	{name: "health", build: buildHealth, words: health.Words},
	{name: "pprof", build: buildPprof, words: pprof.Words},
	{name: "shed", link: true, instead: "leave it out, what clients can make the server hold is bounded in any case"},
	{name: "prometheus", link: true, build: buildPrometheus, words: prometheus.Words},
	{name: "errors", link: true, build: buildErrors, words: errors.Words},
	{name: "log", link: true, build: buildLog, words: log.Words},
	{name: "dnstap", link: true, instead: "use log, which prints a line for each query"},
	{name: "local", link: true, instead: "leave it out, names under localhost then go where other names go"},
	{name: "dns64", link: true, build: buildDNS64, words: dns64.Words},
	{name: "siit", link: true, instead: "use a resolver that translates addresses"},
	{name: "any", link: true, instead: "leave it out, cluster names answer ANY without data"},
	{name: "chaos", link: true, build: buildChaos},
	{name: "loadbalance", link: true, build: buildLoadBalance, words: loadbalance.Words},
	{name: "tsig", link: true, instead: "restrict who can reach the server by a network policy"},
	{name: "rewrite", link: true, build: buildRewrite, words: rewrite.Words},
	{name: "autopath", link: true, build: buildAutopath},
	{name: "acl", link: true, instead: "restrict who can reach the server by a network policy"},
	{name: "cache", link: true, build: buildCache, words: cache.Words},
	{name: "header", link: true, instead: "leave it out, flags are then as the answering directive sets them"},
	{name: "dnssec", link: true, instead: "sign the zone on a server of its own"},
	{name: "tls", instead: "serve plain DNS behind a proxy that speaks DNS over TLS"},
	{name: "minimal", link: true, instead: "leave it out, clients ignore records that they do not need"},
	{name: "template", link: true, build: buildTemplate, words: template.Words},
	{name: "transfer", link: true, instead: "leave it out, zone transfers are then refused"},
	{name: "dynupdate", link: true, instead: "change the cluster's objects instead"},
	{name: "hosts", link: true, build: buildHosts, words: hosts.Words},
	{name: "route53", link: true, instead: "ask the cloud's own servers for its zones"},
	{name: "azure", link: true, instead: "ask the cloud's own servers for its zones"},
	{name: "clouddns", link: true, instead: "ask the cloud's own servers for its zones"},
	{name: "k8s_external", link: true, instead: "publish the Services outside the cluster with external-dns"},
	{name: "kubernetes", link: true, build: buildKubernetes, words: kubernetes.Words},
	{name: "file", link: true, instead: "serve the zone from a server of its own"},
	{name: "auto", link: true, instead: "serve the zones from a server of their own"},
	{name: "secondary", link: true, instead: "serve the zone from a server of its own"},
	{name: "etcd", link: true, build: buildEtcd, words: etcd.Words},
	{name: "loop", link: true, build: buildLoop},
	{name: "forward", link: true, build: buildForward, words: forward.Words},
	{name: "grpc", link: true, build: buildGRPC, words: grpc.Words},
	{name: "erratic", link: true, instead: "leave it out, it is for tests of clients"},
	{name: "whoami", link: true, build: buildWhoami},
	{name: "on", instead: "have the service manager run commands at the start and the end"},
	{name: "sign", instead: "sign the zone file before it is served"},
	{name: "view", link: true, build: buildView, words: view.Words},
	{name: "nomad", link: true, instead: "serve the zone from a server of its own"},
}

// foreign are directives that stand in Corefiles and that CoreDNS 1.15.0 does not know: of plugins built in by others,
// and of earlier releases. They say what to write instead.
var foreign = map[string]string{
	"alternate":           "it is a plugin of its own; forward has failover in its place",
	"fanout":              "it is a plugin of its own; forward with several upstreams comes closest",
	"federation":          "CoreDNS has dropped it: leave it out",
	"k8s_crd":             "it is k8gb's own plugin: run k8gb's CoreDNS for its zone beside this server",
	"k8s_event":           "it is a plugin of its own: leave it out, and watch the log lines of the kubernetes directive",
	"k8s_gateway":         "it is a plugin of its own: publish Gateways and Ingresses with external-dns",
	"kubeapi":             "it is a plugin of its own: the kubernetes directive has kubeconfig and endpoint",
	"kubeforward":         "it is Deckhouse's own plugin; forward to the address of the Service comes closest",
	"kubernetai":          "it is a plugin of its own: write one server block with kubernetes for each cluster's zone",
	"lighthouse":          "it is Submariner's own plugin: run its server, or use kubernetes with multicluster",
	"multicluster":        "it is a plugin of its own: use the option multicluster of kubernetes",
	"ocp_dnsnameresolver": "it is OpenShift's own plugin: leave it out, it answers no queries",
	"proxy":               "CoreDNS has dropped it in favour of forward",
	"unbound":             "it is a plugin of its own: forward to a resolver",
}

// find is the directive of that name, nil where CoreDNS has none.
func find(name string) *directive {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

// Names are the directives that Waypost has, in the table's order.
func Names() []string {
	var names []string
	for _, d := range table {
		if d.build != nil {
			names = append(names, d.name)
		}
	}
	return names
}
