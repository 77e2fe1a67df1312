package e2e

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/lab"
)

// family is a metric by one name.
type family struct {
	kind   string          // counter, gauge, histogram
	labels map[string]bool // the label names of its series, each as one text; none where it has no series
}

// TestMetricNames: what dashboards and alerts rest on is there. CoreDNS and Waypost run under kubeadm's default Corefile, are
// asked the same, and show the same metrics: names, types and labels.
func TestMetricNames(t *testing.T) {
	control, p := startControlPlane(t)
	upstream := answering(t)
	resolv := filepath.Join(lab.Folder(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+upstream.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := startServers(t, p, kubeadm(t, p.Root(), resolv), control.Kubeconfig, "kubernetes.default.svc.cluster.local.")
	theirs, ours := families(t, s.coredns), families(t, s.waypost)
	missing := 0
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		want, got := theirs[name], ours[name]
		switch {
		case !strings.HasPrefix(name, "coredns_") && got.kind == "": // of the process or the Go runtime
			t.Errorf("%s is missing", name)
		case got.kind == "" && slices.Contains(occasional, name):
		case got.kind == "":
			missing++
			t.Errorf("%s (%s) is missing", name, want.kind)
		case got.kind != want.kind:
			t.Errorf("%s is a %s, with CoreDNS a %s", name, got.kind, want.kind)
		default:
			for labels := range want.labels {
				if !got.labels[labels] {
					t.Errorf("%s has no series with the labels %q, but %v", name, labels, slices.Sorted(maps.Keys(got.labels)))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if _, ok := theirs[name]; !ok && !own[name] {
			t.Errorf("%s is no metric of CoreDNS's, and not known as one of Waypost's own", name)
		}
	}
	t.Logf("CoreDNS metric names missing from Waypost's for the default Corefile: %d (of %d)", missing, len(theirs))
}

// own are metrics that CoreDNS does not have, as docs/differences.md says, or shows only once they are not zero.
var own = map[string]bool{
	"coredns_proxy_wrong_replies_total":        true,
	"coredns_loop_disabled_upstreams":          true,
	"coredns_kubernetes_skipped_objects_total": true, // once something was
	"waypost_reload_failed":                    true,
	"waypost_reload_serving_info":              true,
	"coredns_proxy_healthcheck_failures_total": true, // CoreDNS's, once a probe has failed
}

// kubeadm is kubeadm's default Corefile, with what a lab has other than a cluster: no Pod, more than one server at one
// address.
func kubeadm(t *testing.T, root, resolv string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "testdata/corefiles/kubeadm-default.Corefile"))
	if err != nil {
		t.Fatal(err)
	}
	corefile := string(text)
	for _, change := range [][2]string{
		{".:53 {", ". {\n    bind 127.0.0.1"}, {"health {", "health {$HEALTH} {"}, {"    ready\n", "    ready {$READY}\n"}, {":9153", "{$METRICS}"},
		{"pods insecure", "pods insecure\n       kubeconfig {$KUBECONFIG}"}, {"/etc/resolv.conf", resolv},
	} {
		if !strings.Contains(corefile, change[0]) {
			t.Fatalf("kubeadm's Corefile has no %q", change[0])
		}
		corefile = strings.Replace(corefile, change[0], change[1], 1)
	}
	return corefile
}

// families asks a server all kinds of questions, and reads what it shows then.
func families(t *testing.T, s *lab.DNS) map[string]family {
	t.Helper()
	askAll(t, s.Address)
	response, err := http.Get("http://" + s.Metrics.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return parseFamilies(string(text))
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	series   = regexp.MustCompile(`(?m)^([a-z_0-9:]+)(?:\{(.*)\})? \S+$`)
	label    = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

// parseFamilies reads the text format of Prometheus.
func parseFamilies(text string) map[string]family {
	all := map[string]family{}
	for _, match := range typeLine.FindAllStringSubmatch(text, -1) {
		all[match[1]] = family{kind: match[2], labels: map[string]bool{}}
	}
	for _, match := range series.FindAllStringSubmatch(text, -1) {
		name := match[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && all[base].kind != "" {
				name = base
			}
		}
		var names []string
		for _, l := range label.FindAllStringSubmatch(match[2], -1) {
			if l[1] != "le" && l[1] != "quantile" {
				names = append(names, l[1])
			}
		}
		slices.Sort(names)
		all[name].labels[strings.Join(names, ",")] = true
	}
	return all
}

// askAll asks for names that are there and names that are not, in the cluster and elsewhere, over both transports, twice.
func askAll(t *testing.T, server netip.AddrPort) {
	t.Helper()
	for _, q := range []struct {
		name  string
		qtype uint16
		rcode int
	}{
		{"kubernetes.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess},
		{"kubernetes.default.svc.cluster.local.", dns.TypeAAAA, dns.RcodeSuccess},
		{"nosuch.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError},
		{"192-0-2-1.default.pod.cluster.local.", dns.TypeA, dns.RcodeSuccess},
		{"www.example.org.", dns.TypeA, dns.RcodeSuccess},
		{"www.example.org.", dns.TypeMX, dns.RcodeSuccess},
		{"nosuch.example.org.", dns.TypeA, dns.RcodeNameError},
		{"fail.example.org.", dns.TypeA, dns.RcodeServerFailure},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError},
	} {
		for _, network := range []string{"udp", "tcp", "udp"} {
			client := dns.Client{Net: network, Timeout: 5 * time.Second}
			question := new(dns.Msg).SetQuestion(q.name, q.qtype).SetEdns0(1232, network == "tcp")
			reply, _, err := client.Exchange(question, server.String())
			if err != nil || reply.Rcode != q.rcode {
				t.Errorf("%s at %s: %v, %v", q.name, server, reply, err)
			}
		}
	}
}

// answering is an upstream on port 53 of a loopback address: example.org has www, fail is SERVFAIL, the rest does not exist.
func answering(t *testing.T) net.IP {
	t.Helper()
	const address = "127.0.0.153"
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		soa, err := dns.NewRR("example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 60")
		if err != nil {
			panic(err) // it is a constant
		}
		switch name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype; {
		case name == "www.example.org." && qtype == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: qtype, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
		case name == "www.example.org.":
			m.Ns = []dns.RR{soa}
		case name == "fail.example.org.":
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{soa}
		}
		_ = w.WriteMsg(m) // who asks sees that
	})
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan error, 1)
		server := &dns.Server{Addr: address + ":53", Net: network, Handler: handler, NotifyStartedFunc: func() { started <- nil }}
		go func() { started <- server.ListenAndServe() }()
		if err := <-started; err != nil {
			t.Fatal(fmt.Errorf("an upstream at %s: %w", server.Addr, err))
		}
		t.Cleanup(func() { _ = server.Shutdown() }) // the lab ends with the test
	}
	return net.ParseIP(address)
}
