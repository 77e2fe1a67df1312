package errors_test

import (
	stderrors "errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/errors"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"errors", ""},
		{"errors stdout", ""},
		{"errors {\nstacktrace\nconsolidate 5m \".* i/o timeout$\" warning\n}", ""},
		{"errors file", "Corefile:2 - Error during parsing: invalid log file: file"},
		{"errors a b", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"errors\nerrors", "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"errors {\nbla\n}", "Corefile:3 - Syntax error: Unexpected token 'bla', expecting 'Unknown field bla'"},
		{"errors {\nconsolidate 5m\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '5m'"},
		{"errors {\nconsolidate 5x a\n}", "Corefile:3 - Error during parsing: time: unknown unit \"x\" in duration \"5x\""},
		{"errors {\nconsolidate 5s a(\n}", "Corefile:3 - Error during parsing: error parsing regexp: missing closing ): `a(`"},
		{"errors {\nconsolidate 5s a x\n}", "Corefile:3 - Error during parsing: unknown option in consolidate: x"},
		{"errors {\nconsolidate 5s a info debug\n}", "Corefile:3 - Error during parsing: multiple log levels specified in consolidate"},
		{"errors {\nconsolidate 5s a show_first info\n}", "Corefile:3 - Error during parsing: log level must come before show_first in consolidate"},
	}
	for _, tt := range tests {
		_, err := errors.Parse(plugintest.Directive(t, tt.lines))
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.lines, got, tt.want)
		}
	}
}

// TestLines says what is printed for errors that come a second apart, from the texts that stand in each test.
func TestLines(t *testing.T) {
	tests := []struct {
		name, lines string
		errors      []string
		want        string
	}{
		{"no error", "errors", []string{""}, ""},
		{"each", "errors", []string{"plugin/log: no next plugin found", "b"},
			"[ERROR] plugin/errors: 2 www.example.org. HTTPS: plugin/log: no next plugin found\n" +
				"[ERROR] plugin/errors: 2 www.example.org. HTTPS: b\n"},
		{"consolidated at the end of the period", "errors {\nconsolidate 2500ms timeout$ warning\n}",
			[]string{"i/o timeout", "other", "timeout", "timeout 2", "timeout"},
			"[ERROR] plugin/errors: 2 www.example.org. HTTPS: other\n" +
				"[WARNING] plugin/errors: 2 errors like 'timeout$' occurred in last 2.5s\n" +
				"[ERROR] plugin/errors: 2 www.example.org. HTTPS: timeout 2\n" +
				"[WARNING] plugin/errors: 1 errors like 'timeout$' occurred in last 2.5s\n"},
		{"first pattern wins", "errors {\nconsolidate 1m a info\nconsolidate 1m b\n}", []string{"ab", "b", "b"},
			"[INFO] plugin/errors: 1 errors like 'a' occurred in last 1m0s\n" +
				"[ERROR] plugin/errors: 2 errors like 'b' occurred in last 1m0s\n"},
		{"show_first", "errors {\nconsolidate 1m a warning show_first\n}", []string{"a1", "a2", "a3"},
			"[WARNING] plugin/errors: 2 www.example.org. HTTPS: a1\n" +
				"[WARNING] plugin/errors: 3 errors like 'a' occurred in last 1m0s\n"},
		{"show_first alone", "errors {\nconsolidate 1m a show_first\n}", []string{"a1"},
			"[ERROR] plugin/errors: 2 www.example.org. HTTPS: a1\n"},
		{"debug is not printed", "errors {\nconsolidate 1m a debug\n}", []string{"a1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := observe(t, tt.lines, tt.errors)
				if got != tt.want {
					t.Errorf("got:\n%swant:\n%s", got, tt.want)
				}
			})
		})
	}
}

func observe(t *testing.T, lines string, texts []string) string {
	o, err := errors.Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	environment, out := plugintest.Env(t, "errors", journal.Text)
	e := errors.New(o, environment)
	q := plugintest.Ask(t, "www.Example.org.", dns.TypeHTTPS)
	for _, text := range texts {
		r := plugintest.Begin(q)
		r.Rcode = message.ServFail
		if text != "" {
			r.Err = stderrors.New(text)
		}
		e.Observe(q, r)
		time.Sleep(time.Second)
	}
	e.Stop()
	return out.Take()
}

func TestAfterStop(t *testing.T) {
	o, err := errors.Parse(plugintest.Directive(t, "errors {\nconsolidate 1h a\n}"))
	if err != nil {
		t.Fatal(err)
	}
	environment, out := plugintest.Env(t, "errors", journal.Text)
	e := errors.New(o, environment)
	e.Stop()
	q := plugintest.Ask(t, ".", dns.TypeNS)
	r := plugintest.Begin(q)
	r.Err = stderrors.New("a")
	e.Observe(q, r)
	if got, want := out.Take(), "[ERROR] plugin/errors: 0 . NS: a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
