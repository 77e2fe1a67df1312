package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// reloading is a waypost with a Corefile that the test changes. PORT in the Corefile is its port, and PORT2 another one.
type reloading struct {
	*running
	file         string
	port, second string
}

// startReloading starts waypost with a Corefile, and reads its banner up to the version.
func startReloading(t *testing.T, text string, flags ...string) *reloading {
	t.Helper()
	free := freePorts(t, 2)
	r := &reloading{file: filepath.Join(t.TempDir(), "Corefile"), port: free[0], second: free[1]}
	r.write(t, text)
	r.running = start(t, program(t, append(flags, "-conf", r.file)...))
	for r.line() != platformLine+"\n" {
	}
	return r
}

// write puts another Corefile in the place of the one that is there: whoever looks at it meanwhile finds one of them, and never a
// part of it.
func (r *reloading) write(t *testing.T, text string) {
	t.Helper()
	text = strings.NewReplacer("PORT2", r.second, "PORT", r.port).Replace(text)
	if err := os.WriteFile(r.file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		t.Fatal(err)
	}
}

// reload writes another Corefile, sends SIGUSR1, and expects these lines behind the one about the signal. "..." stands for
// anything.
func (r *reloading) reload(t *testing.T, text string, lines ...string) {
	t.Helper()
	r.write(t, text)
	r.signal(syscall.SIGUSR1)
	r.printed("[INFO] SIGUSR1: Reloading")
	r.printed(lines...)
}

func (r *reloading) printed(lines ...string) {
	r.t.Helper()
	for _, want := range lines {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), regexp.QuoteMeta("..."), ".*")
		if got := r.line(); !regexp.MustCompile("^" + pattern + "\n$").MatchString(got) {
			r.t.Errorf("printed %q, want %q", got, want)
		}
	}
}

// answers asks for the address of www.example.org at a port, over both transports.
func answers(t *testing.T, port string) string {
	t.Helper()
	var all []string
	for _, network := range []string{"udp", "tcp"} {
		reply, err := exchange(network, port, "www.example.org.")
		switch {
		case err != nil:
			all = append(all, "error")
		case len(reply.Answer) == 0:
			all = append(all, dns.RcodeToString[reply.Rcode])
		default:
			all = append(all, reply.Answer[0].(*dns.A).A.String())
		}
	}
	return strings.Join(all, " ")
}

func expectAnswers(t *testing.T, port, want string) {
	t.Helper()
	if got := answers(t, port); got != want+" "+want {
		t.Errorf("port %s: %s, want %s", port, got, want)
	}
}

