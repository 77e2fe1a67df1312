package health

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/endpoint"
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

func TestAsk(t *testing.T) {
	environment, out := plugintest.Env(t, "health", journal.Text)
	e := endpoint.New("127.0.0.1:0", Path, endpoint.Way{}, http.HandlerFunc(Answer))
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{Address: "127.0.0.1:0"}, e, environment)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{}
	h.ask(t.Context(), client)
	if n := testutil.ToFloat64(h.metrics.failures); n != 0 {
		t.Errorf("%v failures while it serves", n)
	}
	h.Stop()
	e.Stop()
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
			h, err := New(Options{Lameduck: tt.lameduck}, nil, environment)
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
