package health

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParse(t *testing.T) {
	tests := []struct {
		lines string
		want  Options
	}{
		{"health", Options{Address: ":8080"}},
		{"health [::1]:9090", Options{Address: "[::1]:9090"}},
		{"health {\nlameduck 5s\n}", Options{Address: ":8080", Lameduck: 5 * time.Second}},
		{"health :1 {\nlameduck 5s\n}\nhealth :2", Options{Address: ":2", Lameduck: 5 * time.Second}},
	}
	for _, tt := range tests {
		if got, err := Parse(plugintest.Directive(t, tt.lines)); got != tt.want || err != nil {
			t.Errorf("%q: got %+v, %v", tt.lines, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"health foo", "Corefile:2 - Error during parsing: address foo: missing port in address"},
		{"health :80 a", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'a'"},
		{"health {\nlameduck\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'lameduck'"},
		{"health {\nlameduck x\n}", "Corefile:3 - Error during parsing: unable to parse lameduck duration value: 'x' : time: invalid duration \"x\""},
		{"health {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
	}
	for _, tt := range tests {
		if _, err := Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	environment, out := plugintest.Env(t, "health", journal.Text)
	h, err := New(Options{Address: "127.0.0.1:0"}, environment)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := "http://" + h.Addr().String()
	if got, want := fetch(t, base+"/health"), "200 OK"; got != want {
		t.Errorf("/health: got %s, want %s", got, want)
	}
	if got := fetch(t, base+"/"); !strings.HasPrefix(got, "404 ") {
		t.Errorf("/: got %s, want 404", got)
	}
	client := &http.Client{}
	h.ask(t.Context(), client)
	if n := testutil.ToFloat64(h.metrics.failures); n != 0 {
		t.Errorf("%v failures while it serves", n)
	}
	h.Stop()
	client.CloseIdleConnections()
	h.ask(t.Context(), client)
	if n := testutil.ToFloat64(h.metrics.failures); n != 1 {
		t.Errorf("%v failures after one", n)
	}
	if got := out.Take(); !regexp.MustCompile(`^\[WARNING\] plugin/health: Local health request to "http://127\.0\.0\.1:[0-9]+/health" failed: .*refused\n$`).MatchString(got) {
		t.Errorf("printed %q", got)
	}
	if n, err := testutil.GatherAndCount(environment.Metrics.(prometheus.Gatherer), "coredns_health_request_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d histograms, %v", n, err)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
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

func TestStartNamesTheAddress(t *testing.T) {
	environment, _ := plugintest.Env(t, "health", journal.Text)
	h, err := New(Options{Address: "192.0.2.1:8080"}, environment)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `serve /health at "192.0.2.1:8080"`) {
		t.Errorf("got %v", err)
	}
	h.Stop()
}

func TestDrain(t *testing.T) {
	tests := []struct {
		lameduck, cut time.Duration
		want          time.Duration
		printed       string
	}{
		{5 * time.Second, time.Hour, 5 * time.Second, "[INFO] plugin/health: Going into lameduck mode for 5s\n"},
		{5 * time.Second, time.Second, time.Second, "[INFO] plugin/health: Going into lameduck mode for 5s\n"},
		{0, time.Hour, 0, ""},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			environment, out := plugintest.Env(t, "health", journal.Text)
			h, err := New(Options{Lameduck: tt.lameduck}, environment)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.cut)
			defer cancel()
			start := time.Now()
			h.Drain(ctx)
			if took := time.Since(start); took != tt.want {
				t.Errorf("lameduck %s took %s", tt.lameduck, took)
			}
			if got := out.Take(); got != tt.printed {
				t.Errorf("printed %q", got)
			}
		})
	}
}
