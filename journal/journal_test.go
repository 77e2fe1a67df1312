package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waypost/waypost/journal"
)

func TestText(t *testing.T) {
	tests := []struct {
		say  func(j *journal.Journal)
		want string
	}{
		{func(j *journal.Journal) { j.Logger("").Info("SIGTERM: Shutting down") }, "[INFO] SIGTERM: Shutting down\n"},
		{func(j *journal.Journal) { j.Logger("ready").Warn("not ready") }, "[WARNING] plugin/ready: not ready\n"},
		{func(j *journal.Journal) { j.Logger("errors").Error("2 a. A: b") }, "[ERROR] plugin/errors: 2 a. A: b\n"},
		{func(j *journal.Journal) { j.Logger("x").Log(t.Context(), journal.LevelFatal, "end") }, "[FATAL] plugin/x: end\n"},
		{func(j *journal.Journal) { j.Logger("x").Debug("unseen") }, ""},
		{func(j *journal.Journal) { j.SetLevel(slog.LevelDebug); j.Logger("x").Debug("seen") }, "[DEBUG] plugin/x: seen\n"},
		{func(j *journal.Journal) { j.Logger("x").Info("m", "n", 1, "err", errors.New("a b"), "e", "") },
			"[INFO] plugin/x: m n=1 err=\"a b\" e=\"\"\n"},
		{func(j *journal.Journal) {
			j.Logger("x").With("a", 1).WithGroup("g").With("b", 2).Info("m", "plugin", "y", slog.Group("h", "c", 3*time.Second))
		}, "[INFO] plugin/x: m a=1 g.b=2 g.plugin=y g.h.c=3s\n"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		j := journal.New(&out, journal.Text)
		tt.say(j)
		j.Close()
		if out.String() != tt.want {
			t.Errorf("got  %q\nwant %q", out.String(), tt.want)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	j := journal.New(&out, journal.JSON)
	j.Logger("log").Log(t.Context(), journal.LevelFatal, "a \"b\"\nc", "size", 12)
	j.Close()
	var record map[string]any
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatalf("%v: %q", err, out.String())
	}
	if _, err := time.Parse(time.RFC3339Nano, record["time"].(string)); err != nil {
		t.Error(err)
	}
	delete(record, "time")
	want := map[string]any{"level": "FATAL", "msg": "a \"b\"\nc", "plugin": "log", "size": 12.0}
	if fmt.Sprint(record) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", record, want)
	}
}

// TestFlushesByItself: a line reaches the output without anybody asking for it.
func TestFlushesByItself(t *testing.T) {
	read, write := io.Pipe()
	j := journal.New(write, journal.Text)
	go j.Logger("").Info("hello") // a pipe's writer waits for its reader
	got := make([]byte, len("[INFO] hello\n"))
	if _, err := io.ReadFull(read, got); err != nil || string(got) != "[INFO] hello\n" {
		t.Errorf("got %q, %v", got, err)
	}
	j.Close()
}

// TestNothingLost: many writers, faster than the output is written, and a close in the midst of it.
func TestNothingLost(t *testing.T) {
	const writers, lines = 8, 4000
	out := &bytes.Buffer{}
	j := journal.New(out, journal.Text)
	padding := strings.Repeat("x", 100)
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for n := range lines {
				fmt.Fprintf(j, "%d %d %s\n", w, n, padding)
				if w == 0 && n == lines/2 {
					j.Close()
				}
			}
		})
	}
	wait.Wait()
	j.Flush()
	var next [writers]int
	for _, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		var w, n int
		if _, err := fmt.Sscanf(line, "%d %d ", &w, &n); err != nil {
			t.Fatalf("broken line %q: %v", line, err)
		}
		if n != next[w] {
			t.Fatalf("writer %d: line %d comes where %d is due", w, n, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d: %d of %d lines", w, n, lines)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	j := journal.New(io.Discard, journal.Text)
	defer j.Close()
	line := []byte(strings.Repeat("x", 110) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		j.Write(line)
	}
}
