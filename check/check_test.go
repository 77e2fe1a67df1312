package check_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/check"
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
)

var update = flag.Bool("update", false, "write the golden files anew")

func compiler(t testing.TB) *plugin.Compiler {
	t.Helper()
	j := journal.New(io.Discard, journal.Text)
	t.Cleanup(j.Close)
	c, err := plugin.NewCompiler(plugin.Options{Journal: j, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run checks the text of a Corefile.
func run(t testing.TB, name, text string) check.Report {
	t.Helper()
	file, err := config.Parse(name, []byte(text), config.Options{})
	return check.Run(compiler(t), name, file, err)
}

// outside makes this process one that runs in no Pod, whatever the machine is.
func outside(t *testing.T) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("POD_IP", "192.0.2.10") // two files bind to it
}

const corefiles = "../testdata/corefiles/"

// TestCorefiles checks the Corefiles that clusters run. The golden file has what a person is told of each of them; and each
// time the start ends with the first of the errors, or with none.
func TestCorefiles(t *testing.T) {
	outside(t)
	paths, err := filepath.Glob(corefiles + "*")
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	var got strings.Builder
	for _, path := range paths {
		name, text := corefile(t, path)
		file, err := config.Parse(name, []byte(text), config.Options{})
		report := check.Run(compiler(t), name, file, err)
		fmt.Fprintf(&got, "== %s\n%s\n", filepath.Base(path), report.Text())
		agree(t, report, file, err)
	}
	folder, err := filepath.Abs(corefiles)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/corefiles.golden", strings.NewReplacer(folder+"/", "", corefiles, "").Replace(got.String()))
}

// corefile is the text of a file, with a resolv.conf that is the same on every machine. One that is made to be imported
// into a server block is.
func corefile(t *testing.T, path string) (name, text string) {
	t.Helper()
	if base := filepath.Base(path); strings.HasSuffix(base, ".override") {
		return corefiles + "Corefile", ". {\n    import " + base + "\n    forward . testdata/resolv.conf\n}\n"
	}
	read, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, strings.ReplaceAll(string(read), "/etc/resolv.conf", "testdata/resolv.conf")
}

// agree wants a check and a start to say the same.
func agree(t *testing.T, report check.Report, file *config.File, err error) {
	t.Helper()
	if err == nil {
		_, err = compiler(t).Compile(file)
	}
	said := false
	for _, f := range report.Findings {
		switch {
		case f.Severity == check.Warning:
		case err == nil:
			t.Errorf("%s: the check finds %v, and the start nothing", report.File, f)
		case strings.Contains(err.Error(), f.Text) && (f.Line == 0 || strings.Contains(err.Error(), fmt.Sprintf("%s:%d", f.File, f.Line))):
			said = true
		}
	}
	if err != nil && !said {
		t.Errorf("%s: the start says %v, and the check %v", report.File, err, report.Findings)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got; go test ./check -update accepts it)\n%s", diff)
	}
}

// TestFindings shows their places and words.
func TestFindings(t *testing.T) {
	outside(t)
	tests := []struct{ corefile, want string }{
		{". {\n  whoami\n}\n", "Corefile: it can be served\n"},
		{". {\n  cahce 30\n  lgo\n  cache {\n    sucess 5\n  }\n}\n", `Corefile:2: error: Unknown directive 'cahce' (did you mean cache?)
Corefile:3: error: Unknown directive 'lgo' (did you mean log?)
Corefile:5: error: cache: Wrong argument count or unexpected line ending after 'sucess' (did you mean success?)
Corefile: it cannot be served: 3 errors
`},
		{". {\n  log {\n", "Corefile:2: error: Unexpected EOF\nCorefile: it cannot be served: 1 error\n"},
		{"a {\n  whoami\n}\na {\n  whoami\n}\n", "Corefile:4: error: cannot serve dns://a.:53 - it is already defined (Corefile:4, first in Corefile:1)\n" +
			"Corefile: it cannot be served: 1 error\n"},
		{"..x {\n  whoami\n}\n", "Corefile:1: error: error inspecting server blocks: zone is not a valid domain name: ..x (Corefile:1)\n" +
			"Corefile: it cannot be served: 1 error\n"},
		{". {\n  import nothing/*\n  cache 3600s\n  whoami\n}\n", "Corefile:2: warning: No files matching import glob pattern: nothing/*\n" +
			"Corefile:3: warning: cache: \"3600s\" is taken for a zone: the TTL is a plain number of seconds\n" +
			"Corefile: it can be served: 2 warnings\n"},
		{". {\n  kubernetes\n}\n", "Corefile:2: note: kubernetes: unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined\n" +
			"Corefile: it can be served: 1 note\n"},
		{"a_b {\n  whoami\n}\n", "Corefile:1: warning: Domain \"a_b.\" does not follow RFC1035 preferred syntax\nCorefile: it can be served: 1 warning\n"},
	}
	for _, tt := range tests {
		report := run(t, "Corefile", tt.corefile)
		text, _, _ := strings.Cut(report.Text(), "\n\n")
		if got := strings.TrimSuffix(text, "\n") + "\n"; got != tt.want {
			t.Errorf("%q:\ngot\n%swant\n%s", tt.corefile, got, tt.want)
		}
	}
}

// TestJSON: what machines read has the same findings, and the blocks in words.
func TestJSON(t *testing.T) {
	report := run(t, "Corefile", "a {\n  log stdout\n  whoami\n}\n")
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"file":"Corefile","findings":[` +
		`{"severity":"warning","file":"Corefile","line":2,"directive":"log","text":"\"stdout\" is taken for a name: only queries under it are printed, on standard output in any case; write log alone"},` +
		`{"severity":"warning","file":"Corefile","line":2,"directive":"log","text":"no effect, as server block dns://a.:53 is never asked for names under stdout."}],` +
		`"blocks":[{"file":"Corefile","line":1,"zones":["a."],"served":[{"zone":"a.","listener":"dns://:53"}],"steps":[` +
		`{"name":"log","file":"Corefile","line":2,"does":[{"line":2,"text":"prints a line for each query under stdout."}]},` +
		`{"name":"whoami","file":"Corefile","line":3,"does":[{"line":3,"text":"tells a client its own address, whatever it asks"}]}],"beside":[]}]}`
	if diff := cmp.Diff(want, string(encoded)); diff != "" {
		t.Error(diff)
	}
}

// FuzzCheck wants a check that agrees with the start, whatever the file is, and no difference between a file and itself.
func FuzzCheck(f *testing.F) {
	paths, err := filepath.Glob(corefiles + "*.Corefile")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a_b {\n bind lo {\n  except ::1\n }\n rewrite edns0 local set 0xffee {qname} revert\n rewrite {\n  name regex (.*)\\.b {1}.c\n  answer auto\n }\n" +
		" pprof :0 {\n  block 5\n }\n view v {\n  expr do() && type() in ['A', 'MX']\n }\n dns64 {\n  translate_all\n }\n cache {\n  serve_stale 1h verify 1s 5s\n  prefetch 5 1m 20%\n }\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		outside(t)
		name := filepath.Join(t.TempDir(), "Corefile")
		file, err := config.Parse(name, []byte(text), config.Options{})
		report := check.Run(compiler(t), name, file, err)
		agree(t, report, file, err)
		if report.Text() == "" {
			t.Error("nothing is said")
		}
		if diff := check.Compare(report, report); len(diff.Changes) > 0 {
			t.Errorf("differs from itself: %v", diff.Changes)
		}
	})
}
