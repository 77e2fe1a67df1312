package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// asProgram makes the test binary be waypost.
const asProgram = "WAYPOST_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is waypost with arguments, in an empty folder of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	c.Dir = t.TempDir()
	return c
}

func TestCommandLine(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknown, twice := write("unknown", ". {\n  foo\n}\n"), write("twice", "a {\n}\na {\n}\n")
	platform := fmt.Sprintf("%s/%s, %s, ", runtime.GOOS, runtime.GOARCH, runtime.Version())
	tests := []struct {
		args           []string
		code           int
		stdout, stderr string // regular expressions
	}{
		{[]string{"-version"}, 0, "^Waypost-" + regexp.QuoteMeta(version+"\n"+platform) + ".*\n$", "^$"},
		{[]string{"-plugins"}, 0, "^(\\w+\n)*bind\n(\\w+\n)*errors\n(\\w+\n)*whoami\n$", "^$"},
		{[]string{"-h"}, 0, "^$", "(?s)^Usage of waypost:.*waypost demo .*waypost check .*-dns.port.*-p PORT.*-pidfile"},
		{[]string{"-nope"}, 2, "^$", "^flag provided but not defined: -nope\n"},
		{[]string{"-p", "x"}, 1, "^$", "^address x: invalid port\n$"},
		{[]string{"-dns.port", "70000"}, 1, "^$", "^address 70000: invalid port\n$"},
		{[]string{"-log-format", "xml"}, 1, "^$", "^unknown log format \"xml\": expected text or json\n$"},
		{[]string{"-conf", "a", "b", "c"}, 1, "^$", `^extra command line arguments: \[b c\]\n$`},
		{[]string{"-conf", "nowhere"}, 1, "^$", "^read the Corefile: open nowhere: no such file or directory\n$"},
		{[]string{"-conf", unknown}, 1, "^$", "^.*/unknown:2 - Error during parsing: Unknown directive 'foo'\n$"},
		{[]string{"-conf", twice, "-p", "54"}, 1, "^$", `^cannot serve dns://a.:54 - it is already defined \(.*/twice:3, first in .*/twice:1\)\n$`},
		{[]string{"-conf", unknown, "-log-format", "json"}, 1, "^$", `^\{"time":".*","level":"FATAL","msg":".*Unknown directive 'foo'"\}\n$`},
		{[]string{"demo", "x"}, 1, "^$", "^the demo has its own Corefile"},
	}
	for _, tt := range tests {
		c := program(t, tt.args...)
		var stdout, stderr strings.Builder
		c.Stdout, c.Stderr = &stdout, &stderr
		err := c.Run()
		if code := c.ProcessState.ExitCode(); code != tt.code {
			t.Errorf("%q: exit code %d, want %d (%v)", tt.args, code, tt.code, err)
		}
		if !regexp.MustCompile(tt.stdout).MatchString(stdout.String()) {
			t.Errorf("%q: stdout %q, want %q", tt.args, stdout.String(), tt.stdout)
		}
		if !regexp.MustCompile(tt.stderr).MatchString(stderr.String()) {
			t.Errorf("%q: stderr %q, want %q", tt.args, stderr.String(), tt.stderr)
		}
	}
}

// running is a waypost that serves.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Reader
}

// start runs a program until it has printed its banner.
func start(t *testing.T, c *exec.Cmd) *running {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() }) // which has ended long ago, unless the test failed
	return &running{t: t, cmd: c, lines: bufio.NewReader(out)}
}

// line is the next line that it prints.
func (r *running) line() string {
	r.t.Helper()
	line, err := r.lines.ReadString('\n')
	if err != nil {
		r.t.Fatalf("after %q: %v", line, err)
	}
	return line
}

func (r *running) expect(lines ...string) {
	r.t.Helper()
	for _, want := range lines {
		if got := r.line(); got != want+"\n" {
			r.t.Errorf("printed %q, want %q", got, want)
		}
	}
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the process and returns what it still printed.
func (r *running) end(code int) string {
	r.t.Helper()
	rest, err := io.ReadAll(r.lines)
	if err != nil {
		r.t.Fatal(err)
	}
	err = r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		r.t.Errorf("exit code %d, want %d", got, code)
	}
	return string(rest)
}

// platformLine is the last of the banner.
var platformLine = strings.Split(strings.TrimSuffix(versionText(), "\n"), "\n")[1]

// freePort is a port that nothing listens on, for UDP and TCP.
func freePort(t *testing.T) string {
	t.Helper()
	return freePorts(t, 1)[0]
}

// freePorts are some of them, no two the same.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once all are chosen
		packets, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		defer packets.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// exchange asks for the address of a name at a port, and waits for longer than a slow machine takes.
func exchange(network, port, name string) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: 20 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), "127.0.0.1:"+port)
	return reply, err
}

// fromPipe starts waypost with a Corefile on its standard input and reads the banner of its one zone.
func fromPipe(t *testing.T, text string, flags ...string) (r *running, port string) {
	t.Helper()
	port = freePort(t)
	c := program(t, append(flags, "-conf", "stdin", "-p", port)...)
	c.Stdin = strings.NewReader(text)
	r = start(t, c)
	r.expect(".:"+port+" on 127.0.0.1", "Waypost-"+version, platformLine)
	return r, port
}

