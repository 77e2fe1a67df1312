package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/check"
)

// TestCheck runs waypost check as a process: its streams and its exit code.
func TestCheck(t *testing.T) {
	folder := t.TempDir()
	files := map[string]string{
		"good": ". {\n  whoami\n}\n", "trap": ". {\n  cache 3600s\n  whoami\n}\n", "bad": ". {\n  whoamy\n}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const warning = "trap:2: warning: cache: \"3600s\" is taken for a zone: the TTL is a plain number of seconds\n"
	const mistake = "bad:2: error: Unknown directive 'whoamy' (did you mean whoami?)\n"
	tests := []struct {
		args, stdin    string
		code           int
		stdout, stderr string // how they begin; "" is nothing
	}{
		{"good", "", 0, "good: it can be served\n\n   1  server block for ., asked at dns://:53\n", ""},
		{"-p 5353 good", "", 0, "good: it can be served\n\n   1  server block for ., asked at dns://:5353\n", ""},
		{"trap", "", 0, warning + "trap: it can be served: 1 warning\n", ""},
		{"-strict trap", "", 1, warning + "trap: it can be served: 1 warning\n", ""},
		{"bad", "", 1, mistake + "bad: it cannot be served: 1 error\n", ""},
		{"stdin", files["good"], 0, "/dev/stdin: it can be served\n", ""},
		{"", "", 0, "Corefile: it can be served\n\n   1  server block for ., asked at dns://:53\n", ""},
		{"--diff good good", "", 0, "good and good mean the same\n", ""},
		{"--diff good trap", "", 0, warning + "trap in place of good:\n\nserver block for . at dns://:53\n  cache is new (line 2)\n", ""},
		{"--diff -strict good trap", "", 1, warning, ""},
		{"--diff bad good", "", 1, mistake + "bad and good cannot be compared before the errors are gone\n", ""},
		{"-o json bad", "", 1, "{\n  \"file\": \"bad\",\n", ""},
		{"-h", "", 0, "", "waypost check [-strict]"},
		{"nowhere", "", 1, "", "read the Corefile: open nowhere: no such file or directory\n"},
		{"--diff good nowhere", "", 1, "", "read the Corefile: open nowhere: no such file or directory\n"},
		{"-nope", "", 2, "", "flag provided but not defined: -nope\n"},
		{"-o xml good", "", 2, "", "invalid value \"xml\" for flag -o: unknown format \"xml\": expected text or json\n"},
		{"good trap", "", 2, "", "waypost check takes one Corefile, and two with --diff; flags come before them\n"},
		{"--diff good", "", 2, "", "waypost check takes one Corefile, and two with --diff; flags come before them\n"},
	}
	for _, tt := range tests {
		c := program(t, append([]string{"check"}, strings.Fields(tt.args)...)...)
		c.Dir = folder
		c.Stdin = strings.NewReader(tt.stdin)
		var stdout, stderr strings.Builder
		c.Stdout, c.Stderr = &stdout, &stderr
		err := c.Run()
		if code := c.ProcessState.ExitCode(); code != tt.code {
			t.Errorf("%s: exit code %d, want %d (%v)", tt.args, code, tt.code, err)
		}
		for _, stream := range []struct{ name, got, want string }{{"stdout", stdout.String(), tt.stdout}, {"stderr", stderr.String(), tt.stderr}} {
			if !strings.HasPrefix(stream.got, stream.want) || stream.want == "" && stream.got != "" {
				t.Errorf("%s: %s has\n%s\nwant\n%s", tt.args, stream.name, stream.got, stream.want)
			}
		}
	}
}

// TestCheckDocs: docs/corefile.md shows what is printed.
func TestCheckDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/corefile.md")
	if err != nil {
		t.Fatal(err)
	}
	corefile, rest := passage(t, string(page), "    $ cat Corefile\n")
	printed, _ := passage(t, rest, "    $ waypost check Corefile\n")
	c := program(t, "check", "Corefile")
	if err := os.WriteFile(filepath.Join(c.Dir, "Corefile"), []byte(corefile), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := c.Output()
	if diff := cmp.Diff(printed, string(out)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// passage is the indented text behind a command of a page, up to the next command or the end of the indented lines.
func passage(t *testing.T, page, command string) (text, rest string) {
	t.Helper()
	_, rest, ok := strings.Cut(page, command)
	if !ok {
		t.Fatalf("no %q", command)
	}
	for line := range strings.Lines(rest) {
		plain, indented := strings.CutPrefix(line, "    ")
		if strings.HasPrefix(plain, "$ ") || !indented && line != "\n" {
			break
		}
		text += plain
	}
	return strings.TrimRight(text, "\n") + "\n", rest
}

// TestCheckJSON: what is printed for machines can be read back.
func TestCheckJSON(t *testing.T) {
	c := program(t, "check", "-o", "json", "stdin")
	c.Stdin = strings.NewReader(". {\n  log stdout\n  whoami\n}\n")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report check.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(report.Findings) != 1 || report.Findings[0].Directive != "log" || len(report.Blocks) != 1 || len(report.Blocks[0].Steps) != 2 {
		t.Errorf("got %+v", report)
	}
}

// TestCheckAgrees: a process that cannot start says what a check has said.
func TestCheckAgrees(t *testing.T) {
	for _, text := range []string{
		". {\n  cahce\n}\n", ". {\n  cache 0\n}\n", ". {\n", ". {\n  bind nowhere0\n}\n", "a {\n}\na {\n}\n", "a..b {\n}\n",
		". {\n  hosts {\n    fallthrough\n    10.0.0.1 a\n  }\n}\n", ". {\n  rewrite name stop a b\n}\n", ". {\n  forward . /nonexistent/resolv.conf\n}\n",
	} {
		port := freePort(t)
		started := program(t, "-conf", "stdin", "-p", port)
		started.Stdin = strings.NewReader(text)
		var said strings.Builder
		started.Stderr = &said
		if err := started.Run(); err == nil {
			t.Errorf("%q: it starts", text)
		}
		checked := program(t, "check", "-o", "json", "-p", port, "stdin")
		checked.Stdin = strings.NewReader(text)
		out, err := checked.Output()
		var report check.Report
		if json.Unmarshal(out, &report) != nil || err == nil || len(report.Findings) == 0 {
			t.Errorf("%q: checked %s, %v", text, out, err)
			continue
		}
		if f := report.Findings[0]; f.Severity != check.Error || !strings.HasSuffix(strings.TrimSuffix(said.String(), "\n"), f.Text) {
			t.Errorf("%q: the start says %q, and the check %+v", text, said.String(), f)
		}
	}
}
