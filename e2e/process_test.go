package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/peers"
)

// programs are the two that have one surface.
var programs = []string{"coredns", "waypost"}

// processPort is where they serve, one after the other.
const processPort = "10077"

// ended is what a process left behind.
type ended struct {
	code           int
	stdout, stderr string
}

// words makes two ends comparable: names, versions and times of either program are one, and what Waypost adds to errors,
// places in files and what to do, is none.
func (e ended) words() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%sstderr:\n%s", e.code, sameWords(e.stdout), sameWords(e.stderr))
}

var sayings = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`(?m)^(\{.*"msg":")?maxprocs: .*\n`), ""}, // a library's, of no use to anybody
	{regexp.MustCompile(`(CoreDNS|Waypost)-[0-9]\S*`), "NAME-VERSION"},
	{regexp.MustCompile(`(?m)^linux/\w+, go\S+, .*$`), "PLATFORM"},
	{regexp.MustCompile(`"time":"[^"]*"`), `"time":"NOW"`},
	{regexp.MustCompile(`(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `), ""}, // package log's, before CoreDNS has taken it over
	{regexp.MustCompile(`loading Caddyfile via flag: |read the Corefile: `), "COREFILE: "},
	{regexp.MustCompile(`(plugin/\w+: )\S+:\d+ - Error during parsing: `), "$1"},
	{regexp.MustCompile(` \([^ ()]*:\d+(,? [^()]*)?\)`), ""},
	{regexp.MustCompile(`(?m)^(Listen: |listening on udp \S+: )listen (tcp|udp) `), "LISTEN "},
	{regexp.MustCompile(`(?m)^(LISTEN .*: bind: [^;\n]*); .*$`), "$1"}, // what to do about it
	{regexp.MustCompile(`(?s)Usage of .*`), "USAGE"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+ - \d+ "(.*) [0-9.]+s\n`), `CLIENT "$1 TIME` + "\n"},
}

func sameWords(text string) string {
	for _, s := range sayings {
		text = s.pattern.ReplaceAllString(text, s.text)
	}
	return text
}

// command is a program with arguments in a folder that has the files given.
func command(t *testing.T, p *peers.Peers, program, stdin string, files map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(p.Path(program), args...)
	c.Dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if stdin != "" {
		c.Stdin = strings.NewReader(stdin)
	}
	return c
}

// finish runs a command to its end.
func finish(t *testing.T, c *exec.Cmd) ended {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(30*time.Second, func() { c.Process.Kill() })
	defer stop.Stop()
	_ = c.Wait() // what it says is in the exit code
	return ended{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

const served = ".:" + processPort + " {\n  bind 127.0.0.1\n  whoami\n}\n"

// TestProcessEnds: command lines and Corefiles that end the start, on both programs: one exit code, one stream, the same
// words.
func TestProcessEnds(t *testing.T) {
	p := findPeers(t)
	files := map[string]string{
		"good": served, "unknown": ". {\n foo\n}\n", "setup": ". {\n cache 0\n}\n", "syntax": ". {\n", "zone": "a..b {\n}\n",
		"twice": "a {\n}\na {\n}\n", "option": ". {\n forward . 127.0.0.1 {\n  foo\n }\n}\n", "once": ". {\n errors\n errors\n}\n",
		"portless": ". {\n whoami\n}\n", "brace": ".:53 { whoami }\n", "import": "import nowhere\n", "late": ". {\n hosts {\n  fallthrough\n  10.0.0.1 a\n }\n}\n",
		"address": ".:" + processPort + " {\n bind 192.0.2.1\n whoami\n}\n", "overlap": ". {\n bind 127.0.0.1\n}\n. {\n whoami\n}\n",
	}
	for _, args := range []string{
		"-version", "-version -conf nowhere", "-nope", "-conf good b c", "-conf nowhere", "-conf unknown", "-conf setup", "-conf syntax",
		"-conf zone", "-conf twice", "-conf option", "-conf once", "-conf brace", "-conf import", "-conf late", "-conf .", "-conf address",
		"-conf overlap", "-conf portless -p 70000", "-conf syntax -dns.port 54", "-log-format xml", "-log-format json -conf unknown",
		"-quiet -conf unknown", "-pidfile pid -conf unknown", "-conf stdin",
	} {
		var all []ended
		for _, program := range programs {
			all = append(all, finish(t, command(t, p, program, stdinFor(args), files, strings.Fields(args)...)))
		}
		if diff := cmp.Diff(all[0].words(), all[1].words()); diff != "" {
			t.Errorf("%s (-CoreDNS +Waypost):\n%s", args, diff)
		}
	}
}

// stdinFor is what a command line finds on its standard input.
func stdinFor(args string) string {
	if strings.Contains(args, "stdin") {
		return ". {\n foo\n}\n"
	}
	return ""
}

// TestProcessFlags: every flag of CoreDNS is there, and every directive of Waypost is one of CoreDNS's.
func TestProcessFlags(t *testing.T) {
	p := findPeers(t)
	flags := map[string][]string{}
	plugins := map[string][]string{}
	for _, program := range programs {
		usage := finish(t, command(t, p, program, "", nil, "-h"))
		for _, flag := range regexp.MustCompile(`(?m)^  -(\S+)`).FindAllStringSubmatch(usage.stderr, -1) {
			flags[program] = append(flags[program], flag[1])
		}
		if usage.code != 0 {
			t.Errorf("%s -h: exit code %d", program, usage.code)
		}
		list := finish(t, command(t, p, program, "", nil, "-plugins"))
		plugins[program] = strings.Fields(list.stdout)
		if list.code != 0 || list.stderr != "" || program == "waypost" && !slices.IsSorted(plugins[program]) {
			t.Errorf("%s -plugins: %+v", program, list)
		}
	}
	for _, flag := range flags["coredns"] {
		if !slices.Contains(flags["waypost"], flag) {
			t.Errorf("waypost has no flag -%s", flag)
		}
	}
	if len(flags["coredns"]) < 8 || len(plugins["waypost"]) < 20 {
		t.Errorf("CoreDNS has the flags %v, Waypost the directives %v", flags["coredns"], plugins["waypost"])
	}
	for _, name := range plugins["waypost"] {
		if !slices.Contains(plugins["coredns"], name) {
			t.Errorf("CoreDNS has no directive %s", name)
		}
	}
}

// alive is a process that serves.
type alive struct {
	cmd     *exec.Cmd
	lines   *bufio.Reader
	printed strings.Builder
}

// serveOn starts a program and waits until it has printed a line that begins with last.
func serveOn(t *testing.T, c *exec.Cmd, last string) *alive {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(lifetime, func() { c.Process.Kill() }) // which has ended long ago, unless a signal got lost
	a := &alive{cmd: c, lines: bufio.NewReader(out)}
	if !a.says(last) {
		t.Fatalf("%s printed %q and no %q", c.Path, a.printed.String(), last)
	}
	return a
}

// says reads what is printed up to a line that begins with last. It reports false where the process ends without that.
func (a *alive) says(last string) bool {
	for {
		line, err := a.lines.ReadString('\n')
		a.printed.WriteString(line)
		if err != nil || strings.HasPrefix(line, last) {
			return err == nil
		}
	}
}

// end reads to the end and returns what has become of the process.
func (a *alive) end(t *testing.T) ended {
	t.Helper()
	rest, err := io.ReadAll(a.lines)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.cmd.Wait() // what it says is in the exit code
	return ended{code: a.cmd.ProcessState.ExitCode(), stdout: a.printed.String() + string(rest)}
}

// lifetime is how long a process may take for all that a test does with it.
const lifetime = 15 * time.Second

// answers waits until queries are answered.
func (a *alive) answers(t *testing.T) {
	t.Helper()
	question := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	client := dns.Client{Timeout: lifetime} // a question is logged: a second one would be a second line
	for deadline := time.Now().Add(lifetime); ; {
		if _, _, err := client.Exchange(question, "127.0.0.1:"+processPort); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s: %v", a.cmd.Path, err)
		}
	}
}

// step is a signal, of which 0 is none, and the line to wait for then; "" is none.
type step struct {
	signal syscall.Signal
	says   string
}

// live sends signals, and returns what has become of the process in the end.
func (a *alive) live(t *testing.T, steps []step) ended {
	t.Helper()
	for _, s := range steps {
		if err := a.cmd.Process.Signal(s.signal); err != nil {
			t.Fatal(err)
		}
		if s.says != "" && !a.says(s.says) {
			break
		}
	}
	return a.end(t)
}

// handled runs a process again whose signals came too early: CoreDNS prints its banner a moment before it looks at signals,
// and until then Go's own way with them ends it.
func handled(run func() ended) ended {
	var e ended
	for range 10 {
		if e = run(); e.code >= 0 && !strings.Contains(e.stdout, "\ngoroutine ") {
			break
		}
	}
	return e
}

// TestProcessLives: the banner, and what signals do, on both programs.
func TestProcessLives(t *testing.T) {
	p := findPeers(t)
	const lame = ".:" + processPort + " {\n  bind 127.0.0.1\n  whoami\n  health 127.0.0.1:10078 {\n    lameduck 1h\n  }\n}\n"
	const soon = ".:" + processPort + " {\n  bind 127.0.0.1\n  whoami\n  health 127.0.0.1:10078 {\n    lameduck 100ms\n  }\n}\n"
	const zones = "b.example:" + processPort + " A.example:" + processPort + " 10.0.0.0/15:" + processPort + " {\n  bind 127.0.0.1\n  whoami\n}\n" +
		"a_b:" + processPort + " {\n  bind 127.0.0.1\n  whoami\n}\n. {\n  bind 127.0.0.1\n  whoami\n}\n"
	const banner = "linux/"
	tests := []struct {
		name, args, stdin string
		files             map[string]string
		last              string // of the start's lines
		steps             []step
	}{
		{"SIGTERM", "-conf good", "", map[string]string{"good": served}, banner, []step{{syscall.SIGTERM, ""}}},
		{"SIGINT", "-conf good", "", map[string]string{"good": served}, banner, []step{{syscall.SIGINT, ""}}},
		{"SIGINT twice", "-conf good", "", map[string]string{"good": lame}, banner, []step{{syscall.SIGINT, "[INFO] plugin/health"}, {syscall.SIGINT, ""}}},
		{"SIGTERM, lame", "-conf good", "", map[string]string{"good": soon}, banner, []step{{syscall.SIGTERM, ""}}},
		{"SIGQUIT", "-conf good", "", map[string]string{"good": served}, banner, []step{{syscall.SIGQUIT, ""}}},
		{"SIGHUP is nothing", "-conf good", "", map[string]string{"good": served}, banner, []step{{syscall.SIGHUP, ""}, {syscall.SIGTERM, ""}}},
		{"SIGUSR1", "-conf good", "", map[string]string{"good": served}, banner, []step{{syscall.SIGUSR1, "[INFO] Reloading complete"}, {syscall.SIGTERM, ""}}},
		{"a pipe", "-conf stdin", served, nil, banner, []step{{syscall.SIGTERM, ""}}},
		{"no pipe", "-conf stdin", "", map[string]string{"Corefile": served}, banner, []step{{syscall.SIGTERM, ""}}},
		{"./Corefile", "", "", map[string]string{"Corefile": served}, banner, []step{{syscall.SIGTERM, ""}}},
		{"no Corefile", "-p " + processPort, "", nil, banner, []step{{0, "[INFO] 127"}, {syscall.SIGTERM, ""}}},
		{"an empty one", "-p " + processPort, "", map[string]string{"Corefile": "# nothing\n"}, banner, []step{{0, "[INFO] 127"}, {syscall.SIGTERM, ""}}},
		{"zones and addresses", "-dns.port " + processPort + " -conf good", "", map[string]string{"good": zones}, banner, []step{{syscall.SIGTERM, ""}}},
		{"quiet", "-quiet -conf good", "", map[string]string{"good": strings.Replace(served, "whoami", "whoami\n import none/*", 1)}, "[WARNING]", []step{{syscall.SIGQUIT, ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var all []ended
			for _, program := range programs {
				run := func() ended {
					a := serveOn(t, command(t, p, program, tt.stdin, tt.files, strings.Fields(tt.args)...), tt.last)
					a.answers(t)
					return a.live(t, tt.steps)
				}
				all = append(all, handled(run))
			}
			if diff := cmp.Diff(all[0].words(), all[1].words()); diff != "" {
				t.Errorf("(-CoreDNS +Waypost)\n%s", diff)
			}
		})
	}
}

// TestProcessPID: the number is in the file while the process lives, and no longer.
func TestProcessPID(t *testing.T) {
	p := findPeers(t)
	for _, program := range programs {
		c := command(t, p, program, "", map[string]string{"Corefile": served}, "-pidfile", "pid")
		a := serveOn(t, c, "linux/")
		a.answers(t)
		path := filepath.Join(c.Dir, "pid")
		if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintln(c.Process.Pid) {
			t.Errorf("%s: %q, %v", program, text, err)
		}
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		a.end(t)
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: the file is still there: %v", program, err)
		}
	}
}

func findPeers(t *testing.T) *peers.Peers {
	t.Helper()
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
