// Package journal prints what the process has to say: one line each, in the form CoreDNS gives them, without time
// stamps, for whoever collects standard output adds those.
//
// Lines come from two sides: a few through a slog.Logger ("[INFO] plugin/kubernetes: ..."), and as many as there are
// queries from the log directive, which writes whole lines.
package journal

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// Journal gathers lines and writes them in the order they came, many with one call: a writer never waits for the output
// unless that has fallen behind by a whole buffer, and a line is never lost. It is safe for concurrent use.
type Journal struct {
	level  slog.LevelVar
	format Format

	mu     sync.Mutex
	room   sync.Cond // the gathered lines have been taken
	lines  []byte    // gathered, not yet being written
	closed bool

	writing sync.Mutex // held while writing; keeps the order
	spare   []byte
	out     io.Writer

	wake chan struct{} // has a token where lines is not empty
	done chan struct{} // closed when the writing goroutine has ended
}

// Format is the form of the lines.
type Format uint8

// The formats.
const (
	Text Format = iota // "[INFO] plugin/NAME: message key=value"
	JSON               // one object a line: time, level, msg, plugin and further keys
)

const (
	bufferSize = 64 << 10 // what is written at once, in bytes
	limit      = 1 << 20  // what may wait, in bytes, before writers do
	pause      = time.Millisecond
)

// New starts a journal that prints to out, from slog.LevelInfo on. Close ends it.
func New(out io.Writer, format Format) *Journal {
	j := &Journal{
		format: format, out: out, lines: make([]byte, 0, bufferSize), spare: make([]byte, 0, bufferSize),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	j.room.L = &j.mu
	go j.run()
	return j
}

// SetLevel makes the journal print from level on; whole lines are printed in any case.
func (j *Journal) SetLevel(level slog.Level) { j.level.Set(level) }

// Format is the form that was asked for.
func (j *Journal) Format() Format { return j.format }

// Write adds p, which is one or more whole lines. It always succeeds; p is the caller's again.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	for len(j.lines) >= limit && !j.closed {
		j.room.Wait()
	}
	first := len(j.lines) == 0
	j.lines = append(j.lines, p...)
	closed := j.closed
	j.mu.Unlock()
	if closed {
		j.Flush()
	} else if first {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// run writes soon after each first line. It rests in between, so that a busy process makes a thousand calls a second at
// most.
func (j *Journal) run() {
	defer close(j.done)
	for range j.wake {
		j.Flush()
		time.Sleep(pause)
	}
}

// Flush returns when all lines added before have been written.
func (j *Journal) Flush() {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	lines := j.lines
	j.lines = j.spare[:0]
	j.room.Broadcast()
	j.mu.Unlock()
	if len(lines) > 0 {
		_, _ = j.out.Write(lines) // there is nowhere to say that nothing can be said
	}
	if j.spare = lines; cap(lines) > 2*limit {
		j.spare = make([]byte, 0, bufferSize)
	}
}

// Close writes what is left. Lines added later are written at once.
func (j *Journal) Close() {
	j.mu.Lock()
	again := j.closed
	j.closed = true
	j.room.Broadcast()
	j.mu.Unlock()
	if !again {
		close(j.wake)
	}
	<-j.done
	j.Flush()
}
