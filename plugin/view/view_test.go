package view_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/view"
)

func TestParse(t *testing.T) {
	tests := []struct{ lines, name, explained, warned string }{
		{"view a", "a", "takes all queries; they are counted as those of view a", ""},
		{"view \"a b\" {\n}", "a b", "takes all queries; they are counted as those of view a b", ""},
		{"view a {\nexpr type() == 'A'\nexpr incidr(client_ip(), '192.0.2.0/24')\n}", "a",
			"takes only queries of which this is true: type() == 'A'; takes only queries of which this is true: incidr(client_ip(), '192.0.2.0/24'); they are counted as those of view a", ""},
		{"view a {\nexpr \"size()\"  > 40\n}", "a", "takes only queries of which this is true: size() > 40; they are counted as those of view a", ""},
		{"view a {\nexpr name()\n}", "a", "takes only queries of which this is true: name(); they are counted as those of view a",
			"name() is never true, so that the server block is never asked: it is a string (Corefile:3)"},
		{"view a {\nexpr [1, true][1]\n}", "a", "takes only queries of which this is true: [1, true][1]; they are counted as those of view a", ""},
	}
	for _, tt := range tests {
		o, err := view.Parse(plugintest.Directive(t, tt.lines))
		if err != nil {
			t.Errorf("%q: %v", tt.lines, err)
			continue
		}
		var explained, warned []string
		for _, clause := range o.Explain() {
			explained = append(explained, clause.Text)
		}
		for _, w := range o.Warnings {
			warned = append(warned, w.String())
		}
		if got := strings.Join(explained, "; "); o.Name != tt.name || got != tt.explained || strings.Join(warned, "\n") != tt.warned {
			t.Errorf("%q: view %q\ngot  %s, %q\nwant %s, %q", tt.lines, o.Name, got, warned, tt.explained, tt.warned)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"view", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'view'"},
		{"view a b", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'"},
		{"view a {\n}\nview b", "Corefile:4 - Error during parsing: this plugin can only be used once per Server Block"},
		{"view a {\nexp true\n}", "Corefile:3 - Error during parsing: unknown property 'exp'"},
		{"view a {\nexpr\n}", "Corefile:3 - Error during parsing: unexpected token EOF"},
		{"view a {\nexpr nosuch()\n}", "Corefile:3 - Error during parsing: unknown name nosuch (1:1)\n | nosuch()\n | ^"},
		{"view a {\nexpr size() == '1'\n}", "Corefile:3 - Error during parsing: invalid operation: == (mismatched types int and string) (1:8)\n | size() == '1'\n | .......^"},
	}
	for _, tt := range tests {
		if _, err := view.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// TestTakes asks about www.example.org., of 192.0.2.7.
func TestTakes(t *testing.T) {
	tests := []struct {
		exprs string // each on its line
		want  bool
	}{
		{"", true},
		{"expr client_ip() == '192.0.2.7'", true},
		{"expr client_ip() == '192.0.2.8'", false},
		{"expr incidr(client_ip(), '192.0.2.0/29')", true},
		{"expr name() matches '^www\\\\..*$' && type() in ['A', 'AAAA']", true},
		{"expr type() == 'AAAA'\nexpr proto() == 'udp'", true},
		{"expr type() == 'AAAA'\nexpr proto() == 'tcp'", false},
		{"expr type() == 'A'\nexpr proto() == 'udp'", false},
		{"expr metadata('view/name') == ''", true},
		{"expr 1", false},
		{"expr 'true'", false},
		{"expr [1, true][1]", true},
		{"expr incidr(name(), '192.0.2.0/24')", false},
		{"expr !incidr(name(), '192.0.2.0/24')", false},
	}
	q := plugintest.Ask(t, "WWW.example.org.", dns.TypeAAAA)
	for _, tt := range tests {
		o, err := view.Parse(plugintest.Directive(t, "view a {\n"+tt.exprs+"\n}"))
		if err != nil {
			t.Errorf("%s: %v", tt.exprs, err)
			continue
		}
		if got := view.New(o).Takes(q); got != tt.want {
			t.Errorf("%s: %t", tt.exprs, got)
		}
	}
}

// TestTakesAtOnce has one view decide about queries of many goroutines, the same query again and again.
func TestTakesAtOnce(t *testing.T) {
	o, err := view.Parse(plugintest.Directive(t, "view a {\nexpr name() == 'a.' && type() == 'A' || type() == 'MX' && name() == 'b.'\nexpr incidr(client_ip(), '192.0.2.0/24')\n}"))
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(o)
	var asking sync.WaitGroup
	for _, tt := range []struct {
		name string
		typ  uint16
		want bool
	}{{"a.", dns.TypeA, true}, {"a.", dns.TypeMX, false}, {"b.", dns.TypeA, false}, {"b.", dns.TypeMX, true}} {
		for range 4 {
			q := plugintest.Ask(t, tt.name, tt.typ)
			asking.Go(func() {
				for range 200 {
					if got := v.Takes(q); got != tt.want {
						t.Errorf("%s %s: %t", tt.name, dns.TypeToString[tt.typ], got)
						return
					}
				}
			})
		}
	}
	asking.Wait()
}

// BenchmarkTakes is what a view costs each query that comes to it.
func BenchmarkTakes(b *testing.B) {
	o, err := view.Parse(plugintest.Directive(b, "view a {\nexpr incidr(client_ip(), '192.0.2.0/24')\n}"))
	if err != nil {
		b.Fatal(err)
	}
	v, q := view.New(o), plugintest.Ask(b, "www.example.org.", dns.TypeA)
	b.ReportAllocs()
	for b.Loop() {
		if !v.Takes(q) {
			b.Fatal("not taken")
		}
	}
}
