package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/prometheus"
)

func TestParse(t *testing.T) {
	tests := []struct {
		lines string
		want  prometheus.Options
	}{
		{"prometheus", prometheus.Options{Address: "localhost:9153"}},
		{"prometheus {\ntls /dev/null\n}", prometheus.Options{Address: "localhost:9153", TLS: "/dev/null"}},
		{"prometheus :9253 {\nruntime_metrics\n}", prometheus.Options{Address: ":9253", RuntimeMetrics: true}},
	}
	for _, tt := range tests {
		if got, err := prometheus.Parse(plugintest.Directive(t, tt.lines)); !reflect.DeepEqual(got, tt.want) || err != nil {
			t.Errorf("%q: got %+v, %v", tt.lines, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"prometheus x", "Corefile:2 - Error during parsing: address x: missing port in address"},
		{"prometheus a b", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"prometheus {\nx\n}", "Corefile:3 - Error during parsing: unknown option: x"},
		{"prometheus {\nruntime_metrics x\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'x'"},
		{"prometheus\nprometheus", "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"prometheus {\ntls\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'tls'"},
		{"prometheus {\ntls a b\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"prometheus {\ntls /dev/null\ntls /dev/null\n}", "Corefile:4 - Error during parsing: tls block already specified"},
	}
	for _, tt := range tests {
		if _, err := prometheus.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

func newMetrics(t testing.TB) *prometheus.Metrics {
	environment, _ := plugintest.Env(t, "prometheus", journal.Text)
	return prometheus.New(environment)
}

func observer(t testing.TB, m *prometheus.Metrics, server, plugin string, zones ...string) *prometheus.Observer {
	t.Helper()
	o, err := m.Observer(server, "", plugin, zones)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ask makes a query as it arrives from an address, and an empty reply to it.
func ask(t testing.TB, name string, typ uint16, from string, transport message.Transport, do bool) (*message.Query, *message.Reply) {
	request := new(dns.Msg).SetQuestion(name, typ)
	if do {
		request.SetEdns0(1232, true)
	}
	q := plugintest.Query(t, request)
	q.From, q.Transport, q.Received = netip.MustParseAddrPort(from), transport, time.Now()
	return q, plugintest.Begin(q)
}

// TestCounters shows every metric of queries after a handful of them.
func TestCounters(t *testing.T) {
	m := newMetrics(t)
	o := observer(t, m, "dns://:53", "errors", ".", "example.org.", "b.example.org.")

	q, r := ask(t, "a.B.example.org.", dns.TypeA, "192.0.2.7:1", message.UDP, true) // 33 + 11 bytes
	r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, make([]byte, 4), 5))
	o.Observe(q, r)

	q, r = ask(t, "example.org.", 65400, "[::ffff:192.0.2.7]:1", message.TCP, false)
	q.Shard = 3
	r.Rcode = message.NXDomain
	o.Observe(q, r)

	q, r = ask(t, "example.com.", dns.TypeHTTPS, "[2001:db8::7]:1", message.UDP, false)
	r.Fail(message.ServFail)
	o.Observe(q, r)

	q, r = ask(t, "example.com.", dns.TypeHTTPS, "[2001:db8::7]:1", message.UDP, false)
	r.Fail(message.ServFail)
	r.By = "forward" // which passes on an upstream's answer
	o.Observe(q, r)

	q, r = ask(t, "example.com.", dns.TypeNS, "192.0.2.7:1", message.UDP, true)
	r.Fail(message.Refused)
	m.Dropped("dns://:53").Observe(q, r)

	want := `
coredns_dns_do_requests_total{server="dns://:53",view="",zone="b.example.org."} 1
coredns_dns_do_requests_total{server="dns://:53",view="",zone="dropped"} 1
coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="."} 2
coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="b.example.org."} 1
coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="dropped"} 1
coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="example.org."} 1
coredns_dns_request_size_bytes_count{proto="tcp",server="dns://:53",view="",zone="example.org."} 1
coredns_dns_request_size_bytes_count{proto="udp",server="dns://:53",view="",zone="."} 2
coredns_dns_request_size_bytes_count{proto="udp",server="dns://:53",view="",zone="b.example.org."} 1
coredns_dns_request_size_bytes_count{proto="udp",server="dns://:53",view="",zone="dropped"} 1
coredns_dns_request_size_bytes_sum{proto="tcp",server="dns://:53",view="",zone="example.org."} 29
coredns_dns_request_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="."} 58
coredns_dns_request_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="b.example.org."} 44
coredns_dns_request_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="dropped"} 40
coredns_dns_requests_total{family="1",proto="tcp",server="dns://:53",type="other",view="",zone="example.org."} 1
coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="b.example.org."} 1
coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="NS",view="",zone="dropped"} 1
coredns_dns_requests_total{family="2",proto="udp",server="dns://:53",type="HTTPS",view="",zone="."} 2
coredns_dns_response_size_bytes_count{proto="tcp",server="dns://:53",view="",zone="example.org."} 1
coredns_dns_response_size_bytes_count{proto="udp",server="dns://:53",view="",zone="."} 2
coredns_dns_response_size_bytes_count{proto="udp",server="dns://:53",view="",zone="b.example.org."} 1
coredns_dns_response_size_bytes_count{proto="udp",server="dns://:53",view="",zone="dropped"} 1
coredns_dns_response_size_bytes_sum{proto="tcp",server="dns://:53",view="",zone="example.org."} 29
coredns_dns_response_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="."} 29
coredns_dns_response_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="b.example.org."} 64
coredns_dns_response_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="dropped"} 40
coredns_dns_responses_total{plugin="",rcode="REFUSED",server="dns://:53",view="",zone="dropped"} 1
coredns_dns_responses_total{plugin="",rcode="SERVFAIL",server="dns://:53",view="",zone="."} 1
coredns_dns_responses_total{plugin="errors",rcode="NOERROR",server="dns://:53",view="",zone="b.example.org."} 1
coredns_dns_responses_total{plugin="errors",rcode="NXDOMAIN",server="dns://:53",view="",zone="example.org."} 1
coredns_dns_responses_total{plugin="errors",rcode="SERVFAIL",server="dns://:53",view="",zone="."} 1
coredns_local_localhost_requests_total 0
`
	rest := regexp.MustCompile(`(?m)^(#|go_|process_|coredns_build|coredns_panics|.*_bucket|.*_seconds_sum).*\n`).ReplaceAllString(scrape(t, m), "")
	lines := strings.SplitAfter(rest, "\n")
	slices.Sort(lines)
	if got := strings.Join(lines, ""); got != want[1:] {
		t.Errorf("got:\n%s\nwant:\n%s", got, want[1:])
	}
}

// TestBuckets: which class a duration and a size fall into, on both sides of each bound.
func TestBuckets(t *testing.T) {
	sizes := []int{0, 1, 100, 101, 511, 512, 64000, 64001}
	durations := []time.Duration{
		-time.Second, 0, 250 * time.Microsecond, 250*time.Microsecond + 1, 500 * time.Microsecond, 3 * time.Millisecond,
		4 * time.Millisecond, 4*time.Millisecond + 1, 8192 * time.Millisecond, 8192*time.Millisecond + 1, time.Hour,
	}
	tests := []struct{ name, want string }{
		{"coredns_dns_request_size_bytes", "0:12 100:14 200:15 300:15 400:15 511:16 1023:17 2047:17 4095:17 8291:17 16000:17 32000:17 48000:17 64000:18 +Inf:19"},
		{"coredns_dns_request_duration_seconds", "0.00025:11 0.0005:13 0.001:13 0.002:13 0.004:15 0.008:16 0.016:16 0.032:16 0.064:16 0.128:16 0.256:16 0.512:16 1.024:16 2.048:16 4.096:16 8.192:17 +Inf:19"},
	}
	synctest.Test(t, func(t *testing.T) { // where the clock stands still
		m := newMetrics(t)
		o := observer(t, m, "dns://:53", "errors", ".")
		q, r := ask(t, ".", dns.TypeNS, "192.0.2.7:1", message.UDP, false)
		for _, q.Size = range sizes {
			o.Observe(q, r)
		}
		q.Size = 0
		for _, d := range durations {
			q.Received = time.Now().Add(-d)
			o.Observe(q, r)
		}
		for _, tt := range tests {
			text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, tt.name)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, match := range regexp.MustCompile(`le="(.*)"\} (\d+)`).FindAllSubmatch(text, -1) {
				got = append(got, string(match[1])+":"+string(match[2]))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s:\ngot  %s\nwant %s", tt.name, strings.Join(got, " "), tt.want)
			}
		}
	})
}

func TestProcessMetrics(t *testing.T) {
	m := newMetrics(t)
	m.Panic()
	m.Enable([]prometheus.Enabled{{Server: "dns://:53", Zone: "a.", Names: []string{"whoami"}}})
	m.Enable([]prometheus.Enabled{{Server: "dns://:53", Zone: ".", Names: []string{"errors", "prometheus"}}})
	text := scrape(t, m)
	for _, want := range []string{
		`coredns_panics_total 1`,
		`coredns_plugin_enabled{name="errors",server="dns://:53",view="",zone="."} 1`,
		`coredns_plugin_enabled{name="prometheus",server="dns://:53",view="",zone="."} 1`,
		`coredns_build_info{goversion="go`,
		`revision="abcdef0",version="1.2.3"} 1`,
		"\ngo_goroutines ", "\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(text, "whoami") {
		t.Error("a directive that was enabled before still is")
	}
}

func TestRuntimeMetrics(t *testing.T) {
	m := newMetrics(t)
	const detail = "go_sched_latencies_seconds_count"
	if strings.Contains(scrape(t, m), detail) {
		t.Errorf("%s without runtime_metrics", detail)
	}
	for range 2 {
		m.ShowRuntime(true)
	}
	if !strings.Contains(scrape(t, m), detail) {
		t.Errorf("no %s with runtime_metrics", detail)
	}
	m.ShowRuntime(false)
	if text := scrape(t, m); strings.Contains(text, detail) || !strings.Contains(text, "\ngo_goroutines ") {
		t.Error("without runtime_metrics again there is something else than the selection")
	}
}

// TestSharedLabels: what two blocks, or the same block before and after a reload, count under one set of labels is added.
func TestSharedLabels(t *testing.T) {
	m := newMetrics(t)
	for _, o := range []*prometheus.Observer{
		observer(t, m, "dns://:53", "errors", "."), observer(t, m, "dns://:53", "log", "."), observer(t, m, "dns://:53", "errors", ".", "a."),
	} {
		q, r := ask(t, "example.org.", dns.TypeA, "192.0.2.7:1", message.UDP, false)
		o.Observe(q, r)
	}
	want := `# HELP coredns_dns_responses_total Replies by response code and by the directive that stands behind prometheus.
# TYPE coredns_dns_responses_total counter
coredns_dns_responses_total{plugin="errors",rcode="NOERROR",server="dns://:53",view="",zone="."} 2
coredns_dns_responses_total{plugin="log",rcode="NOERROR",server="dns://:53",view="",zone="."} 1
`
	if err := testutil.GatherAndCompare(m.Registry().(client.Gatherer), strings.NewReader(want), "coredns_dns_responses_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(m.Registry().(client.Gatherer), "coredns_dns_responses_total"); len(problems) > 0 || err != nil {
		t.Error(problems, err)
	}
}

// TestConcurrent counts from many goroutines, some of them in one shard, while others look.
func TestConcurrent(t *testing.T) {
	const counting, each = 8, 2000
	m := newMetrics(t)
	o := observer(t, m, "dns://:53", "errors", ".")
	var wait sync.WaitGroup
	for i := range counting {
		q, r := ask(t, "example.org.", dns.TypeA, "192.0.2.7:1", message.UDP, false)
		q.Shard = i % 4
		wait.Go(func() {
			for range each {
				o.Observe(q, r)
			}
		})
	}
	wait.Go(func() {
		for range 20 {
			if _, err := m.Registry().(client.Gatherer).Gather(); err != nil {
				t.Error(err)
			}
		}
	})
	wait.Wait()
	want := fmt.Sprintf(`coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} %d`+"\n", counting*each)
	if !strings.Contains(scrape(t, m), want) {
		t.Errorf("%s is missing", want)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	m := newMetrics(t)
	q, r := ask(t, "a.example.org.", dns.TypeA, "192.0.2.7:1", message.UDP, true)
	for _, zones := range [][]string{{"."}, {"example.org.", "in-addr.arpa."}} {
		o := observer(t, m, "dns://:53", "errors", zones...)
		if n := testing.AllocsPerRun(100, func() { o.Observe(q, r) }); n != 0 {
			t.Errorf("%v allocations for %d zones", n, len(zones))
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, zones := range [][]string{{"."}, {"cluster.local.", "in-addr.arpa.", "ip6.arpa."}} {
		b.Run(fmt.Sprint(len(zones), "zones"), func(b *testing.B) {
			o := observer(b, newMetrics(b), "dns://:53", "errors", zones...)
			q, r := ask(b, "web.prod.svc.cluster.local.", dns.TypeAAAA, "192.0.2.7:1", message.UDP, true)
			b.ReportAllocs()
			for b.Loop() {
				o.Observe(q, r)
			}
		})
	}
}

// scrape returns what /metrics shows.
func scrape(t testing.TB, m *prometheus.Metrics) string {
	t.Helper()
	response := httptest.NewRecorder()
	m.Handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, prometheus.Path, nil))
	if response.Code != http.StatusOK {
		t.Fatalf("%d\n%s", response.Code, response.Body)
	}
	return response.Body.String()
}
