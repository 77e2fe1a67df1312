package loadbalance_test

import (
	"fmt"
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
		{"loadbalance weighted weights {\nreload 10s\n}", "Corefile:2 - Error during parsing: policy weighted is not supported by Waypost yet: use round_robin"},
		{"loadbalance {\nprefer 10.0.0.0/8 10.0.0.1\n}", `Corefile:3 - Error during parsing: invalid CIDR "10.0.0.1": invalid CIDR address: 10.0.0.1`},
		{"loadbalance {\nprefer 10.0.0.0/33\n}", `Corefile:3 - Error during parsing: invalid CIDR "10.0.0.0/33": invalid CIDR address: 10.0.0.0/33`},
	}
	for _, tt := range tests {
		if _, err := loadbalance.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}
