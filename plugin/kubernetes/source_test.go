package kubernetes

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// begin starts a directive of these lines, and ends it with the test. It returns once the cluster is known or
// startup_timeout is over.
func begin(t *testing.T, lines string) *Kubernetes {
	t.Helper()
	o, err := parse(t, ".:53 {\nkubernetes cluster.local {\n"+lines+"\n}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "kubernetes", journal.Text)
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
		k := begin(t, "endpoint "+server.URL+"\nstartup_timeout 200ms\n"+tt.lines)
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

// clusterOf answers like an API server that has one Service, and keeps who asked.
type clusterOf struct {
	mu    sync.Mutex
	asked map[string]bool // names of clients, as their certificates say
}

func (c *clusterOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	for _, certificate := range r.TLS.PeerCertificates {
		c.asked[strings.Join(certificate.DNSNames, ",")] = true
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Has("watch") {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	items := map[string]string{
		"/api/v1/namespaces": `{"metadata": {"name": "prod"}}`,
		"/api/v1/services":   `{"metadata": {"name": "web", "namespace": "prod"}, "spec": {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": [{"port": 80, "protocol": "TCP"}]}}`,
	}
	fmt.Fprintf(w, `{"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [%s]}`, items[r.URL.Path])
}

// TestTLS: an API server that wants to know who asks is shown the certificate that the Corefile names, and is believed only
// if its own is of the authority named there.
func TestTLS(t *testing.T) {
	server, ours, stranger := upstreamtest.NewIdentity(t, "api"), upstreamtest.NewIdentity(t, "dns"), upstreamtest.NewIdentity(t, "stranger")
	certificate, key, _ := ours.Files(t)
	strangeCertificate, strangeKey, strangeAuthority := stranger.Files(t)
	_, _, authority := server.Files(t)
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
			c := &clusterOf{asked: map[string]bool{}}
			api := httptest.NewUnstartedServer(c)
			api.EnableHTTP2 = true
			api.TLS = &tls.Config{Certificates: []tls.Certificate{server.Certificate}, ClientCAs: ours.Roots, ClientAuth: tls.RequireAndVerifyClientCert}
			api.StartTLS()
			t.Cleanup(api.Close)
			k := begin(t, "endpoint "+api.URL+"\ntls "+tt.tls+"\nstartup_timeout "+tt.timeout)
			k.Stop()
			q := plugintest.Ask(t, "web.prod.svc.cluster.local.", dns.TypeA)
			r := plugintest.Begin(q)
			k.Serve(q, r)
			m := plugintest.Message(t, r)
			if answered := len(m.Answer) == 1 && m.Answer[0].(*dns.A).A.String() == "10.96.1.1"; answered != tt.known || k.Ready() != tt.known {
				t.Errorf("ready %t: %v", k.Ready(), m)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := fmt.Sprint(c.asked); got != tt.asked {
				t.Errorf("asked by %s, want %s", got, tt.asked)
			}
		})
	}
}
