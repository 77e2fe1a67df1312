// Package waypost_test keeps the house in order: what may import what, and what no file has.
package waypost_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/waypost/waypost/"

// arrows are what the packages under a path may import of this module, tests left out; packages under one path may
// import each other. The longest path that fits a package counts, and one without arrows may import nothing.
var arrows = map[string][]string{
	"cluster": {},
	"message": {},
	"journal": {},
	"config":  {},

	"records":  {"cluster", "message"},
	"watch":    {"cluster"},
	"proxy":    {"cluster"},
	"server":   {"message"},
	"upstream": {"message"},

	"plugin":            {"config", "journal", "message", "server"},
	"plugin/env":        {"journal"},
	"plugin/endpoint":   {},
	"plugin/plainfile":  {},
	"plugin/tlsfiles":   {},
	"plugin/expression": {"message"},
	"plugin/whole":      {"message"},
	"plugin/relay":      {"config", "message"},
	"plugin/plugintest": {"config", "journal", "message", "plugin/env"},
	"plugin/forward":    {"config", "journal", "message", "plugin/env", "plugin/relay", "plugin/tlsfiles", "upstream", "watch/files"},
	"plugin/grpc":       {"config", "journal", "message", "plugin/env", "plugin/relay", "plugin/tlsfiles", "upstream"},
	"plugin/loop":       {"config", "journal", "message", "plugin/env", "upstream"},
	"plugin/kubernetes": {"config", "journal", "message", "plugin/env", "cluster", "records", "watch"},

	"check": {"config", "plugin"},

	"cmd/waypost":       {"check", "cmd/internal", "config", "journal", "plugin", "server", "testdata"},
	"cmd/waypost-proxy": {"cluster", "cmd/internal", "journal", "proxy", "watch"},
	"cmd/internal":      {},
	"testdata":          {},
}

// directive is what the folder of a directive may import that has no arrows of its own.
var directive = []string{"config", "journal", "message", "plugin/env", "plugin/endpoint", "plugin/expression", "plugin/plainfile", "plugin/tlsfiles", "plugin/whole"}

// only are the packages that alone may import something from outside: whatever drags in much, or acts on the kernel.
var only = map[string][]string{
	"k8s.io/":                    {"watch"},
	"github.com/google/nftables": {"proxy"},
	"github.com/vishvananda/":    {"proxy"},
	"github.com/prometheus/":     {"plugin", "upstream", "proxy", "cmd"},
	"github.com/coredns/caddy":   {"config", "plugin"},
	"github.com/miekg/dns":       {"plugin", "upstream"},
	"github.com/fsnotify/":       {"watch"},
	"github.com/hashicorp/":      {"plugin"},
	"google.golang.org/":         {"plugin/grpc"},
	"sigs.k8s.io/yaml":           {"watch", "proxy"},
	"go.etcd.io/":                {"plugin/etcd"},
	"go.uber.org/zap":            {"plugin/etcd"},
}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		for _, imported := range fields[1:] {
			if own, ok := strings.CutPrefix(imported, module); ok && !may(pkg, own) {
				t.Errorf("%s must not import %s", pkg, own)
			}
			for outside, users := range only {
				if strings.HasPrefix(imported, outside) && !slices.ContainsFunc(users, func(u string) bool { return under(pkg, u) }) {
					t.Errorf("%s must not import %s: only %v may", pkg, imported, users)
				}
			}
		}
	}
}

// may reports whether the arrows lead from one package to another.
func may(pkg, imported string) bool {
	home, allowed := "", []string(nil)
	for path, list := range arrows {
		if under(pkg, path) && len(path) > len(home) {
			home, allowed = path, list
		}
	}
	switch {
	case home == "plugin" && pkg != "plugin": // a directive's folder
		return under(imported, pkg) || contains(directive, imported)
	case home == "plugin" && under(imported, "plugin"):
		return true
	}
	return under(imported, home) && home != "" || contains(allowed, imported)
}

func contains(paths []string, pkg string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return under(pkg, path) })
}

func under(pkg, path string) bool { return pkg == path || strings.HasPrefix(pkg, path+"/") }

// TestMay shows that the arrows can tell right from wrong.
func TestMay(t *testing.T) {
	tests := []struct {
		pkg, imported string
		want          bool
	}{
		{"plugin", "plugin/errors", true},
		{"plugin", "records", false},
		{"plugin/errors", "message", true},
		{"plugin/errors", "plugin", false},
		{"plugin/errors", "plugin/log", false},
		{"plugin/errors", "server", false},
		{"plugin/kubernetes", "records", true},
		{"records", "watch", false},
		{"watch/manifest", "watch", true},
		{"server", "plugin", false},
		{"cluster", "message", false},
		{"nobody", "cluster", false},
	}
	for _, tt := range tests {
		if got := may(tt.pkg, tt.imported); got != tt.want {
			t.Errorf("%s to %s: got %t", tt.pkg, tt.imported, got)
		}
	}
}

// TestNoInit: nothing happens because a package is imported, and no test is left out.
func TestNoInit(t *testing.T) {
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), ".") {
			return hidden(err)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function", files.Position(f.Pos()))
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow") {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "t" {
					t.Errorf("%s: a test that may be left out", files.Position(n.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hidden passes an error on, or leaves out a hidden folder.
func hidden(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

// TestDependencies: each module that is imported stands in docs/dependencies.md, and what stands there is required.
func TestDependencies(t *testing.T) {
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\S+\.\S+.*?) \|`).FindAllStringSubmatch(string(page), -1) {
		for _, name := range strings.Split(row[1], ", ") {
			documented = append(documented, strings.Fields(name)[0])
		}
	}
	const imports = `{{range .Imports}}{{println .}}{{end}}{{range .TestImports}}{{println .}}{{end}}{{range .XTestImports}}{{println .}}{{end}}`
	out, err := exec.Command("go", "list", "-f", imports, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, imported := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(imported, "/")
		if !strings.Contains(first, ".") || strings.HasPrefix(imported, module) {
			continue
		}
		if !slices.ContainsFunc(documented, func(name string) bool { return under(imported, name) }) {
			t.Errorf("%s is imported and not in docs/dependencies.md", imported)
		}
	}
	required, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documented {
		if !strings.Contains(string(required), "\t"+name+" v") {
			t.Errorf("%s stands in docs/dependencies.md and is not in go.mod", name)
		}
	}
}
