package loadbalance_test

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"loadbalance x", "Corefile:2 - Error during parsing: unknown policy: x"},
		{"loadbalance round_robin x", "Corefile:2 - Error during parsing: unknown property for round_robin"},
		{"loadbalance {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
		{"loadbalance weighted weights {\nreload 10s\n}", "Corefile:2 - Error during parsing: policy weighted is not supported by Waypost yet: use round_robin"},
		{"loadbalance {\nprefer 10.0.0.0/8\n}", "Corefile:3 - Error during parsing: prefer is not supported by Waypost yet: leave it out, and clients see all addresses in random order"},
	}
	for _, tt := range tests {
		if _, err := loadbalance.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// TestRotates: each of three addresses comes first about as often as the others. The bound is five standard deviations.
func TestRotates(t *testing.T) {
	o, err := loadbalance.Parse(plugintest.Directive(t, "loadbalance round_robin\nloadbalance"))
	if err != nil {
		t.Fatal(err)
	}
	step := loadbalance.New(o)
	var set []byte
	for i := range byte(3) {
		set = message.AppendAddress(set, []byte{192, 0, 2, i}, 5)
	}
	q := plugintest.Ask(t, "example.org.", dns.TypeA)
	const rounds = 3000
	first := map[string]int{}
	for range rounds {
		r := plugintest.Begin(q)
		if v := step.Serve(q, r); v != message.Next {
			t.Fatalf("verdict %d", v)
		}
		r.Addresses(message.Answer, message.QuestionAt, set)
		m := plugintest.Message(t, r)
		if len(m.Answer) != 3 {
			t.Fatalf("%d answers", len(m.Answer))
		}
		first[m.Answer[0].String()]++
	}
	for address, n := range first {
		if n < rounds/3-130 || n > rounds/3+130 {
			t.Errorf("%s comes first %d times of %d", address, n, rounds)
		}
	}
	if len(first) != 3 {
		t.Errorf("%d addresses come first", len(first))
	}
}
