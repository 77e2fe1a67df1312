package loadbalance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/plugintest"
)

// favourite is the address that nearly always comes first.
func favourite(t testing.TB, b *loadbalance.LoadBalance) string {
	t.Helper()
	m := records(t, "a.example.org. 5 IN A 10.0.0.1\na.example.org. 5 IN A 10.0.0.2")
	first := map[string]int{}
	for range 200 {
		first[firstAddress(plugintest.Message(t, balance(t, b, plugintest.Ask(t, "a.example.org.", dns.TypeA), m)).Answer)]++
	}
	for address, n := range first {
		if n > 180 {
			return address
		}
	}
	return "none"
}

// TestReload changes the file in every way, two reloads apart.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	put := func(text string) func(testing.TB) {
		return func(t testing.TB) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t testing.TB) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name    string
		change  func(testing.TB)
		want    string
		printed string
	}{
		{"not there", func(testing.TB) {}, "none", ""},
		{"broken", put("10.0.0.1 1"), "none", "[ERROR] plugin/loadbalance: weight file FILE:1: missing domain name\n"},
		{"there", put("a.example.org\n10.0.0.1 255"), "10.0.0.1", "[INFO] plugin/loadbalance: Successfully reloaded weight file FILE\n"},
		{"the same", put("a.example.org\n10.0.0.1 255"), "10.0.0.1", ""},
		{"another address", put("a.example.org\n10.0.0.2 255"), "10.0.0.2", "[INFO] plugin/loadbalance: Successfully reloaded weight file FILE\n"},
		{"gone", remove, "10.0.0.2", "[ERROR] plugin/loadbalance: stat FILE: no such file or directory; the weights that were read before stay\n"},
		{"no weight file any more", put("a.example.org\n10.0.0.1 256"), "10.0.0.2",
			"[ERROR] plugin/loadbalance: weight file FILE:2: wrong weight value:\"256\"; the weights that were read before stay\n"},
		{"back as it was", put("a.example.org\n10.0.0.2 255"), "10.0.0.2", "[INFO] plugin/loadbalance: Weight file FILE can be read again\n"},
		{"empty", put(""), "none", "[INFO] plugin/loadbalance: Successfully reloaded weight file FILE\n"},
	}
	o, err := loadbalance.Parse(plugintest.Directive(t, "loadbalance weighted "+path+" {\nreload 3s\n}"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		e, out := plugintest.Env(t, "loadbalance", journal.Text)
		b := loadbalance.New(o, e)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Stop()
		for _, s := range steps {
			s.change(t)
			time.Sleep(7 * time.Second)
			synctest.Wait()
			if got := favourite(t, b); got != s.want {
				t.Errorf("%s: %s comes first, want %s", s.name, got, s.want)
			}
			if got := strings.ReplaceAll(out.Take(), path, "FILE"); got != s.printed {
				t.Errorf("%s: printed %q, want %q", s.name, got, s.printed)
			}
		}
	})
}

// TestNoReload: with reload 0 the file is read at the start and never again.
func TestNoReload(t *testing.T) {
	path := weightFile(t, "a.example.org\n10.0.0.1 255")
	o, err := loadbalance.Parse(plugintest.Directive(t, "loadbalance weighted "+path+" {\nreload 0s\n}"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		e, _ := plugintest.Env(t, "loadbalance", journal.Text)
		b := loadbalance.New(o, e)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Stop()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := favourite(t, b); got != "10.0.0.1" {
			t.Errorf("%s comes first", got)
		}
		if err := loadbalance.New(o, e).Start(t.Context()); err == nil {
			t.Error("a start without the file")
		}
	})
}
