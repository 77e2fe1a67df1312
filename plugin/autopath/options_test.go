package autopath_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/autopath"
	"github.com/waypost/waypost/plugin/plugintest"
)

// parse reads the autopath directive of a block for example.org; FILE in its lines is a resolv.conf with the text.
func parse(t testing.TB, lines, text string) (autopath.Options, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	block := plugintest.Block(t, "example.org {\n"+strings.ReplaceAll(lines, "FILE", file)+"\n}")
	return autopath.Parse(block, block.Directive("autopath"))
}

func TestParse(t *testing.T) {
	tests := []struct{ lines, text, zones, from, search, warnings string }{
		{"autopath FILE", "search A.example. b.example\nnameserver 127.0.0.1\n", "[example.org.]", "", "[a.example. b.example.]", "[]"},
		{"autopath FILE", "nameserver 127.0.0.1\n", "[example.org.]", "", "[]", "[]"},
		{"autopath B 10.0.0.0/8 FILE", "search a", "[b. 10.in-addr.arpa.]", "", "[a.]", "[]"},
		{"autopath a..b c FILE", "search a..b a", "[c.]", "", "[a.]", `["a..b" is not a zone and is left out (Corefile:2) search domain of FILE is left out: name "a..b": empty label (Corefile:2)]`},
		{"autopath nosuch @kubernetes\nautopath . FILE", "search a", "[.]", "", "[a.]", "[no effect, as the last autopath of a server block counts (Corefile:2)]"},
	}
	for _, tt := range tests {
		o, err := parse(t, tt.lines, tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.lines, err)
		}
		warnings := fmt.Sprint(o.Warnings)
		if i := strings.Index(warnings, "/"); i >= 0 {
			warnings = warnings[:i] + "FILE" + warnings[strings.Index(warnings, "resolv.conf")+len("resolv.conf"):]
		}
		for _, c := range []struct{ what, got, want string }{
			{"zones", fmt.Sprint(o.Zones), tt.zones}, {"from", o.From, tt.from}, {"search", fmt.Sprint(o.Search), tt.search}, {"warnings", warnings, tt.warnings},
		} {
			if c.got != c.want {
				t.Errorf("%q: %s: got %s, want %s", tt.lines, c.what, c.got, c.want)
			}
		}
	}
	if o, err := parse(t, "autopath @kubernetes", ""); err != nil || o.From != "kubernetes" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"autopath", "Corefile:2 - Error during parsing: no resolv-conf specified"},
		{"autopath FILE\nautopath", "Corefile:3 - Error during parsing: no resolv-conf specified"},
		{"autopath a /nosuch", `Corefile:2 - Error during parsing: failed to parse "/nosuch": open /nosuch: no such file or directory`},
	}
	for _, tt := range tests {
		if _, err := parse(t, tt.lines, ""); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}
