package prometheus_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/endpoint"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// users are one, ann, whose password is "secret".
const users = "basic_auth_users:\n  ann: $2a$04$kqPirWk7Enra5Xx.6IDwM.D7eDyerJ8EvIM7LGdie9kbI0joVX6SO\n"

// TestWay fetches the metrics as a web configuration file wants it, which changes.
func TestWay(t *testing.T) {
	identity := upstreamtest.NewIdentity(t)
	certificate, key, _ := identity.Files(t)
	file := filepath.Join(t.TempDir(), "web.yml")
	put := func(text string) { // at once: it may be read at any moment
		err := os.WriteFile(file+".next", []byte(text), 0o600)
		if err = errors.Join(err, os.Rename(file+".next", file)); err != nil {
			t.Fatal(err)
		}
	}
	tlsText := "tls_server_config:\n  cert_file: " + certificate + "\n  key_file: " + key + "\n"
	put(tlsText)
	o, err := prometheus.Parse(plugintest.Directive(t, "prometheus 127.0.0.1:0 {\ntls "+file+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	environment, out := plugintest.Env(t, "prometheus", journal.Text)
	e := endpoint.New(o.Address, prometheus.Path, o.Way("tls", environment.Log), prometheus.New(environment).Handler())
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := e.Addr().String() + prometheus.Path

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: identity.Roots}, DisableKeepAlives: true}}
	get := func(url string) string {
		response, err := client.Get(url)
		if err != nil {
			return "no answer"
		}
		defer response.Body.Close()
		return response.Status
	}
	for _, tt := range []struct{ name, text, url, want string }{
		{"TLS", tlsText, "https://" + at, "200 OK"},
		{"plain HTTP", tlsText, "http://" + at, "400 Bad Request"},
		{"without a password", tlsText + users, "https://" + at, "401 Unauthorized"},
		{"with a wrong one", tlsText + users, "https://ann:other@" + at, "401 Unauthorized"},
		{"with the right one", tlsText + users, "https://ann:secret@" + at, "200 OK"},
		{"broken", "x", "https://" + at, "no answer"},
		{"sound again", tlsText, "https://" + at, "200 OK"},
	} {
		put(tt.text)
		if got := get(tt.url); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	e.Stop()
	if got := get("https://" + at); got != "no answer" {
		t.Errorf("after the end: %s", got)
	}
	want := "[INFO] plugin/prometheus: Listening on address=ADDRESS\n[INFO] plugin/prometheus: TLS is enabled. http2=true address=ADDRESS\n"
	if got := strings.ReplaceAll(out.Take(), e.Addr().String(), "ADDRESS"); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// TestWayUsers: a file without TLS asks for the password over plain HTTP.
func TestWayUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := prometheus.Parse(plugintest.Directive(t, "prometheus 127.0.0.1:0 {\ntls "+file+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	environment, _ := plugintest.Env(t, "prometheus", journal.Text)
	e := endpoint.New(o.Address, prometheus.Path, o.Way("tls", environment.Log), prometheus.New(environment).Handler())
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	for user, want := range map[string]string{"": "401 Unauthorized", "ann:secret@": "200 OK"} {
		response, err := http.Get("http://" + user + e.Addr().String() + prometheus.Path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Status != want {
			t.Errorf("%q: got %s, want %s", user, response.Status, want)
		}
	}
}

// TestWayFails: with a file that is none there is a warning, and no endpoint.
func TestWayFails(t *testing.T) {
	o, err := prometheus.Parse(plugintest.Directive(t, "prometheus 127.0.0.1:0 {\ntls /nowhere\n}"))
	if err != nil {
		t.Fatal(err)
	}
	want := "[no metrics: invalid TLS config: open /nowhere: no such file or directory (Corefile:3)]"
	if got := fmt.Sprint(o.Warnings); got != want {
		t.Errorf("warnings %s, want %s", got, want)
	}
	environment, out := plugintest.Env(t, "prometheus", journal.Text)
	way := o.Way("tls", environment.Log)
	want = `serve /metrics at "127.0.0.1:0": invalid TLS config: open /nowhere: no such file or directory`
	if err := endpoint.New(o.Address, prometheus.Path, way, http.NotFoundHandler()).Start(t.Context()); fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	way.Check = nil // as if the file had gone just now: nobody is left waiting at the address
	e := endpoint.New(o.Address, prometheus.Path, way, http.NotFoundHandler())
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Stop()
	if _, err := http.Get("http://" + e.Addr().String()); err == nil {
		t.Error("answered")
	}
	want = "[ERROR] plugin/prometheus: Failed to start HTTPS metrics server: open /nowhere: no such file or directory\n"
	if got := out.Take(); !strings.HasSuffix(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}
