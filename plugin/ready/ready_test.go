package ready_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/ready"
)

func TestParse(t *testing.T) {
	tests := []struct {
		lines string
		want  ready.Options
	}{
		{"ready", ready.Options{Address: ":8181"}},
		{"ready localhost:1234 {\nmonitor continuously\n}", ready.Options{Address: "localhost:1234", Continuously: true}},
		{"ready {\nmonitor continuously\nmonitor until-ready\n}", ready.Options{Address: ":8181"}},
	}
	for _, tt := range tests {
		if got, err := ready.Parse(plugintest.Directive(t, tt.lines)); got != tt.want || err != nil {
			t.Errorf("%q: got %+v, %v", tt.lines, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"ready x", "Corefile:2 - Error during parsing: address x: missing port in address"},
		{"ready a b", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"ready\nready", "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"ready {\nmonitor\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'monitor'"},
		{"ready {\nmonitor x\n}", "Corefile:3 - Error during parsing: monitor type 'x' not supported"},
		{"ready {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
	}
	for _, tt := range tests {
		if _, err := ready.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// part is a directive whose readiness the test sets.
type part bool

func (p *part) Ready() bool { return bool(*p) }

// TestStates walks through the life of three watched directives, two of one name.
func TestStates(t *testing.T) {
	steps := []struct {
		ready        string // which are ready: a letter each
		until, again string // what the two modes answer
	}{
		{"", "503 file,kubernetes", "503 file,kubernetes"},
		{"a", "503 file,kubernetes", "503 file,kubernetes"},
		{"ac", "503 kubernetes", "503 kubernetes"},
		{"b", "200 OK", "503 file,kubernetes"}, // a and c have been ready, and only one mode asks them again
		{"abc", "200 OK", "200 OK"},
		{"", "200 OK", "503 file,kubernetes"},
	}
	for _, continuously := range []bool{false, true} {
		environment, _ := plugintest.Env(t, "ready", journal.Text)
		r := ready.New(environment)
		r.Add(ready.Options{Address: "127.0.0.1:0", Continuously: continuously})
		parts := map[string]*part{"a": new(part), "b": new(part), "c": new(part)}
		r.Watch("kubernetes", parts["a"])
		r.Watch("kubernetes", parts["b"])
		r.Watch("file", parts["c"])
		for i, step := range steps {
			for name, p := range parts {
				*p = part(strings.Contains(step.ready, name))
			}
			want := step.until
			if continuously {
				want = step.again
			}
			if got := fetch(r); got != want {
				t.Errorf("continuously %t, step %d: got %s, want %s", continuously, i, got, want)
			}
		}
	}
}

func TestEnd(t *testing.T) {
	environment, out := plugintest.Env(t, "ready", journal.Text)
	r := ready.New(environment)
	r.Watch("kubernetes", new(part))
	if got := fetch(r); got != "503 kubernetes" {
		t.Errorf("before: got %s", got)
	}
	r.Drain(t.Context())
	if got := fetch(r); got != "503 Shutting down" {
		t.Errorf("draining: got %s", got)
	}
	if got, want := out.Take(), "[INFO] plugin/ready: Plugins not ready: \"kubernetes\"\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func fetch(r *ready.Ready) string {
	response := httptest.NewRecorder()
	r.ServeHTTP(response, httptest.NewRequest(http.MethodGet, ready.Path, nil))
	return fmt.Sprint(response.Code, " ", response.Body)
}
