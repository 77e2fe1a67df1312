package hosts_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/plugintest"
)

var temporary = regexp.MustCompile(`/[^ ":]*/hosts`)

// elsewhere gives the file of a test another name.
func elsewhere(text string) string { return temporary.ReplaceAllString(text, "/tmp/hosts") }

// emptied is what is said of a file that has lost its addresses.
func emptied(entries int) string {
	return fmt.Sprintf("[WARNING] plugin/hosts: Hosts file \"/tmp/hosts\": no line begins with an address any more, which counts if the next look finds the same; "+
		"the %d entries that were read before stay\n", entries)
}

// fileStep changes the file.
type fileStep struct {
	name    string
	change  func(testing.TB)
	want    string // the address of a.example.org, "" for none
	printed string // since the step before
}

// put writes the file in place.
func put(path, text string) func(testing.TB) {
	return func(t testing.TB) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// follow goes through steps, the first before the start, while the file is looked at every 3 s, and asks some time after each.
func follow(t *testing.T, path string, steps []fileStep, first, pause time.Duration) {
	steps[0].change(t)
	o, err := parse(t, "hosts "+path+" {\nreload 3s\n}")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		e, out := plugintest.Env(t, "hosts", journal.Text)
		h, err := hosts.New(o, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		for i, s := range steps {
			if i == 0 {
				time.Sleep(first)
			} else {
				s.change(t)
				time.Sleep(pause)
			}
			synctest.Wait()
			want := "SERVFAIL"
			if s.want != "" {
				want = "NOERROR | aa | a.example.org. 3600 IN A " + s.want
			}
			if got := answer(t, h, "a.example.org. A"); got != want {
				t.Errorf("%s: got %s, want %s", s.name, got, want)
			}
			if got := elsewhere(out.Take()); got != s.printed {
				t.Errorf("%s: printed %q, want %q", s.name, got, s.printed)
			}
		}
	})
}

// TestReload changes the file in every way, two reloads apart.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	put := func(text string) func(testing.TB) { return put(path, text) }
	steps := []fileStep{
		{"there", put("10.0.0.1 a.example.org"), "10.0.0.1", ""},
		{"another address", put("10.0.0.22 a.example.org"), "10.0.0.22", ""},
		{"gone", func(t testing.TB) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "10.0.0.22", "[WARNING] plugin/hosts: stat /tmp/hosts: no such file or directory; the 2 entries that were read before stay\n"},
		{"no hosts file any more", put("<html>502 Bad Gateway\n</html>\n"), "10.0.0.22",
			"[WARNING] plugin/hosts: Hosts file \"/tmp/hosts\": no line begins with an address; the 2 entries that were read before stay\n"},
		{"back", put("10.0.0.3 a.example.org\n10.0.0.3 b.example.org"), "10.0.0.3", "[INFO] plugin/hosts: Hosts file \"/tmp/hosts\" can be read again\n"},
		{"a folder", func(t testing.TB) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "10.0.0.3", "[WARNING] plugin/hosts: read /tmp/hosts: is a directory; the 4 entries that were read before stay\n"},
		{"the old one again", func(t testing.TB) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".old", path); err != nil {
				t.Fatal(err)
			}
		}, "10.0.0.3", "[INFO] plugin/hosts: Hosts file \"/tmp/hosts\" can be read again\n"},
		{"nothing but a comment", put("# nothing"), "", emptied(4) +
			"[INFO] plugin/hosts: Hosts file \"/tmp/hosts\" still has no line that begins with an address: its entries are gone\n"},
		{"one entry", put("10.0.0.4 a.example.org"), "10.0.0.4", ""},
	}
	follow(t, path, steps, 7*time.Second, 7*time.Second)
}

// TestEmptied looks at the file while it is being written: what is cut to nothing for a moment answers as before.
func TestEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	const again = "[INFO] plugin/hosts: Hosts file \"/tmp/hosts\" can be read again\n"
	var steps []fileStep
	for _, s := range []struct{ text, want, printed string }{
		{"10.0.0.1 a.example.org", "10.0.0.1", ""},
		{"", "10.0.0.1", emptied(2)},
		{"10.0.0.22 a.example.org", "10.0.0.22", again},
		{"# to be written", "10.0.0.22", emptied(2)},
		{"# to be written soon", "10.0.0.22", ""},
		{"10.0.33.33 a.example.org", "10.0.33.33", again},
		{"", "10.0.33.33", emptied(2)},
		{"10.0.0.44", "", again},
	} {
		steps = append(steps, fileStep{fmt.Sprintf("%q", s.text), put(path, s.text), s.want, s.printed})
	}
	follow(t, path, steps, time.Second, 3*time.Second)
}

// TestNoReload: with reload 0 the file is read at the start and never again. One that is not there is not spoken of then:
// that has been done when the Corefile was read.
func TestNoReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	o, err := parse(t, "hosts "+path+" {\nreload 0s\n}")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		e, out := plugintest.Env(t, "hosts", journal.Text)
		h, err := hosts.New(o, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		if err := os.WriteFile(path, []byte("10.0.0.1 a.example.org"), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := answer(t, h, "a.example.org. A"); got != "SERVFAIL" {
			t.Errorf("got %s", got)
		}
		if got := out.Take(); got != "" {
			t.Errorf("printed %q", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("10.0.0.1 a.example.org b.example.org elsewhere.net\n10.0.0.2 *.example.org"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(0, 0), time.Unix(1700000000, 500000000)); err != nil {
		t.Fatal(err)
	}
	o, err := parse(t, "hosts "+path+" {\n10.0.0.3 c.example.org\n}")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "hosts", journal.Text)
	h, err := hosts.New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	want := `# HELP coredns_hosts_entries The combined number of entries in hosts and Corefile.
# TYPE coredns_hosts_entries gauge
coredns_hosts_entries{hostsfile="` + path + `"} 7
# HELP coredns_hosts_reload_timestamp_seconds The timestamp of the last reload of hosts file.
# TYPE coredns_hosts_reload_timestamp_seconds gauge
coredns_hosts_reload_timestamp_seconds 1.7000000005e+09
`
	if err := testutil.GatherAndCompare(e.Metrics.(prometheus.Gatherer), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
