package main

import (
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/config"
	"github.com/waypost/waypost/proxy/metrics"
	"github.com/waypost/waypost/proxy/plan"
)

// TestDocs holds docs/proxy.md against the program: each field, each flag and each metric is in it, and no other.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	tables := documented(page)
	for _, name := range append(fields(reflect.TypeFor[config.Document](), ""), append(flags(t), metricNames(t)...)...) {
		if !tables[name] {
			t.Errorf("%s is not in a table of docs/proxy.md", name)
		}
		delete(tables, name)
	}
	for name := range tables {
		t.Errorf("docs/proxy.md has %s, which is neither a field nor a flag nor a metric", name)
	}
	if routes := strings.Split(wantRoutes, "prod/web\n")[1]; !strings.Contains(page, indented("prod/web\n"+routes)) {
		t.Errorf("docs/proxy.md does not show what routes prints:\n%s", indented("prod/web\n"+routes))
	}
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// documented are the names in the first two columns of the tables that list fields, flags and metrics.
func documented(page string) map[string]bool {
	names := map[string]bool{}
	quoted := regexp.MustCompile("`([^`]+)`")
	listing := false
	for line := range strings.Lines(page) {
		columns := strings.Split(line, "|")
		switch {
		case len(columns) < 4:
			listing = false
		case strings.HasPrefix(line, "| field ") || strings.HasPrefix(line, "| flag ") || strings.HasPrefix(line, "| metric "):
			listing = true
		case listing:
			cells := columns[1]
			if len(columns) > 5 {
				cells += columns[2]
			}
			for _, name := range quoted.FindAllStringSubmatch(cells, -1) {
				if name[1] != "--config" || columns[1] == " `--config` " {
					names[name[1]] = true
				}
			}
		}
	}
	return names
}

// fields are the paths of the configuration's fields. Sections that are only for others are named as a whole.
func fields(of reflect.Type, path string) []string {
	var all []string
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch path += name; {
		case name == "apiVersion" || name == "kind":
		case f.Type.Kind() == reflect.Struct && name != "ipvs" && name != "winkernel":
			all = append(all, fields(f.Type, path+".")...)
		default:
			all = append(all, path)
		}
		path = strings.TrimSuffix(path, name)
	}
	return all
}

// flags are the command line's, as --help prints them.
func flags(t *testing.T) []string {
	t.Helper()
	var help strings.Builder
	if code := run([]string{"--help"}, &help, &help); code != exitOK {
		t.Fatal(help.String())
	}
	var all []string
	for _, f := range regexp.MustCompile(`(?m)^  -(\S+)`).FindAllStringSubmatch(help.String(), -1) {
		if len(f[1]) > 1 {
			f[1] = "-" + f[1]
		}
		all = append(all, "-"+f[1])
	}
	return all
}

// metricNames are those of a scrape after everything has happened once.
func metricNames(t *testing.T) []string {
	t.Helper()
	m := metrics.New(plan.New(plan.Options{}), []string{"IPv4"})
	m.Queued(time.Now())
	m.Applied(metrics.Applied{Changes: &proxy.Changes{Routes: []proxy.RouteChange{{}}, Triggered: []proxy.Trigger{{Family: "IPv4", At: 1}}}})
	m.Applied(metrics.Applied{Changes: &proxy.Changes{}, Full: true})
	m.Flows("IPv4", 0, 0)
	m.Healthz(200)
	m.Livez(200)
	m.Requested("GET", "h", 0)
	m.Answered("200", "GET", "h")
	m.Skipped(0)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var all []string
	for _, name := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(w.Body.String(), -1) {
		if !strings.HasPrefix(name[1], "go_") && !strings.HasPrefix(name[1], "process_") {
			all = append(all, name[1])
		}
	}
	return all
}
