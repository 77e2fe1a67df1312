package files

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestPoll: where the kernel has nothing more to give, changes are noticed all the same, and that is said once with what helps.
// A file that is not there, or that may not be looked into, is nothing to speak of.
func TestPoll(t *testing.T) {
	for _, tt := range []struct {
		err        error
		said, help string
	}{
		{fmt.Errorf("couldn't initialize inotify: %w", syscall.EMFILE), "couldn't initialize inotify: too many open files",
			"; to have them noticed at once, raise the sysctl fs.inotify.max_user_instances of the node before the next start"},
		{syscall.ENOSPC, "no space left on device",
			"; to have them noticed at once, raise the sysctl fs.inotify.max_user_watches of the node before the next start"},
		{syscall.ENOMEM, "cannot allocate memory", ""},
		{syscall.ENOTDIR, "", ""},
		{syscall.EACCES, "", ""},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.conf")
			put := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put("1")
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				told := tell(t, kernel{add: func(string) error { return tt.err }, close: func() {}}, bare(&said), path)
				steps := []struct {
					name   string
					change func()
					want   bool
				}{
					{"nothing", func() {}, false},
					{"longer", func() { put("12") }, true},
					{"nothing more", func() {}, false},
					{"gone", func() { _ = os.Remove(path) }, true},
					{"there again", func() { put("12") }, true},
				}
				for _, s := range steps {
					s.change()
					time.Sleep(Poll + 2*quiet)
					synctest.Wait()
					select {
					case <-told:
						if !s.want {
							t.Errorf("%s: told", s.name)
						}
					default:
						if s.want {
							t.Errorf("%s: not told", s.name)
						}
					}
				}
				want := ""
				if tt.said != "" {
					want = fmt.Sprintf("level=WARN msg=\"the kernel cannot tell of changes of %s (%s): they are looked for every 5s instead%s\"\n", path, tt.said, tt.help)
				}
				if got := said.String(); got != want {
					t.Errorf("said\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// TestNoLooks: as long as the kernel tells of all there are no looks, which cost a process that has nothing else to do. A folder
// that is not there cannot tell of what comes into being in it.
func TestNoLooks(t *testing.T) {
	for _, tt := range []struct {
		path string
		err  error
		told int
	}{
		{"config.conf", nil, 0},
		{"config.conf", syscall.ENOENT, 0},
		{"folder/config.conf", syscall.ENOENT, 1},
	} {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(folder, tt.path)
			told := tell(t, kernel{add: func(string) error { return tt.err }, close: func() {}}, slog.New(slog.DiscardHandler), path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if len(told) != tt.told {
				t.Errorf("%s, %v: told %d times, want %d", tt.path, tt.err, len(told), tt.told)
			}
		})
	}
}

// TestPollSettles: a file that is being written is told of once it rests, or after a while if it never does.
func TestPollSettles(t *testing.T) {
	for _, tt := range []struct{ writing, least, most time.Duration }{
		{10 * quiet, 10 * quiet, 12 * quiet},
		{time.Hour, longest, longest + 7*quiet},
	} {
		file, err := os.Create(filepath.Join(t.TempDir(), "config.conf"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		synctest.Test(t, func(t *testing.T) {
			told := tell(t, kernel{add: func(string) error { return syscall.EMFILE }, close: func() {}}, slog.New(slog.DiscardHandler), file.Name())
			time.Sleep(Poll - 5*quiet) // the next look falls into what is written
			begun := time.Now()
			tick := time.NewTicker(quiet / 2)
			defer tick.Stop()
			for told != nil {
				select {
				case <-told:
					told = nil
				case now := <-tick.C:
					if now.Sub(begun) > tt.writing {
						continue
					}
					if _, err := file.WriteString("text"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := time.Since(begun); got < tt.least || got > tt.most {
				t.Errorf("writing for %v: told after %v, want %v to %v", tt.writing, got, tt.least, tt.most)
			}
		})
	}
}

// bare prints lines without their time.
func bare(w *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}
