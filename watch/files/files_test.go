package files

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The kernel tells of a file's changes, however it is written.
func TestFollow(t *testing.T) {
	for _, c := range []struct {
		name          string
		make, changes func(t *testing.T, path string)
	}{
		{"in place", write, write},
		{"under another name first", write, func(t *testing.T, path string) {
			write(t, path+".new")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"where a link leads to", func(t *testing.T, path string) {
			target := filepath.Join(t.TempDir(), "elsewhere")
			write(t, target)
			link(t, target, path)
		}, func(t *testing.T, path string) {
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, target)
		}},
		{"with all of a ConfigMap", func(t *testing.T, path string) {
			revise(t, filepath.Dir(path), "..1")
			link(t, filepath.Join("..data", filepath.Base(path)), path)
		}, func(t *testing.T, path string) { revise(t, filepath.Dir(path), "..2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.conf")
			c.make(t, path)
			told := at(t, path)
			c.changes(t, path)
			<-told
		})
	}
}

// A relative name is followed too, and to where each link on the way leads.
func TestFollowTrail(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	for _, at := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(at, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(at, "below", "config.conf"))
	}
	link(t, "one", "current")
	link(t, filepath.Join(folder, "current", "below"), "below")
	told := at(t, filepath.Join("below", "config.conf"))
	link(t, "two", "next")
	if err := os.Rename("next", "current"); err != nil {
		t.Fatal(err)
	}
	<-told
	write(t, filepath.Join("two", "below", "config.conf"))
	<-told
}

// What happens to others in the same folder is nobody's business.
func TestFollowNeighbour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	write(t, path)
	told := at(t, path)
	write(t, path+".log")
	select {
	case <-told:
		t.Error("a change of a neighbour was told of")
	case <-time.After(8 * quiet):
	}
	write(t, path)
	<-told
}

// A file that never comes to rest is told of all the same.
func TestFollowRestless(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	write(t, path)
	events := make(chan fsnotify.Event)
	told := tell(t, kernel{add: func(string) error { return nil }, events: events, close: func() {}}, slog.New(slog.DiscardHandler), path)
	for {
		select {
		case <-told:
			return
		case events <- fsnotify.Event{Name: path, Op: fsnotify.Write}:
		}
	}
}

func TestTrailLoop(t *testing.T) {
	folder := t.TempDir()
	link(t, "b", filepath.Join(folder, "a"))
	link(t, "a", filepath.Join(folder, "b"))
	if got := len(trail(filepath.Join(folder, "a", "config.conf"))); got > 1+2*mostLinks {
		t.Errorf("%d names", got)
	}
}

// at follows a file until the test ends, and says when it was told of.
func at(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	return tell(t, newKernel(), slog.New(slog.DiscardHandler), path)
}

// tell is at, as a kernel of the test's tells of changes.
func tell(t *testing.T, kernel kernel, log *slog.Logger, path string) <-chan struct{} {
	t.Helper()
	told := make(chan struct{}, 1)
	f := (&Follower{target: newSingle([]string{path}), kernel: kernel, poll: Poll, log: log, changed: func() {
		select {
		case told <- struct{}{}:
		default: // it has been said
		}
	}}).start()
	t.Cleanup(f.Close)
	return told
}

// revise makes a ConfigMap's folder lead to a new version of it, as the kubelet does.
func revise(t *testing.T, folder, version string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(folder, version), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, version, "config.conf"))
	link(t, version, filepath.Join(folder, "..data_tmp"))
	if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
