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
	r := &reloading{file: filepath.Join(t.TempDir(), "Corefile"), port: freePort(t), second: freePort(t)}
	r.write(t, text)
	r.running = start(t, program(t, append(flags, "-conf", r.file)...))
	for r.line() != platformLine+"\n" {
	}
	return r
}

func (r *reloading) write(t *testing.T, text string) {
	t.Helper()
	text = strings.NewReplacer("PORT2", r.second, "PORT", r.port).Replace(text)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
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
		request := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		reply, _, err := (&dns.Client{Net: network}).Exchange(request, "127.0.0.1:"+port)
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
	return fmt.Sprintf(".:%s {\n  bind 127.0.0.1\n  hosts /nonexistent {\n    192.0.2.%d www.example.org\n    fallthrough\n  }\n  whoami\n}\n", port, n)
}

var reloaded = []string{"[INFO] Reloading", "[WARNING] plugin/hosts: File does not exist: /nonexistent...", "[INFO] Reloading complete"}

// TestReload: SIGUSR1 has a changed Corefile served, and one that cannot be served leaves the one before it.
func TestReload(t *testing.T) {
	r := startReloading(t, serving("PORT", 1))
	expectAnswers(t, r.port, "192.0.2.1")
	r.reload(t, serving("PORT", 2), reloaded...)
	expectAnswers(t, r.port, "192.0.2.2")
	for _, tt := range []struct{ text, want string }{
		{". {\n", "...Corefile:1 - Syntax error: Unexpected token '{', expecting '}'"},
		{". {\n  foo\n}\n", "...Corefile:2 - Error during parsing: Unknown directive 'foo'"},
		{". {\n  bind x\n}\n", `plugin/bind: ...Corefile:2 - Error during parsing: not a valid IP address or interface name: "x"`},
		{strings.Replace(serving("PORT2", 3), "hosts", "health 192.0.2.1:1\n  hosts", 1), `serve /health at "192.0.2.1:1": ...`},
	} {
		refused := []string{"[INFO] Reloading"}
		if strings.Contains(tt.text, "hosts") {
			refused = reloaded[:2]
		}
		r.reload(t, tt.text, append(refused, "[ERROR] Restart failed: "+tt.want, "[ERROR] SIGUSR1: starting with listener file descriptors: "+tt.want)...)
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
	r.reload(t, serving("PORT", 2)+serving("PORT2", 3), reloaded[0], reloaded[1], reloaded[1], reloaded[2])
	expectAnswers(t, r.port, "192.0.2.2")
	expectAnswers(t, r.second, "192.0.2.3")
	r.reload(t, serving("PORT2", 4), reloaded...)
	expectAnswers(t, r.second, "192.0.2.4")
	other := take(t, r.port)
	defer other.Close()
	taken := "listening on udp 127.0.0.1:" + r.port + ": ..."
	r.reload(t, serving("PORT", 5)+serving("PORT2", 6), reloaded[0], reloaded[1], reloaded[1], "[ERROR] Restart failed: "+taken,
		"[ERROR] SIGUSR1: starting with listener file descriptors: "+taken)
	expectAnswers(t, r.second, "192.0.2.4")
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// take takes a port, as soon as nothing else has it: the end of a listener may come a moment after it has been replaced.
func take(t *testing.T, port string) io.Closer {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		conn, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		if err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
