package kubernetes

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// begin starts a directive of these lines, and ends it with the test. It returns once the cluster is known or
// startup_timeout is over.
func begin(t *testing.T, e env.Env, lines string) *Kubernetes {
	t.Helper()
	o, err := parse(t, ".:53 {\nkubernetes cluster.local {\n"+lines+"\n}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestLimits: apiserver_qps, apiserver_burst and apiserver_max_inflight bound what comes to the API server. This one answers
// nothing, so that each request stays in flight.
func TestLimits(t *testing.T) {
	const kinds = 3 // each is asked for once, if nothing forbids it
	for _, tt := range []struct {
		lines string
		want  int
	}{
		{"", kinds},
		{"apiserver_qps 0.001", kinds}, // 10 at once by default
		{"apiserver_qps 0.001\napiserver_burst 1", 1},
		{"apiserver_qps 0.001\napiserver_burst 2", 2},
		{"apiserver_qps 1000\napiserver_burst 1", kinds},
		{"apiserver_max_inflight 1", 1},
		{"apiserver_max_inflight 2", 2},
		{"apiserver_max_inflight 5", kinds},
		{"apiserver_qps 0.001\napiserver_burst 2\napiserver_max_inflight 1", 1},
	} {
		came := make(chan string, 100)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			came <- r.URL.Path
			<-r.Context().Done()
		}))
		t.Cleanup(server.Close)
		e, _ := plugintest.Env(t, "kubernetes", journal.Text)
		k := begin(t, e, "endpoint "+server.URL+"\nstartup_timeout 200ms\n"+tt.lines)
		for range tt.want {
			select {
			case <-came:
			case <-time.After(20 * time.Second):
				t.Fatalf("%q: fewer than %d requests", tt.lines, tt.want)
			}
		}
		k.Stop()
		if n := len(came); n > 0 {
			t.Errorf("%q: %d requests, want %d", tt.lines, tt.want+n, tt.want)
		}
	}
}

// objects answers like an API server that has these, in JSON, by the path of their list. Nothing changes.
type objects map[string]string

func (o objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Has("watch") {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	fmt.Fprintf(w, `{"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [%s]}`, o[r.URL.Path])
}

// TestTLS: an API server that wants to know who asks is shown the certificate that the Corefile names, and is believed only
// if its own is of the authority named there.
func TestTLS(t *testing.T) {
	server, ours, stranger := upstreamtest.NewIdentity(t, "api"), upstreamtest.NewIdentity(t, "dns"), upstreamtest.NewIdentity(t, "stranger")
	certificate, key, _ := ours.Files(t)
	strangeCertificate, strangeKey, strangeAuthority := stranger.Files(t)
	_, _, authority := server.Files(t)
	web := objects{
		"/api/v1/namespaces": `{"metadata": {"name": "prod"}}`,
		"/api/v1/services":   `{"metadata": {"name": "web", "namespace": "prod"}, "spec": {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": [{"port": 80, "protocol": "TCP"}]}}`,
	}
	for _, tt := range []struct {
		name, tls string
		timeout   string
		known     bool   // the cluster
		asked     string // who was seen, by the names in the certificate
	}{
		{"as it should be", certificate + " " + key + " " + authority, "20s", true, "map[dns:true]"},
		{"a client that the server does not know", strangeCertificate + " " + strangeKey + " " + authority, "200ms", false, "map[]"},
		{"a server of another authority", certificate + " " + key + " " + strangeAuthority, "200ms", false, "map[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]bool{}
			api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				for _, certificate := range r.TLS.PeerCertificates {
					asked[strings.Join(certificate.DNSNames, ",")] = true
				}
				mu.Unlock()
				web.ServeHTTP(w, r)
			}))
			api.EnableHTTP2 = true
			api.TLS = &tls.Config{Certificates: []tls.Certificate{server.Certificate}, ClientCAs: ours.Roots, ClientAuth: tls.RequireAndVerifyClientCert}
			api.StartTLS()
			t.Cleanup(api.Close)
			e, _ := plugintest.Env(t, "kubernetes", journal.Text)
			k := begin(t, e, "endpoint "+api.URL+"\ntls "+tt.tls+"\nstartup_timeout "+tt.timeout)
			k.Stop()
			q := plugintest.Ask(t, "web.prod.svc.cluster.local.", dns.TypeA)
			r := plugintest.Begin(q)
			k.Serve(q, r)
			m := plugintest.Message(t, r)
			if answered := len(m.Answer) == 1 && m.Answer[0].(*dns.A).A.String() == "10.96.1.1"; answered != tt.known || k.Ready() != tt.known {
				t.Errorf("ready %t: %v", k.Ready(), m)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(asked); got != tt.asked {
				t.Errorf("asked by %s, want %s", got, tt.asked)
			}
		})
	}
}

// TestSkipped: objects that should never be are counted, wherever they come from, and the rest is served.
func TestSkipped(t *testing.T) {
	api := httptest.NewServer(objects{
		"/api/v1/namespaces": `{"metadata": {"name": "prod"}}`,
		"/api/v1/services": `{"metadata": {"name": "lost"}, "spec": {"clusterIP": "10.96.1.2"}},
			{"metadata": {"name": "zero", "namespace": "prod"}, "spec": {"clusterIP": "10.96.1.3", "clusterIPs": ["10.96.1.3"], "ports": [{"port": 0}]}},
			{"metadata": {"name": "web", "namespace": "prod"}, "spec": {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": [{"port": 80}]}}`,
		"/apis/discovery.k8s.io/v1/endpointslices": `{"metadata": {"name": "web-1", "namespace": "prod"}, "endpoints": [{"addresses": ["abc"]}]}`,
	})
	t.Cleanup(api.Close)
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(`
{apiVersion: v1, kind: Service, metadata: {name: Lost, namespace: prod}, spec: {clusterIP: 10.96.1.2}}
---
{apiVersion: v1, kind: Service, metadata: {name: zero, namespace: prod}, spec: {clusterIP: 10.96.1.3, ports: [{port: 0}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: prod}, spec: {clusterIP: 10.96.1.1, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: prod}, endpoints: [{addresses: [abc]}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"endpoint " + api.URL, "manifests " + file} {
		e, _ := plugintest.Env(t, "kubernetes", journal.Text)
		k := begin(t, e, source+"\nstartup_timeout 20s")
		const name, help = "coredns_kubernetes_skipped_objects_total", "Objects that make no sense and are left out, or a part of them, by resource. Waypost's own."
		want := "# HELP " + name + " " + help + "\n# TYPE " + name + " counter\n" + name + `{resource="endpointslices"} 1` + "\n" + name + `{resource="services"} 2` + "\n"
		if err := testutil.GatherAndCompare(e.Metrics.(prometheus.Gatherer), strings.NewReader(want), name); err != nil {
			t.Errorf("%s: %v", source, err)
		}
		q := plugintest.Ask(t, "web.prod.svc.cluster.local.", dns.TypeA)
		r := plugintest.Begin(q)
		if k.Serve(q, r); len(plugintest.Message(t, r).Answer) != 1 {
			t.Errorf("%s: the rest is not served", source)
		}
	}
}
