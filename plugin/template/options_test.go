package template_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/template"
)

// parse reads the template directives of a block for example.org.
func parse(t testing.TB, lines string) (template.Options, error) {
	t.Helper()
	block := plugintest.Block(t, "example.org {\n"+lines+"\n}")
	return template.Parse(block, block.Directive("template"))
}

func TestParseErrors(t *testing.T) {
	const argument = "Wrong argument count or unexpected line ending after "
	tests := []struct{ lines, want string }{
		{"template", "2 " + argument + "'template'"},
		{"template IN", "2 " + argument + "'IN'"},
		{"template in A", "2 invalid query class in"},
		{"template IN a", "2 invalid RR class a"},
		{"template IN A {\nmatch\n}", "3 " + argument + "'match'"},
		{"template IN A {\nmatch a (\n}", "3 could not parse regex: (, error parsing regexp: missing closing ): `(`"},
		{"template IN A {\nmatch " + strings.Repeat("x", 10001) + "\n}", "3 regex pattern too long: 10001 > 10000"},
		{"template IN A {\nanswer\n}", "3 " + argument + "'answer'"},
		{"template IN A {\nanswer a \"{{\"\n}", "3 could not compile template: {{, template: answer:1: unclosed action"},
		{"template IN A {\nadditional \"{{ .X\"\n}", "3 could not compile template: {{ .X, template: additional:1: unclosed action"},
		{"template IN A {\nauthority \"{{ foo }}\"\n}", "3 could not compile template: {{ foo }}, template: authority:1: function \"foo\" not defined"},
		{"template IN A {\nrcode\n}", "3 " + argument + "'rcode'"},
		{"template IN A {\nrcode noerror\n}", "3 unknown rcode noerror"},
		{"template IN A {\nederror\n}", "3 " + argument + "'ederror'"},
		{"template IN A {\nederror 1 2 3\n}", "3 " + argument + "'3'"},
		{"template IN A {\nederror 65536\n}", "3 error parsing extended DNS error code 65536, strconv.ParseUint: parsing \"65536\": value out of range"},
		{"template IN A {\nfoo bar\n}", "3 " + argument + "'foo'"},
		{"template IN A {\nvar x\n}", "3 " + argument + "'x'"},
		{"template IN A {\nvar 1x 3\n}", "3 invalid variable name \"1x\""},
		{"template IN A {\nvar name 3\n}", "3 variable name \"name\" is reserved"},
		{"template IN A {\nvar group 3\n}", "3 variable name \"group\" is reserved"},
		{"template IN A {\nvar x 1\nvar x 2\n}", "4 variable name \"x\" is reserved"},
		{"template IN A {\nvar x 3 +\n}", "3 could not compile expression: x, unexpected token EOF (1:3)\n | 3 +\n | ..^"},
		{"template IN A {\nvar x 3\nexpr x + 'a'\n}", "4 could not compile expression: invalid operation: + (mismatched types int and string) (1:3)\n | x + 'a'\n | ..^"},
		{"template IN A {\nexpr\n}", "3 " + argument + "'expr'"},
	}
	for _, tt := range tests {
		line, text, _ := strings.Cut(tt.want, " ")
		want := "Corefile:" + line + " - Error during parsing: " + text
		if _, err := parse(t, tt.lines); fmt.Sprint(err) != want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	o, err := parse(t, "template IN A a..b c {\nfallthrough x..y\nupstream 8.8.8.8\n}")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%q", o.Warnings), `["\"a..b\" is not a zone and is left out (Corefile:2)" "\"x..y\" is not a zone and is left out (Corefile:3)"]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(o.Rules[0].Zones); got != "[c.]" {
		t.Errorf("zones %s", got)
	}
}
