package loadbalance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"loadbalance x", "Corefile:2 - Error during parsing: unknown policy: x"},
		{"loadbalance round_robin x", "Corefile:2 - Error during parsing: unknown property for round_robin"},
		{"loadbalance {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
		{"loadbalance {\nreload 10s\n}", "Corefile:3 - Error during parsing: unknown property 'reload'"},
		{"loadbalance weighted", "Corefile:2 - Error during parsing: missing weight file argument"},
		{"loadbalance weighted a b", "Corefile:2 - Error during parsing: unexpected argument(s)"},
		{"loadbalance weighted /dev/null {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
		{"loadbalance weighted /dev/null {\nprefer 10.0.0.0/8\n}", "Corefile:3 - Error during parsing: unknown property 'prefer'"},
		{"loadbalance weighted /dev/null {\nreload\n}", "Corefile:3 - Error during parsing: reload duration value is missing"},
		{"loadbalance weighted /dev/null {\nreload 1s 2s\n}", "Corefile:3 - Error during parsing: unexpected argument"},
		{"loadbalance weighted /dev/null {\nreload x\n}", "Corefile:3 - Error during parsing: invalid reload duration 'x'"},
		{"loadbalance weighted /dev/null {\nreload -1s\n}", "Corefile:3 - Error during parsing: invalid reload duration '-1s'"},
		{"loadbalance\nloadbalance weighted /nowhere {\nreload 0s\n}", "Corefile:3 - Error during parsing: stat /nowhere: no such file or directory"},
		{"loadbalance weighted /", "Corefile:2 - Error during parsing: read /: is a directory"},
		{"loadbalance weighted BROKEN", "Corefile:2 - Error during parsing: weight file BROKEN:2: wrong weight value:\"0\""},
		{"loadbalance {\nprefer 10.0.0.0/8 10.0.0.1\n}", `Corefile:3 - Error during parsing: invalid CIDR "10.0.0.1": invalid CIDR address: 10.0.0.1`},
		{"loadbalance {\nprefer 10.0.0.0/33\n}", `Corefile:3 - Error during parsing: invalid CIDR "10.0.0.0/33": invalid CIDR address: 10.0.0.0/33`},
	}
	files := strings.NewReplacer("BROKEN", weightFile(t, "a.example\n10.0.0.1 0"))
	for _, tt := range tests {
		if _, err := loadbalance.Parse(plugintest.Directive(t, files.Replace(tt.lines))); fmt.Sprint(err) != files.Replace(tt.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// TestParseLines: of several lines the policy of the last one counts, and networks add up.
func TestParseLines(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"loadbalance", `[] "" 0s`},
		{"loadbalance weighted /dev/null", `[] "/dev/null" 30s`},
		{"loadbalance weighted /dev/null {\nreload 5s\nreload 1m\n}", `[] "/dev/null" 1m0s`},
		{"loadbalance weighted /dev/null\nloadbalance", `[] "" 0s`},
		{"loadbalance {\nprefer 10.0.0.0/8\n}\nloadbalance weighted /dev/null {\nreload 0s\n}", `[] "/dev/null" 0s`},
		{"loadbalance {\nprefer 10.0.0.0/8\n}\nloadbalance {\nprefer fd00::1/8\n}", `[10.0.0.0/8 fd00::/8] "" 0s`},
	}
	for _, tt := range tests {
		o, err := loadbalance.Parse(plugintest.Directive(t, tt.lines))
		if err != nil || o.Meaning() != tt.want {
			t.Errorf("%q: got %s, %v, want %s", tt.lines, o.Meaning(), err, tt.want)
		}
	}
}

// TestParseAbsent: a weight file that is not there yet may be later.
func TestParseAbsent(t *testing.T) {
	o, err := loadbalance.Parse(plugintest.Directive(t, "loadbalance weighted /nowhere {\nreload 5s\n}"))
	want := "[Failed to open weight file: stat /nowhere: no such file or directory. Will try again in 5s (Corefile:2)]"
	if err != nil || fmt.Sprint(o.Warnings) != want {
		t.Errorf("got  %v, %v\nwant %s", o.Warnings, err, want)
	}
}