// page fetches a page of one of the program's endpoints.
func page(t *testing.T, port, path string) string {
	t.Helper()
	response, err := http.Get("http://" + net.JoinHostPort("127.0.0.1", port) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// serving is a Corefile that has 192.0.2.N as the address of www.example.org at a port.
func serving(port string, n int) string {
	return fmt.Sprintf(".:%s {\n  bind 127.0.0.1\n%s}\n", port, hosting(n))
}

// hosting are directives for that.
func hosting(n int) string {
	return fmt.Sprintf(`  template IN A www.example.org {
    answer "{{.Name}} 60 IN A 192.0.2.%d"
  }
  template ANY ANY {
    rcode NXDOMAIN
  }
`, n)
}

// reloaded are the lines about a reload without the directive.
var reloaded = []string{"[INFO] Reloading", "[INFO] Reloading complete"}

// found are those with it.
var found = []string{"[INFO] Reloading", "[INFO] plugin/reload: Running configuration SHA512 = ...", "[INFO] Reloading complete"}

// TestReload: SIGUSR1 has a changed Corefile served, and one that cannot be served leaves the one before it.
func TestReload(t *testing.T) {
	r := startReloading(t, serving("PORT", 1))
	expectAnswers(t, r.port, "192.0.2.1")
	r.reload(t, serving("PORT", 2), reloaded...)
	expectAnswers(t, r.port, "192.0.2.2")
	for _, tt := range []struct{ text, want string }{
		{"", "...Corefile: the Corefile has no server block"},
		{"# to be written\n", "...Corefile: the Corefile has no server block"},
		{". {\n", "...Corefile:1 - Syntax error: Unexpected token '{', expecting '}'"},
		{". {\n  foo\n}\n", "...Corefile:2 - Error during parsing: Unknown directive 'foo'"},
		{". {\n  bind x\n}\n", `plugin/bind: ...Corefile:2 - Error during parsing: not a valid IP address or interface name: "x"`},
		{strings.Replace(serving("PORT2", 3), "bind", "health 192.0.2.1:1\n  bind", 1), `serve /health at "192.0.2.1:1": ...`},
	} {
		r.reload(t, tt.text, reloaded[0], "[ERROR] Restart failed: "+tt.want, "[ERROR] SIGUSR1: starting with listener file descriptors: "+tt.want)
		expectAnswers(t, r.port, "192.0.2.2")
		expectAnswers(t, r.second, "error")
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGUSR1)
	r.printed("[INFO] SIGUSR1: Reloading", "[ERROR] SIGUSR1: loading updated Caddyfile: ...no such file or directory")
	expectAnswers(t, r.port, "192.0.2.2")
	r.reload(t, serving("PORT", 4), reloaded...)
	expectAnswers(t, r.port, "192.0.2.4")
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// TestReloadListeners: a listener that is new is opened, one that stays is kept, one that is gone is closed; one that
// another program has keeps all as it was.
func TestReloadListeners(t *testing.T) {
	r := startReloading(t, serving("PORT", 1))
	r.reload(t, serving("PORT", 2)+serving("PORT2", 3), reloaded...)
	expectAnswers(t, r.port, "192.0.2.2")
	expectAnswers(t, r.second, "192.0.2.3")
	r.reload(t, serving("PORT2", 4), reloaded...)
	expectAnswers(t, r.second, "192.0.2.4")
	other := take(t, func() (io.Closer, error) { return net.ListenPacket("udp", "127.0.0.1:"+r.port) })
	defer other.Close()
	taken := "listening on udp 127.0.0.1:" + r.port + ": ..."
	r.reload(t, serving("PORT", 5)+serving("PORT2", 6), reloaded[0], "[ERROR] Restart failed: "+taken,
		"[ERROR] SIGUSR1: starting with listener file descriptors: "+taken)
	expectAnswers(t, r.second, "192.0.2.4")
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// take takes a port, as soon as nothing else has it: the end of a listener may come a moment after it has been replaced.
func take(t *testing.T, listen func() (io.Closer, error)) io.Closer {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		taken, err := listen()
		if err == nil {
			return taken
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestReloadTimer: with the directive a changed Corefile is found, and one that cannot be served is tried once and shown.
func TestReloadTimer(t *testing.T) {
	with := func(n int, more string) string {
		return strings.Replace(serving("PORT", n), "bind", "reload 2s 0s\n  prometheus 127.0.0.1:PORT2\n  "+more+"\n  bind", 1)
	}
	r := startReloading(t, with(1, ""))
	r.write(t, with(2, ""))
	r.printed(found...)
	expectAnswers(t, r.port, "192.0.2.2")
	r.expectMetrics(t, "coredns_reload_failed_total 0", `coredns_reload_version_info{hash="sha512",value="...} 1`, "waypost_reload_failed 0", `waypost_reload_serving_info{hash="sha512",value="...} 1`)

	r.write(t, with(3, "foo"))
	wrong := "...Corefile:4 - Error during parsing: Unknown directive 'foo'"
	r.printed(reloaded[0], "[ERROR] Restart failed: "+wrong,
		"[ERROR] plugin/reload: Corefile changed but reload failed: starting with listener file descriptors: "+wrong)
	expectAnswers(t, r.port, "192.0.2.2")
	r.expectMetrics(t, "coredns_reload_failed_total 1", `coredns_reload_version_info{hash="sha512",value="...} 1`, "waypost_reload_failed 1", `waypost_reload_serving_info{hash="sha512",value="...} 1`)

	r.write(t, with(4, ""))
	r.printed(found...)
	expectAnswers(t, r.port, "192.0.2.4")
	r.expectMetrics(t, "coredns_reload_failed_total 1", `coredns_reload_version_info{hash="sha512",value="...} 1`, "waypost_reload_failed 0", `waypost_reload_serving_info{hash="sha512",value="...} 1`)
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// expectMetrics fetches the metrics about reloads from the second port.
func (r *reloading) expectMetrics(t *testing.T, want ...string) {
	t.Helper()
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(want, "\n")), regexp.QuoteMeta("..."), "[0-9a-f]{128}\"")
	got := strings.Join(regexp.MustCompile(`(?m)^(coredns|waypost)_reload_.*$`).FindAllString(page(t, r.second, "/metrics"), -1), "\n")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		t.Errorf("metrics\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestReloadEndpoints: the metrics count on over a reload at the same port, which something else can have once they are
// not wanted there any more.
func TestReloadEndpoints(t *testing.T) {
	with := func(n int, more string) string {
		return strings.Replace(serving("PORT", n), "bind", more+"\n  bind", 1)
	}
	r := startReloading(t, with(1, "prometheus 127.0.0.1:PORT2"))
	expectAnswers(t, r.port, "192.0.2.1")
	r.reload(t, with(2, "prometheus 127.0.0.1:PORT2\n  errors"), reloaded...)
	expectAnswers(t, r.port, "192.0.2.2")
	text := page(t, r.second, "/metrics")
	server := `server="dns://127.0.0.1:` + r.port + `",view="",zone="."`
	for _, want := range []string{
		"\ncoredns_dns_responses_total{plugin=\"errors\",rcode=\"NOERROR\"," + server + "} 2\n",
		"\ncoredns_dns_responses_total{plugin=\"template\",rcode=\"NOERROR\"," + server + "} 2\n",
		"\ncoredns_plugin_enabled{name=\"errors\"," + server + "} 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.reload(t, serving("PORT", 3), reloaded...)
	take(t, func() (io.Closer, error) { return net.Listen("tcp", "127.0.0.1:"+r.second) }).Close()
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// TestReloadPipe: what came through standard input is what is reloaded.
func TestReloadPipe(t *testing.T) {
	r, _ := fromPipe(t, bound)
	r.signal(syscall.SIGUSR1)
	r.expect("[INFO] SIGUSR1: Reloading", "[INFO] Reloading", "[INFO] Reloading complete")
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// TestLastGood: a start with a Corefile that cannot be served serves the last one that could be, with what that imported,
// until the Corefile is mended.
func TestLastGood(t *testing.T) {
	folder, imported := t.TempDir(), filepath.Join(t.TempDir(), "answers.conf")
	if err := os.WriteFile(imported, []byte(hosting(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	good := ".:PORT {\n  bind 127.0.0.1\n  prometheus 127.0.0.1:PORT2\n  import " + imported + "\n}\n"
	r := startReloading(t, good, "-lastgood", folder)
	r.signal(syscall.SIGTERM)
	r.end(0)
	if err := os.Remove(imported); err != nil {
		t.Fatal(err)
	}
	r.running = start(t, program(t, "-conf", r.file, "-lastgood", folder))
	r.printed("[ERROR] The Corefile cannot be served: ...Corefile:4 - Error during parsing: File to import not found: ...answers.conf",
		"[WARNING] Serving "+folder+"/Corefile.lastgood, the last one that could be", ".:"+r.port+" on 127.0.0.1")
	r.printed("Waypost-...", platformLine)
	expectAnswers(t, r.port, "192.0.2.1")
	r.expectMetrics(t, "coredns_reload_failed_total 0", "waypost_reload_failed 1", `waypost_reload_serving_info{hash="sha512",value="...} 1`)
	r.reload(t, strings.Replace(serving("PORT", 2), "bind", "prometheus 127.0.0.1:PORT2\n  bind", 1), reloaded...)
	expectAnswers(t, r.port, "192.0.2.2")
	r.expectMetrics(t, "coredns_reload_failed_total 0", `coredns_reload_version_info{hash="sha512",value="...} 1`, "waypost_reload_failed 0", `waypost_reload_serving_info{hash="sha512",value="...} 1`)
	r.signal(syscall.SIGTERM)
	r.end(0)
	if copies, err := os.ReadDir(folder); len(copies) != 1 || err != nil {
		t.Errorf("files %v, %v", copies, err)
	}
}

// TestLastGoodEmpty: at a start an empty Corefile cannot be served where there is a copy, which stays as it is, until the
// Corefile is mended.
func TestLastGoodEmpty(t *testing.T) {
	folder := t.TempDir()
	with := func(n int) string { return strings.Replace(serving("PORT", n), "bind", "reload 2s 0s\n  bind", 1) }
	r := startReloading(t, with(1), "-lastgood", folder)
	r.signal(syscall.SIGTERM)
	r.end(0)
	for _, text := range []string{"", "# to be written\n"} {
		r.write(t, text)
		r.running = start(t, program(t, "-conf", r.file, "-lastgood", folder))
		if r.printed("[ERROR] The Corefile cannot be served: " + r.file + ": the Corefile has no server block"); t.Failed() {
			return
		}
		r.printed("[WARNING] Serving "+folder+"/Corefile.lastgood, the last one that could be", ".:"+r.port+" on 127.0.0.1",
			"[INFO] plugin/reload: Running configuration SHA512 = ...", "Waypost-...", platformLine)
		expectAnswers(t, r.port, "192.0.2.1")
		if text == "" {
			r.signal(syscall.SIGTERM)
			r.end(0)
		}
	}
	r.write(t, with(2))
	for line := ""; line != reloaded[1]+"\n"; line = r.line() {
	}
	expectAnswers(t, r.port, "192.0.2.2")
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// TestLastGoodBuiltIn: what is served without a Corefile is not kept.
func TestLastGoodBuiltIn(t *testing.T) {
	folder := t.TempDir()
	r := startReloading(t, "", "-lastgood", folder, "-p", freePort(t))
	r.signal(syscall.SIGTERM)
	r.end(0)
	if copies, err := os.ReadDir(folder); len(copies) != 0 || err != nil {
		t.Errorf("files %v, %v", copies, err)
	}
}

// TestNoLastGood: without a copy, or with one that cannot be served either, the start fails as it does without the flag.
func TestNoLastGood(t *testing.T) {
	folder := t.TempDir()
	for _, tt := range []struct{ copied, want string }{
		{"", "^Corefile:1 - .*\n$"},
		{". {\n foo\n}\n", "^Corefile:1 - .*; nor can the last good one: .*/Corefile.lastgood:2 - .*'foo'\n$"},
	} {
		if tt.copied != "" {
			if err := os.WriteFile(lastGood(folder).path(), []byte(tt.copied), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := program(t, "-lastgood", folder)
		if err := os.WriteFile(filepath.Join(c.Dir, "Corefile"), []byte("{\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		c.Stderr = &stderr
		if err := c.Run(); err == nil || c.ProcessState.ExitCode() != exitError || !regexp.MustCompile(tt.want).MatchString(stderr.String()) {
			t.Errorf("printed %q, want %q (%v)", stderr.String(), tt.want, err)
		}
	}
}

// TestReloadWaits: while a new zone waits for its first state the old Corefile is served, and the process can end.
func TestReloadWaits(t *testing.T) {
	r := startReloading(t, serving("PORT", 1))
	r.reload(t, "cluster.local:PORT {\n  bind 127.0.0.1\n  kubernetes {\n    endpoint http://127.0.0.1:1\n    startup_timeout 1h\n  }\n}\n", reloaded[0])
	for !strings.Contains(r.line(), "waiting for Kubernetes API before starting server") {
	}
	expectAnswers(t, r.port, "192.0.2.1")
	r.signal(syscall.SIGTERM)
	if printed := r.end(0); strings.Contains(printed, "Restart failed") || strings.Contains(printed, reloaded[1]) {
		t.Errorf("printed %q", printed)
	}
}
