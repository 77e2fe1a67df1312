package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// meaning is what a file says, without where it says it.
func meaning(t testing.TB, f *File) string {
	t.Helper()
	var out strings.Builder
	for _, b := range f.Blocks {
		for _, k := range b.Keys {
			out.WriteString(k.String() + " ")
		}
		out.WriteString("\n")
		for i := range b.Directives {
			d := &b.Directives[i]
			for c := d.Dispenser(); c.Next(); { // words with the lines that the directives see
				out.WriteString(" | " + c.Val())
				for c.NextArg() {
					out.WriteString(" " + c.Val())
				}
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

func TestText(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("logs.conf", "log # of all\nerrors {\n  consolidate 5m \".* i/o timeout$\" warning\n}\n")
	write("more.server", "more.example:54 {\n  whoami\n}\n")
	t.Setenv("WAYPOST_TEST_NAME", "with blanks")
	text := `# a comment
(common) {
	reload 5s
}
. 10.2.0.0/15 tls://example.org:853 {
	import common
	import logs.conf
	template IN A {
		answer "{{ .Name }} 60 IN A \"192.0.2.1\"#"
	}
	chaos "" {$WAYPOST_TEST_NAME}
	template IN AAAA
}
import *.server
`
	f, err := Parse(filepath.Join(folder, "Corefile"), []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Text()
	if err != nil {
		t.Fatal(err)
	}
	want := `. 10.2.0.0/15 tls://example.org:853 {
    reload 5s
    template IN A {
        answer "{{ .Name }} 60 IN A \"192.0.2.1\"#"
    }
    template IN AAAA
    chaos "" "with blanks"
    log
    errors {
        consolidate 5m ".* i/o timeout$" warning
    }
}

more.example:54 {
    whoami
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	again(t, f)
}

// again reads what a file writes, and expects that it says the same.
func again(t testing.TB, f *File) {
	t.Helper()
	text, err := f.Text()
	if err != nil {
		return // which may be, see Text
	}
	read, err := Parse("again", text, Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(meaning(t, f), meaning(t, read)); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
}

// TestTextOfCorefiles writes and reads those that clusters run.
func TestTextOfCorefiles(t *testing.T) {
	names, err := filepath.Glob("../testdata/corefiles/*.Corefile")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := Parse(name, text, Options{}); err == nil {
			again(t, f)
			if _, err := f.Text(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// FuzzText writes and reads whatever can be read.
func FuzzText(f *testing.F) {
	for _, text := range []string{
		". {\n  a \"b c\" {\n d # e\n }\n}\n", "(s) {\n a\n}\n. b {\n import s\n import s\n c {\n  import s\n }\n}\n",
		"a\nb \"\" {\n}", "a {\n \"x\ny\" z\n \"{\" }\n}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if file, err := Parse("Corefile", text, Options{}); err == nil {
			again(t, file)
		}
	})
}

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ word, want string }{
		{"plain", "plain"},
		{`back\slash"quote`, `back\slash"quote`},
		{"", `""`},
		{"two words", `"two words"`},
		{`"quoted" words`, `"\"quoted\" words"`},
		{`"`, `"\""`},
		{"#", `"#"`},
		{"two\nlines", "\"two\nlines\""},
		{`a \d b`, `"a \d b"`},
		{`ends in two \\`, `"ends in two \\"`},
		{`ends in one \`, ""},
		{`slash and quote \"`, ""},
	} {
		got, err := quote(tt.word)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: got %s, %v, want %s", tt.word, got, err, tt.want)
		}
	}
}
