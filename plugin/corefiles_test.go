package plugin_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCorefiles compiles the Corefiles that clusters run, of ../testdata/corefiles. The golden file says for each of them
// which directives Waypost does not have, with the line, and what the rest comes to. The rest is without kubernetes too,
// for there is no cluster here.
func TestCorefiles(t *testing.T) {
	files, err := filepath.Glob("../testdata/corefiles/*.Corefile")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	t.Setenv("POD_IP", "192.0.2.10") // two files bind to it
	var got strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		fmt.Fprintf(&got, "== %s\n", name)
		parsed, err := config.Parse(name, text, config.Options{})
		if err != nil {
			fmt.Fprintln(&got, err)
			continue
		}
		missing(t, &got, parsed)
		rest(t, &got, parsed)
	}
	const golden = "testdata/corefiles.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got; go test ./plugin -update accepts it)\n%s", diff)
	}
}

// missing prints which directives the error of a compilation names.
func missing(t *testing.T, out io.Writer, file *config.File) {
	t.Helper()
	c, _ := compiler(t)
	_, err := c.Compile(file)
	named := regexp.MustCompile(`:(\d+) - Error during parsing: (?:directive|Unknown directive) '(.*?)'`)
	for _, match := range named.FindAllStringSubmatch(fmt.Sprint(err), -1) {
		fmt.Fprintf(out, "line %s: no %s\n", match[1], match[2])
	}
}

// rest prints what a file comes to without the directives that are missing.
func rest(t *testing.T, out io.Writer, file *config.File) {
	t.Helper()
	have := plugin.Names()
	for i := range file.Blocks {
		b := &file.Blocks[i]
		b.Directives = slices.DeleteFunc(b.Directives, func(d config.Directive) bool {
			return d.Name == "kubernetes" || !slices.Contains(have, d.Name)
		})
	}
	c, _ := compiler(t)
	setup, err := c.Compile(file)
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, l := range setup.Listeners {
		for _, b := range l.Server.Blocks {
			fmt.Fprintf(out, "%s %s: %d steps, %d observers, last %q\n", l.Name, b.Zones, len(b.Steps), len(b.Observers), b.Last)
		}
	}
}