const bound = ". {\n  bind 127.0.0.1\n  whoami\n  log\n}\n"

// TestTerminate: a question that was asked is answered and logged, and nothing is printed twice.
func TestTerminate(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	r, port := fromPipe(t, bound, "-pidfile", pid)
	if text, err := os.ReadFile(pid); err != nil || string(text) != fmt.Sprintln(r.cmd.Process.Pid) {
		t.Errorf("pid file %q, %v", text, err)
	}
	reply, err := exchange("udp", port, "example.org.")
	if err != nil || len(reply.Extra) != 2 {
		t.Errorf("got %v, %v", reply, err)
	}
	if line := r.line(); !strings.Contains(line, `"A IN example.org. udp 29 false 512" NOERROR qr,aa,rd 91 `) {
		t.Errorf("printed %q", line)
	}
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGTERM} {
		r.signal(s)
	}
	printed := r.end(0)
	for _, want := range []string{
		"[ERROR] SIGUSR2: Waypost does not replace its program: start the new one, which can listen on the same addresses\n",
		"[INFO] SIGTERM: Shutting down servers then terminating\n",
	} {
		if strings.Count(printed, want) != 1 {
			t.Errorf("printed %q, want %q once", printed, want)
		}
	}
	if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file is still there: %v", err)
	}
}

func TestInterrupt(t *testing.T) {
	lameduck := strings.Replace(bound, "whoami", "whoami\n  health 127.0.0.1:0 {\n    lameduck 1h\n  }", 1)
	r, _ := fromPipe(t, lameduck)
	r.signal(syscall.SIGINT)
	r.expect("[INFO] SIGINT: Shutting down", "[INFO] plugin/health: Going into lameduck mode for 1h0m0s")
	r.signal(syscall.SIGINT)
	r.expect("[INFO] SIGINT: Force quit")
	r.end(2)

	r, _ = fromPipe(t, bound)
	r.signal(syscall.SIGINT)
	r.expect("[INFO] SIGINT: Shutting down")
	r.end(0)
}

func TestQuit(t *testing.T) {
	r, _ := fromPipe(t, bound)
	r.signal(syscall.SIGQUIT)
	r.expect("[INFO] SIGQUIT: Quitting process immediately")
	r.end(0)
}

// TestEndDuringStart: a process that waits for its cluster ends at once when it is told to.
func TestEndDuringStart(t *testing.T) {
	c := program(t, "-conf", "stdin", "-p", freePort(t))
	c.Stdin = strings.NewReader("cluster.local {\n  bind 127.0.0.1\n  kubernetes {\n    endpoint http://127.0.0.1:1\n    startup_timeout 1h\n  }\n}\n")
	r := start(t, c)
	for !strings.Contains(r.line(), "waiting for Kubernetes API before starting server") {
	}
	r.signal(syscall.SIGTERM)
	if printed := r.end(0); !strings.Contains(printed, "[INFO] SIGTERM: Quitting during the start\n") {
		t.Errorf("printed %q", printed)
	}
}

// TestBuiltIn: without a Corefile, or with an empty one, whoami and log are served.
func TestBuiltIn(t *testing.T) {
	for _, empty := range []bool{false, true} {
		port := freePort(t)
		c := program(t, "-p", port)
		if empty {
			if err := os.WriteFile(filepath.Join(c.Dir, "Corefile"), []byte("# nothing\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := start(t, c)
		r.expect(".:"+port, "Waypost-"+version, platformLine)
		reply, err := exchange("udp", port, "example.org.")
		if err != nil || len(reply.Extra) != 2 {
			t.Errorf("got %v, %v", reply, err)
		}
		r.signal(syscall.SIGTERM)
		r.end(0)
	}
}

func TestQuiet(t *testing.T) {
	c := program(t, "-quiet", "-conf", "stdin", "-p", freePort(t), "-log-format", "json")
	c.Stdin = strings.NewReader(strings.Replace(bound, "log", "import nothing/*", 1))
	r := start(t, c)
	var warning map[string]string
	if err := json.Unmarshal([]byte(r.line()), &warning); err != nil {
		t.Fatal(err)
	}
	if got := warning["msg"]; !strings.Contains(got, "No files matching import glob pattern: nothing/*") {
		t.Errorf("printed %q", got)
	}
	r.signal(syscall.SIGTERM)
	if printed := r.end(0); strings.Contains(printed, version) || strings.Count(printed, "\n") != 1 {
		t.Errorf("printed %q", printed)
	}
}

// TestPortTaken: an address that another program has is named.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := program(t, "-conf", "stdin", "-p", port)
	c.Stdin = strings.NewReader(bound)
	out, err := c.CombinedOutput()
	want := regexp.MustCompile("^listening on (udp|tcp) 127.0.0.1:" + port + ": ") // its UDP port may be another's too
	if err == nil || !want.Match(out) || c.ProcessState.ExitCode() != 1 {
		t.Errorf("printed %q, want %s (%v)", out, want, err)
	}
}
