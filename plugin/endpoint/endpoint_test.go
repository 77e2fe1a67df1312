package endpoint_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/plugintest"
)

// saying answers each request with its own text.
type saying string

func (s saying) ServeHTTP(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, string(s)) }

func TestEndpoint(t *testing.T) {
	e := endpoint.New("127.0.0.1:0", "/here", endpoint.Way{}, saying("one"))
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, e, "/here"); got != "200 one" {
		t.Errorf("got %s", got)
	}
	if got := fetch(t, e, "/"); !strings.HasPrefix(got, "404 ") {
		t.Errorf("/: got %s", got)
	}
	e.Handle(saying("two"))
	if got := fetch(t, e, "/here"); got != "200 two" {
		t.Errorf("with another handler: got %s", got)
	}
	e.Stop()
	if _, err := http.Get("http://" + e.Addr().String() + "/here"); err == nil {
		t.Error("answered after the end")
	}
}

// TestTree: a path with a slash at its end is all that is below it.
func TestTree(t *testing.T) {
	e := endpoint.New("127.0.0.1:0", "/a/b/", endpoint.Way{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	for path, want := range map[string]string{
		"/a/b": "200 /a/b", "/a/b/": "200 /a/b/", "/a/b/c/d": "200 /a/b/c/d", "/a/bc": "404 404 page not found\n", "/a": "404 404 page not found\n",
	} {
		if got := fetch(t, e, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestStartNamesTheAddress(t *testing.T) {
	e := endpoint.New("192.0.2.1:8080", "/here", endpoint.Way{}, saying("")) // none of this host's
	if err := e.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `serve /here at "192.0.2.1:8080"`) {
		t.Errorf("got %v", err)
	}
}

func fetch(t *testing.T, e *endpoint.Endpoint, path string) string {
	t.Helper()
	response, err := http.Get("http://" + e.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode, " ", string(body))
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"health", ":1 <nil>"},
		{"health :8080", ":8080 <nil>"},
		{"health [::1]:8080", "[::1]:8080 <nil>"},
		{"health 8080", " Corefile:2 - Error during parsing: address 8080: missing port in address"},
		{"health :1 :2", " Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after ':2'"},
	} {
		c := plugintest.Directive(t, tt.line).Dispenser()
		c.Next()
		address, err := endpoint.ParseAddress(c, ":1")
		if got := fmt.Sprint(address, " ", err); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.line, got, tt.want)
		}
	}
}
