package plugin

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// newCompiler makes one whose journal nobody reads.
func newCompiler(t testing.TB) *Compiler {
	t.Helper()
	j := journal.New(new(strings.Builder), journal.Text)
	t.Cleanup(j.Close)
	c, err := NewCompiler(Options{Journal: j, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, text string) *config.File {
	t.Helper()
	file, err := config.Parse("Corefile", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// kept names the parts of a Setup that it has from another one, and those that are its own, in order.
func kept(s, before *Setup) (had, own []string) {
	for _, p := range s.parts {
		name := strings.TrimPrefix(fmt.Sprintf("%T", p.value), "*")
		name = name[:strings.IndexByte(name, '.')]
		if slices.Contains(before.parts, p) {
			had = append(had, name)
		} else {
			own = append(own, name)
		}
	}
	return had, own
}

// TestKept: a change in a Corefile makes those parts anew that mean something else by it.
func TestKept(t *testing.T) {
	folder := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	objects := put("objects.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: default}}\n")
	first, second := upstreamtest.NewIdentity(t), upstreamtest.NewIdentity(t)
	_, _, authority := first.Files(t)
	_, _, other := second.Files(t)
	pem := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	put("ca.pem", pem(authority))
	common := `.:0 {
    bind 127.0.0.1
    grpc . 127.0.0.1:2 {
        tls ` + filepath.Join(folder, "ca.pem") + `
    }
    etcd example.net {
        endpoint https://127.0.0.1:3
        tls ` + filepath.Join(folder, "ca.pem") + `
    }
    loadbalance weighted ` + put("weights", "") + ` {
        reload 0s
    }
    ready 127.0.0.1:0
    health 127.0.0.1:0
    prometheus 127.0.0.1:0 {
        tls ` + put("web.yml", "") + `
    }
    errors
    cache 30
    hosts /nonexistent {
        192.0.2.1 a.example
        fallthrough
    }
    kubernetes cluster.local {
        manifests ` + objects + `
        fallthrough
    }
    loop
    forward example.org tls://127.0.0.1 {
        tls ` + filepath.Join(folder, "ca.pem") + `
        except a.example.org
    }
    forward . 127.0.0.1:1
}
`
	const all = "endpoint endpoint endpoint errors loadbalance cache hosts kubernetes etcd loop forward forward grpc"
	without := func(names ...string) string {
		return strings.Join(slices.DeleteFunc(strings.Fields(all), func(name string) bool { return slices.Contains(names, name) }), " ")
	}
	replace := func(old, new string) func() string {
		return func() string { return strings.Replace(common, old, new, 1) }
	}
	for _, tt := range []struct {
		name   string
		change func() string
		want   string
	}{
		{"nothing", func() string { return common }, all},
		{"comments and blanks", func() string { return "# one\n\n" + strings.ReplaceAll(common, "    ", "\t") }, all},
		{"the order of directives", replace("    errors\n    cache 30", "    cache 30\n    errors"), all},
		{"a directive before cache", replace("    errors\n", "    errors\n    log\n    rewrite name a b\n"), all},
		{"another zone", replace(".:0 {", ".:0 example.org:0 {"), without("hosts", "cache")}, // whose zones are those of the block
		{"another block", func() string { return common + ".:1 {\n    bind 127.0.0.1\n    whoami\n}\n" }, all},
		{"the block stands behind another one", func() string {
			return strings.Replace(common, ".:0", ".:1", 1) + strings.Replace(common, "192.0.2.1", "192.0.2.2", 1)
		}, all},
		{"what cache says", replace("cache 30", "cache 31"), without("cache")},
		{"what loadbalance says", replace("reload 0s", "reload 1s"), without("loadbalance")},
		{"what hosts says", replace("192.0.2.1", "192.0.2.2"), without("cache", "hosts")},
		{"a kubernetes option that is the default", replace("        manifests", "        ttl 5\n        manifests"), without("cache")},
		{"a kubernetes option", replace("        manifests", "        ttl 6\n        manifests"), without("cache", "kubernetes")},
		{"kubernetes is gone", func() string {
			return common[:strings.Index(common, "    kubernetes")] + common[strings.Index(common, "    loop"):]
		},
			without("cache", "kubernetes")},
		{"a line of forward, which loop watches", replace(":1\n}", ":2\n}"), without("cache", "loop", "forward")},
		{"what etcd says", replace("https://127.0.0.1:3", "https://127.0.0.1:4"), without("cache", "etcd")},
		{"an etcd option that is the default", replace("        endpoint", "        path skydns\n        endpoint"), without("cache")},
		{"what grpc says", replace("127.0.0.1:2 {", "127.0.0.1:3 {"), without("cache", "grpc")},
		{"where grpc lets names fall through to", replace("    loop\n", "    whoami\n    loop\n"), without("cache", "grpc")},
		{"loop is gone", replace("    loop\n", ""), without("cache", "loop", "forward")},
		{"a view", replace("    errors\n", "    errors\n    view a\n"), without("cache", "grpc")},
		{"the address", replace("bind 127.0.0.1", "bind 127.0.0.2"), without("cache", "kubernetes")},
		{"an endpoint is gone", replace("    ready 127.0.0.1:0\n", ""), strings.Replace(all, "endpoint ", "", 1)},
		{"the content of a file that is read once", func() string {
			put("ca.pem", pem(other))
			return common
		}, without("etcd", "loop", "forward", "grpc")},
		{"a web configuration file", func() string {
			put("web.yml", "rate_limit: {interval: 1s, burst: 5}\n")
			return common
		}, strings.Replace(all, "endpoint ", "", 1)},
		{"the way to an endpoint", replace("        tls "+filepath.Join(folder, "web.yml")+"\n", ""), strings.Replace(all, "endpoint ", "", 1)},
		{"weights that are read once", func() string {
			put("weights", "a.example\n192.0.2.1 2\n")
			return common
		}, without("loadbalance")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			put("ca.pem", pem(authority))
			put("weights", "")
			put("web.yml", "")
			c := newCompiler(t)
			before, err := c.Compile(parse(t, common))
			if err != nil {
				t.Fatal(err)
			}
			if err := before.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer before.Stop()
			next, err := c.compile(parse(t, tt.change()), before)
			if err != nil {
				t.Fatal(err)
			}
			had, own := kept(next, before)
			if got := strings.Join(had, " "); got != tt.want {
				t.Errorf("kept %s, want %s; anew %s", got, tt.want, own)
			}
		})
	}
}

// TestNeverKept: what the start has found out, and what it does not go on to follow, is found out again.
func TestNeverKept(t *testing.T) {
	for _, lines := range []string{
		"forward . localhost {\nresolver 127.0.0.1:1\n}",
		"loop\nforward . localhost",
		"hosts /nonexistent {\nreload 0s\n}",
	} {
		c := newCompiler(t)
		text := ".:0 {\nbind 127.0.0.1\n" + lines + "\n}"
		before, err := c.Compile(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range before.parts {
			p.running = true
		}
		next, err := c.compile(parse(t, text), before)
		if err != nil {
			t.Fatal(err)
		}
		if had, _ := kept(next, before); len(had) > 0 {
			t.Errorf("%q: kept %s", lines, had)
		}
	}
}

// TestFailedTogether: a Setup that cannot start ends what it has started, and nothing that it has taken over.
func TestFailedTogether(t *testing.T) {
	c := newCompiler(t)
	text := ".:0 {\nbind 127.0.0.1\nhosts /nonexistent\n}"
	before, err := c.Compile(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer before.Stop()
	next, err := c.compile(parse(t, strings.Replace(text, "bind", "ready 127.0.0.1:0\nhealth 192.0.2.1:1\nbind", 1)), before)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "192.0.2.1:1") {
		t.Errorf("error %v", err)
	}
	for _, p := range next.parts {
		if p.running != slices.Contains(before.parts, p) {
			t.Errorf("%T runs: %t", p.value, p.running)
		}
	}
}
