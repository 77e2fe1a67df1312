package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show prints a file as one line per block: its keys, then its directives with the lines they begin on.
func show(f *File) string {
	var out strings.Builder
	for _, b := range f.Blocks {
		for _, k := range b.Keys {
			fmt.Fprintf(&out, "%s (%s:%d) ", k, filepath.Base(k.Pos.File), k.Pos.Line)
		}
		out.WriteString("|")
		for _, d := range b.Directives {
			fmt.Fprintf(&out, " %s (%s:%d)", d.Name, filepath.Base(d.Pos.File), d.Pos.Line)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func TestParse(t *testing.T) {
	t.Setenv("ZONE", "Env.Example")
	t.Setenv("ADDRESSES", "1.1.1.1 8.8.8.8")
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "# nothing\n", ""},
		{"the default port", ". {\n  errors\n}\n", "dns://.:53 (Corefile:1) | errors (Corefile:2)\n"},
		{"no braces", "Example.ORG\nlog\nforward . 1.1.1.1\n", "dns://example.org.:53 (Corefile:1) | log (Corefile:2) forward (Corefile:3)\n"},
		{"brace on the next line", "a.org\n{\n  log\n}\n", "dns://a.org.:53 (Corefile:1) | log (Corefile:3)\n"},
		{"header only", "a.org b.org", "dns://a.org.:53 (Corefile:1) dns://b.org.:53 (Corefile:1) |\n"},
		{"commas go on", "a.org, b.org,\n  c.org {\n}\n", "dns://a.org.:53 (Corefile:1) dns://b.org.:53 (Corefile:1) dns://c.org.:53 (Corefile:2) |\n"},
		{"schemes", "dns://a tls://a quic://a grpc://a https://a https3://a {\n}\n",
			"dns://a.:53 (Corefile:1) tls://a.:853 (Corefile:1) quic://a.:853 (Corefile:1) grpc://a.:443 (Corefile:1) https://a.:443 (Corefile:1) https3://a.:443 (Corefile:1) |\n"},
		{"ports", "dns://a:5353 tls://a:8853 .:01053 {\n}\n", "dns://a.:5353 (Corefile:1) tls://a.:8853 (Corefile:1) dns://.:1053 (Corefile:1) |\n"},
		{"environment", "{$ZONE}:5353 {\n  forward . {$ADDRESSES}\n}\n", "dns://env.example.:5353 (Corefile:1) | forward (Corefile:2)\n"},
		{"snippet", "(common) {\n  errors\n  log\n}\na {\n  import common\n  whoami\n}\nb {\n  import common\n}\n",
			"dns://a.:53 (Corefile:5) | errors (Corefile:2) log (Corefile:3) whoami (Corefile:7)\ndns://b.:53 (Corefile:9) | errors (Corefile:2) log (Corefile:3)\n"},
		{"quotes", "a {\n  template ANY A {\n    match \"^(x)\\.a\\.\n$\"\n    answer \"{{ .Name }} 60 IN A \\\"1\\\"\"\n  }\n  log\n}\n",
			"dns://a.:53 (Corefile:1) | template (Corefile:2) log (Corefile:7)\n"},
		{"a directive in several lines", "a {\n  log\n  forward b 1.1.1.1\n  errors\n  forward c 8.8.8.8\n}\n",
			"dns://a.:53 (Corefile:1) | log (Corefile:2) forward (Corefile:3) errors (Corefile:4)\n"},
		{"CIDRs", "10.0.0.0/15:5353 fd00::/7 {\n}\n",
			"dns://0.10.in-addr.arpa.:5353 (Corefile:1) dns://1.10.in-addr.arpa.:5353 (Corefile:1) dns://c.f.ip6.arpa.:53 (Corefile:1) dns://d.f.ip6.arpa.:53 (Corefile:1) |\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("Corefile", []byte(tt.text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, show(f)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParsePort(t *testing.T) {
	f, err := Parse("Corefile", []byte("a b:53 tls://c {\n}\n"), Options{Port: 1053})
	if err != nil {
		t.Fatal(err)
	}
	want := "dns://a.:1053 (Corefile:1) dns://b.:53 (Corefile:1) tls://c.:853 (Corefile:1) |\n"
	if diff := cmp.Diff(want, show(f)); diff != "" {
		t.Error(diff)
	}
}

func TestParseErrors(t *testing.T) {
	t.Setenv("LOOP", "x{$LOOP}")
	t.Setenv("PING", "{$PONG}")
	t.Setenv("PONG", "{$PING}")
	for _, tt := range []struct{ name, text, want string }{
		{"unknown directive", ". {\n  errors\n  nonsense\n}\n", "Corefile:3 - Error during parsing: Unknown directive 'nonsense'"},
		{"one line", ".:53 { errors }\n", "Corefile:1 - Error during parsing: Unexpected '}' because no matching opening brace"},
		{"no closing brace", ". {\n  errors\n", "Corefile:2 - Syntax error: Unexpected token 'errors', expecting '}'"},
		{"no closing brace inside", ". {\n  log . {\n  class all\n", "Corefile:3 - Error during parsing: Unexpected EOF"},
		{"comma before brace", "a, {\n}\n", "Corefile:1 - Error during parsing: Expected another address but had '{' - check for extra comma"},
		{"import of nothing", "import gone.conf\n", "Corefile:1 - Error during parsing: File to import not found: gone.conf"},
		{"import without name", ". {\n  import\n}\n", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'"},
		{"import of two", ". {\n  import a b\n}\n", "Corefile:2 - Error during parsing: Import takes only one argument (glob pattern or file)"},
		{"snippet twice", "(a) {\n}\n(a) {\n}\n", "Corefile:3 - Error during parsing: redeclaration of previously declared snippet a"},
		{"snippet in a ring", "(a) {\n  import b\n}\n(b) {\n  import a\n}\n. {\n  import a\n}\n",
			"Corefile:5 - Error during parsing: import leads back to itself: DIR/Corefile -> snippet a -> snippet b -> snippet a"},
		{"file in a ring", "import Corefile\n", "Corefile:1 - Error during parsing: import leads back to itself: DIR/Corefile -> DIR/Corefile"},
		{"device", "import /dev/zero\n", "Corefile:1 - Error during parsing: Could not import /dev/zero: not a plain file of at most 16777216 bytes"},
		{"variable grows", ". {\n  log {$LOOP}\n}\n", `Corefile:2 - Error during parsing: the environment variables in "{$LOOP}" refer to themselves without end`},
		{"variables in a ring", ". {\n  log {$PING}\n}\n", `Corefile:2 - Error during parsing: the environment variables in "{$PING}" refer to themselves without end`},
		{"no port", "\n.: {\n}\n", `error inspecting server blocks: expecting data after last colon: ".:" (Corefile:2)`},
		{"no name", "a..b {\n}\n", "error inspecting server blocks: zone is not a valid domain name: a..b (Corefile:1)"},
		{"long label", strings.Repeat("a", 64) + " {\n}\n", "error inspecting server blocks: zone is not a valid domain name: " + strings.Repeat("a", 64) + " (Corefile:1)"},
		{"long name", strings.Repeat("a.", 128) + " {\n}\n", "error inspecting server blocks: specified zone is too long: 256 > 255 (Corefile:1)"},
		{"short CIDR", "::/32 {\n}\n", "error inspecting server blocks: invalid CIDR ::/32 (Corefile:1)"},
		{"port out of range", ". .:65536 {\n}\n", `Corefile:1 - Error during parsing: address 65536: invalid port, as in ".:65536"`},
		{"scheme of an upstream", "unix://a {\n}\n", `Corefile:1 - Error during parsing: a server block cannot listen on unix://, as in "unix://a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			write(t, dir, map[string]string{"Corefile": tt.text})
			_, err := Parse("Corefile", []byte(tt.text), Options{Directives: []string{"errors", "log"}})
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestImport reads files from the folder of the file that names them, whatever the working directory.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SUB", "sub")
	write(t, dir, map[string]string{
		"Corefile":        ".:53 {\n  errors\n  import {$SUB}/*.override\n}\nimport sub/*.server\nlast {\n  import missing/*.override\n}\n",
		"sub/a.override":  "log\nimport b.plain\n",
		"sub/b.plain":     "rewrite stop {\n  import c.plain\n}\n",
		"sub/c.plain":     "name a b\n",
		"sub/one.server":  "one.org:5353 {\n  whoami\n}\n",
		"sub/two.server":  "# two blocks\ntwo.org {\n  import ../x.plain\n}\n\nthree.org {\n}\n",
		"x.plain":         "chaos\n",
		"unread.override": "nonsense {{{\n",
	})
	name := filepath.Join(dir, "Corefile")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(name, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `dns://.:53 (Corefile:1) | errors (Corefile:2) log (a.override:1) rewrite (b.plain:1)
dns://one.org.:5353 (one.server:1) | whoami (one.server:2)
dns://two.org.:53 (two.server:2) | chaos (x.plain:1)
dns://three.org.:53 (two.server:6) |
dns://last.:53 (Corefile:6) |
`
	if diff := cmp.Diff(want, show(f)); diff != "" {
		t.Error(diff)
	}
	err = f.Blocks[0].Directive("rewrite").Errorf("no such rule")
	if want := "plugin/rewrite: " + dir + "/sub/b.plain:1 - Error during parsing: no such rule"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Setenv("WAYPOST_TEST_EMPTY", "")
	tests := []struct{ text, want string }{
		{"a {\n}\n\"\" {\n  log\n}", "[a server block without a zone is not served (Corefile:3)] []"},
		{"a:{$WAYPOST_TEST_NONE}53 {\n  log {%WAYPOST_TEST_NONE%} {$WAYPOST_TEST_EMPTY}\n}",
			"[the environment variable WAYPOST_TEST_NONE is not set: {$WAYPOST_TEST_NONE} becomes nothing (Corefile:1) " +
				"the environment variable WAYPOST_TEST_NONE is not set: {$WAYPOST_TEST_NONE} becomes nothing (Corefile:2)] []"},
		{"(s) {\n  log {$WAYPOST_TEST_NONE}\n}\na {\n  import s\n}\nb {\n  import s\n}",
			"[the environment variable WAYPOST_TEST_NONE is not set: {$WAYPOST_TEST_NONE} becomes nothing (Corefile:2)] []"},
		{"a {\n  forward . __PILLAR__CLUSTER__DNS__\n}", "[__PILLAR__CLUSTER__DNS__ is a placeholder, which only node-cache's own start replaces (Corefile:2)] []"},
		{"a {\n  import nothing/*.override\n}", "[] [No files matching import glob pattern: nothing/*.override (Corefile:2)]"},
	}
	for _, tt := range tests {
		f, err := Parse("Corefile", []byte(tt.text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(f.Warnings, " ", f.Unmatched); got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// TestDispenser reads a directive as its folder would: all its lines, blocks, and errors that name the place.
func TestDispenser(t *testing.T) {
	f, err := Parse("Corefile", []byte("a {\n  log x y {\n    class error\n  }\n  errors\n  log z\n}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := f.Blocks[0].Directive("log")
	d := log.Dispenser()
	var got []string
	for d.Next() {
		got = append(got, d.Val()+"("+strings.Join(d.RemainingArgs(), ",")+")")
		for d.NextBlock() {
			got = append(got, d.Val()+"["+strings.Join(d.RemainingArgs(), ",")+"]")
		}
	}
	if diff := cmp.Diff([]string{"log(x,y)", "class[error]", "log(z)"}, got); diff != "" {
		t.Error(diff)
	}
	want := "plugin/log: Corefile:6 - Error during parsing: Wrong argument count or unexpected line ending after 'z'"
	if err := log.Error(d.ArgErr()); err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if f.Blocks[0].Directive("cache") != nil || log.Error(nil) != nil {
		t.Error("a directive that is not there, or an error out of none")
	}
}

// TestDigest wants the digest to follow what is read, and comments only where they move lines.
func TestDigest(t *testing.T) {
	digest := func(text string) [64]byte {
		t.Helper()
		f, err := Parse("Corefile", []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return f.Digest
	}
	t.Setenv("WHAT", "errors")
	first := digest("a {\n  log {$WHAT}\n}\n")
	if digest("a { # a comment\n  log {$WHAT}\n}\n") != first {
		t.Error("a comment at the end of a line changes the digest")
	}
	if digest("# a comment\na {\n  log {$WHAT}\n}\n") == first {
		t.Error("a line more does not change the digest")
	}
	t.Setenv("WHAT", "all")
	if digest("a {\n  log {$WHAT}\n}\n") == first {
		t.Error("the environment does not change the digest")
	}
}

// TestCorefiles reads every Corefile of the collection, and knows where each of its blocks and directives stands.
func TestCorefiles(t *testing.T) {
	paths, err := filepath.Glob("../testdata/corefiles/*")
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, ".override") {
				text = []byte("override {\n" + string(text) + "}\n")
			}
			f, err := Parse(path, text, Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkPlaces(t, f, strings.Split(string(text), "\n"))
		})
	}
}

func checkPlaces(t *testing.T, f *File, lines []string) {
	t.Helper()
	if len(f.Blocks) == 0 {
		t.Error("no server blocks")
	}
	for _, b := range f.Blocks {
		for _, k := range b.Keys {
			if k.Pos.Line == 0 || !strings.Contains(lines[k.Pos.Line-1], k.Text) {
				t.Errorf("%s is not in line %d", k.Text, k.Pos.Line)
			}
		}
		for _, d := range b.Directives {
			if !strings.HasPrefix(strings.TrimSpace(lines[d.Pos.Line-1]), d.Name) {
				t.Errorf("%s is not in line %d", d.Name, d.Pos.Line)
			}
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzParse wants an end, no panic, and keys and tokens that can be read again.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("../testdata/corefiles/*.Corefile")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("(a) {\n import b\n import b\n}\n(b) {\n log\n import c\n}\n(c) {\n{$A} {%A%}\n}\n. a:53, 10.0.0.0/9\n{\n import a\n}\n"))
	f.Add([]byte("import *.server\n. {\n import one\n}\n"))
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "one.server"), []byte("b {\n log\n}\nimport two\n"), 0o644); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(filepath.Join(dir, "Corefile"), text, Options{})
		if err != nil {
			return
		}
		for _, b := range file.Blocks {
			for _, k := range b.Keys {
				if _, err := parseKey(k.String(), k.Pos, 0); err != nil {
					t.Errorf("key %q of %q is no key: %v", k, k.Text, err)
				}
			}
			for _, d := range b.Directives {
				for dispenser := d.Dispenser(); dispenser.Next(); {
					for dispenser.NextBlock() {
						dispenser.RemainingArgs()
					}
				}
			}
		}
	})
}
