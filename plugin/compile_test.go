package plugin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
)

// output is what a journal printed.
type output struct {
	strings.Builder
	journal *journal.Journal
}

func (o *output) text() string {
	o.journal.Flush()
	return o.String()
}

// compiler makes one whose journal can be read once nothing prints any more.
func compiler(t testing.TB) (*plugin.Compiler, *output) {
	t.Helper()
	out := &output{}
	out.journal = journal.New(out, journal.Text)
	t.Cleanup(out.journal.Close)
	c, err := plugin.NewCompiler(plugin.Options{Journal: out.journal, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return c, out
}

// compile compiles the text of a Corefile.
func compile(t testing.TB, text string) (*plugin.Setup, *output, error) {
	t.Helper()
	file, err := config.Parse("Corefile", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, out := compiler(t)
	setup, err := c.Compile(file)
	return setup, out, err
}

func TestErrors(t *testing.T) {
	tests := []struct{ name, corefile, want string }{
		{"unknown", ". {\nfoo\n}", "Corefile:2 - Error during parsing: Unknown directive 'foo'"},
		{"another's", ". {\nwhoami\nk8s_gateway example.org\n}",
			"Corefile:3 - Error during parsing: Unknown directive 'k8s_gateway' (it is a plugin of its own: publish Gateways and Ingresses with external-dns)"},
		{"dropped by CoreDNS", ". {\nproxy . 8.8.8.8\n}",
			"Corefile:2 - Error during parsing: Unknown directive 'proxy' (CoreDNS has dropped it in favour of forward)"},
		{"not supported", ". {\ngeoip db\n}",
			"plugin/geoip: Corefile:2 - Error during parsing: directive 'geoip' is not supported by Waypost yet: tell clients by their addresses, with incidr in view"},
		{"all that are missing, each once", "a {\nfoo\n}\ntls://b tls://c {\nfoo x\ngeoip x\n}",
			"Corefile:2 - Error during parsing: Unknown directive 'foo'\n" +
				"Corefile:4 - Error during parsing: \"tls://b\": listening on tls:// is not supported by Waypost yet: serve plain DNS behind a proxy that speaks it\n" +
				"plugin/geoip: Corefile:6 - Error during parsing: directive 'geoip' is not supported by Waypost yet: tell clients by their addresses, with incidr in view"},
		{"the directive's own", ". {\nerrors file\n}", "plugin/errors: Corefile:2 - Error during parsing: invalid log file: file"},
		{"the table's order decides which is first", "a {\nlog {\nx\n}\n}\nb {\nbind x\n}",
			"plugin/bind: Corefile:7 - Error during parsing: not a valid IP address or interface name: \"x\""},
		{"without a place of its own", ". {\nkubernetes cluster.local {\nkubeconfig /nonexistent\n}\n}",
			"plugin/kubernetes: Corefile:2 - Error during parsing: stat /nonexistent: no such file or directory"},
		{"once", ". {\nready\nready\n}", "plugin/ready: Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"zone twice", ". {\nwhoami\n}\na . {\nwhoami\n}",
			"cannot serve dns://.:53 - it is already defined (Corefile:4, first in Corefile:1)"},
		{"zone twice at one address", ". {\nbind 127.0.0.1\n}\n. {\nbind ::1 127.0.0.1\n}",
			"cannot serve dns://.:53 on 127.0.0.1 - it is already defined (Corefile:4, first in Corefile:1)"},
		{"bound and unbound", ". {\nbind 127.0.0.1\n}\n. {\nwhoami\n}",
			"cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on 127.0.0.1 (Corefile:4 and Corefile:1)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := compile(t, tt.corefile); fmt.Sprint(err) != tt.want {
				t.Errorf("\ngot  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestListeners shows which blocks are asked where: a line for each listener, with what it serves.
func TestListeners(t *testing.T) {
	tests := []struct {
		name, corefile string
		want           []string
	}{
		{"one", ". {\nwhoami\n}", []string{"dns://:53 serves . | .:53"}},
		{"ports", ".:5353 {\nwhoami\n}\nexample.org {\nwhoami\n}",
			[]string{"dns://:5353 serves . | .:5353", "dns://:53 serves example.org. | example.org.:53"}},
		{"a port of its own for one zone", "b. A.:54 . {\nwhoami\n}\nc.:54 {\nwhoami\n}", []string{
			"dns://:53 serves b. . | .:53 b.:53", "dns://:54 serves a.; c. | a.:54 c.:54"}},
		{"addresses", ". {\nbind 127.0.0.1 ::1\nwhoami\n}\n. {\nbind 192.0.2.1\nwhoami\n}\na. {\nbind ::1\nwhoami\n}", []string{
			"dns://127.0.0.1:53 serves . | .:53 on 127.0.0.1",
			"dns://[::1]:53 serves .; a. | .:53 on ::1 a.:53 on ::1",
			"dns://192.0.2.1:53 serves . | .:53 on 192.0.2.1"}},
		{"a network", "10.0.0.0/15 {\nwhoami\n}", []string{
			"dns://:53 serves 0.10.in-addr.arpa. 1.10.in-addr.arpa. | 0.10.in-addr.arpa.:53 1.10.in-addr.arpa.:53"}},
		{"an unusual name", "a_b {\nwhoami\n}", []string{
			`dns://:53 serves a_b. | Warning: Domain "a_b." does not follow RFC1035 preferred syntax a_b.:53`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setup, _, err := compile(t, tt.corefile)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range setup.Listeners {
				var blocks []string
				for _, b := range l.Server.Blocks {
					blocks = append(blocks, strings.Trim(fmt.Sprint(b.Zones), "[]"))
				}
				got = append(got, fmt.Sprintf("%s serves %s | %s", l.Name, strings.Join(blocks, "; "), strings.Join(l.Banner(), " ")))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); g != w {
				t.Errorf("got:\n%s\nwant:\n%s", g, w)
			}
		})
	}
}

func TestNoAddressLeft(t *testing.T) {
	setup, out, err := compile(t, ". {\nbind 127.0.0.1 {\nexcept 127.0.0.1\n}\n}")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(setup.Listeners); n != 0 {
		t.Errorf("%d listeners", n)
	}
	want := "[WARNING] plugin/bind: no address is left, so that server block dns://.:53 (Corefile:1) is not served (Corefile:2)\n" +
		"[WARNING] server block dns://.:53 has no directive that answers: every query is REFUSED (Corefile:1)\n"
	if got := out.text(); got != want {
		t.Errorf("printed %q", got)
	}
}

// TestChain: which directive is named where no other answers.
func TestChain(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"errors\nlog", "log"},
		{"loadbalance\nerrors\nprometheus 127.0.0.1:0", "loadbalance"},
		{"whoami\nlog", "whoami"},
		{"health 127.0.0.1:0\nbind 127.0.0.1", ""},
	}
	for _, tt := range tests {
		setup, _, err := compile(t, ". {\n"+tt.lines+"\n}")
		if err != nil {
			t.Fatal(err)
		}
		if got := setup.Listeners[0].Server.Blocks[0].Last; got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.lines, got, tt.want)
		}
	}
}
