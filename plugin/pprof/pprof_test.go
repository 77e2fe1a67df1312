package pprof_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/pprof"
)

func TestParse(t *testing.T) {
	const nothing = "a rate of %d records no wait, the line has no effect: block alone records all (Corefile:3)"
	tests := []struct {
		lines   string
		address string
		block   int
		warning string
	}{
		{"pprof", "localhost:6053", 0, ""},
		{"pprof :6060", ":6060", 0, ""},
		{"pprof [::1]:6060 {\n}", "[::1]:6060", 0, ""},
		{"pprof {\nblock\n}", "localhost:6053", 1, ""},
		{"pprof :6060 {\nblock 20\n}", ":6060", 20, ""},
		{"pprof {\nblock 20\nblock\n}", "localhost:6053", 1, ""},
		{"pprof {\nblock 0\n}", "localhost:6053", 0, fmt.Sprintf(nothing, 0)},
		{"pprof {\nblock -1\n}", "localhost:6053", -1, fmt.Sprintf(nothing, -1)},
	}
	for _, tt := range tests {
		o, err := pprof.Parse(plugintest.Directive(t, tt.lines))
		warning := ""
		for _, w := range o.Warnings {
			warning += w.String()
		}
		if err != nil || o.Address != tt.address || o.Block != tt.block || warning != tt.warning {
			t.Errorf("%q: got %+v, %v", tt.lines, o, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"pprof 6060", "Corefile:2 - Error during parsing: address 6060: missing port in address"},
		{"pprof :1 :2", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after ':2'"},
		{"pprof\npprof :1", "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"pprof {\nblock 1 2\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '2'"},
		{"pprof {\nblock often\n}", "Corefile:3 - Error during parsing: property 'block' invalid integer value 'often'"},
		{"pprof {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
	}
	for _, tt := range tests {
		if _, err := pprof.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

func TestExplain(t *testing.T) {
	const profiles = "/debug/pprof/ at :1 shows what the process spends time and memory on"
	for lines, want := range map[string]string{
		"pprof :1":                  profiles,
		"pprof :1 {\nblock\n}":      profiles + "; records every wait of a goroutine",
		"pprof :1 {\nblock 1000\n}": profiles + "; records one wait of a goroutine for every 1000 ns of waiting",
		"pprof :1 {\nblock -1\n}":   profiles,
	} {
		o, err := pprof.Parse(plugintest.Directive(t, lines))
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, clause := range o.Explain() {
			texts = append(texts, clause.Text)
		}
		if got := strings.Join(texts, "; "); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", lines, got, want)
		}
	}
}

// TestHandler asks for each of the paths, by a client that leaves at once, so that none waits for what is yet to come. The
// answer has some text.
func TestHandler(t *testing.T) {
	for _, tt := range []struct{ path, want, has string }{
		{"/debug/pprof", "302 /debug/pprof/", ""},
		{"/debug/pprof/", "200", "Types of profiles available"},
		{"/debug/pprof/goroutine?debug=1", "200", "goroutine profile: total"},
		{"/debug/pprof/block?debug=1", "200", "cycles/second="},
		{"/debug/pprof/nosuch", "404", "Unknown profile"},
		{"/debug/pprof/cmdline", "200", "pprof.test"},
		{"/debug/pprof/symbol", "200", "num_symbols: 1"},
		{"/debug/pprof/profile", "200", "\x1f\x8b"},
		{"/debug/pprof/trace", "200", "go 1."},
		{"/", "404", "404 page not found"},
		{"/debug", "404", "404 page not found"},
	} {
		left, leave := context.WithCancel(t.Context())
		leave()
		w := httptest.NewRecorder()
		pprof.Handler().ServeHTTP(w, httptest.NewRequestWithContext(left, http.MethodGet, tt.path, nil))
		got := strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Header().Get("Location")))
		if got != tt.want || !strings.Contains(w.Body.String(), tt.has) {
			t.Errorf("%s: got %s %q", tt.path, got, w.Body)
		}
	}
}
