package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/account"
)

// services is a Plan of Services that have nothing but a name. One that is called "gone" goes between the list and the
// question.
type services []cluster.Key

func (s services) Services() []cluster.Key { return s }

func (s services) Account(key cluster.Key) (account.Service, bool) {
	return account.Service{Namespace: key.Namespace, Name: key.Name, Why: "a <test>"}, key.Name != "gone"
}

func serve(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPaths(t *testing.T) {
	o := Options{Metrics: text("metrics\n"), Plan: services{}, Mode: "nftables", Config: map[string]int{"a": 1}}
	plain := "http://" + serve(t, Handler(o))
	o.Profiling = true
	profiled := "http://" + serve(t, Handler(o))
	for _, c := range []struct {
		url  string
		code int
		body string
	}{
		{plain + "/metrics", 200, "metrics\n"},
		{plain + "/healthz", 200, "ok"},
		{plain + "/proxyMode", 200, "nftables"},
		{plain + "/configz", 200, "{\"kubeproxy.config.k8s.io\":{\"a\":1}}\n"},
		{plain + "/routes", 200, "null\n"},
		{plain + "/debug/pprof/cmdline", 404, "404 page not found\n"},
		{plain + "/", 404, "404 page not found\n"},
	} {
		if code, body := get(t, c.url); code != c.code || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.url, code, body, c.code, c.body)
		}
	}
	if code, body := get(t, profiled+"/debug/pprof/cmdline"); code != 200 || !strings.Contains(body, "page.test") {
		t.Errorf("/debug/pprof/cmdline: %d %q", code, body)
	}
}

// Metrics may be open to the network; routes are told on the node only.
func TestRoutesAreForTheNode(t *testing.T) {
	h := Handler(Options{Metrics: text(""), Plan: services{}})
	node := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 10249}
	for from, want := range map[string]int{
		"127.0.0.1:4000": 200, "[::1]:4000": 200, "[::ffff:127.0.0.1]:4000": 200, "192.0.2.1:4000": 200,
		"192.0.2.2:4000": 403, "[2001:db8::1]:4000": 403, "@": 403,
	} {
		r := httptest.NewRequest(http.MethodGet, "/routes", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, node)))
		if w.Code != want {
			t.Errorf("asked from %s: %d, want %d", from, w.Code, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	plan := services{{Namespace: "a", Name: "x"}, {Namespace: "a", Name: "gone"}, {Namespace: "a", Name: "y"}, {Namespace: "b", Name: "x"}}
	address := serve(t, Handler(Options{Metrics: text(""), Plan: plan}))
	for _, c := range []struct {
		query Query
		want  []string
	}{
		{Query{}, []string{"a/x", "a/y", "b/x"}},
		{Query{Namespace: "a"}, []string{"a/x", "a/y"}},
		{Query{Name: "x"}, []string{"a/x", "b/x"}},
		{Query{Namespace: "b", Name: "x"}, []string{"b/x"}},
		{Query{Namespace: "c"}, nil},
	} {
		var got []string
		err := Routes(context.Background(), address, c.query, func(s *account.Service) error {
			if s.Why != "a <test>" {
				t.Errorf("the account is %+v", s)
			}
			got = append(got, s.Namespace+"/"+s.Name)
			return nil
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %v; want %v", c.query, got, err, c.want)
		}
	}
}

func TestRoutesThatAreNotWhole(t *testing.T) {
	one, err := json.Marshal(account.Service{Namespace: "a", Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"the end is missing", func(w http.ResponseWriter, _ *http.Request) { w.Write(one) }, "read routes from %s: unexpected EOF"},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "read routes from %s: invalid character '<' looking for beginning of value"},
		{"another program", http.NotFound, "ask waypost-proxy on %s for routes: it answers 404 Not Found; is it somebody else?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := serve(t, c.handler)
			err := Routes(context.Background(), address, Query{}, func(*account.Service) error { return nil })
			if want := fmt.Sprintf(c.want, address); err == nil || err.Error() != want {
				t.Errorf("the error is %v, want %s", err, want)
			}
		})
	}
	broken := errors.New("broken pipe")
	address := serve(t, Handler(Options{Metrics: text(""), Plan: services{{Namespace: "a", Name: "x"}}}))
	if err := Routes(context.Background(), address, Query{}, func(*account.Service) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the visitor's error becomes %v", err)
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:10249": "127.0.0.1:10249", "[::]:10249": "[::1]:10249", "192.0.2.1:10249": "192.0.2.1:10249", "127.0.0.1:1": "127.0.0.1:1",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s is reached at %s, want %s", address, got, want)
		}
	}
}
