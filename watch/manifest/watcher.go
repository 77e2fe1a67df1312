package manifest

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A watcher says when files are worth reading again: they have changed, and then looked the same twice, one pause apart.
// So a file that is being written is not read half-way, however it is written: in place, or under another name first.
type watcher struct {
	files   *files
	notify  *fsnotify.Watcher // nil where the kernel has no more to give; then polling does
	events  <-chan fsnotify.Event
	errors  <-chan error // of notify: events were lost
	watched []string     // the folders it reports
	poll    time.Duration
	log     *slog.Logger
	read    uint64 // the look of the files when they were last worth reading
}

const (
	// settle is the pause between two looks that must be the same.
	settle = 20 * time.Millisecond
	// patience bounds the wait for files that never rest; they are read as they are, and only applied if they did not
	// change during that.
	patience = 2 * time.Second
)

func newWatcher(f *files, poll time.Duration, log *slog.Logger) *watcher {
	w := &watcher{files: f, poll: poll, log: log}
	if notify, err := fsnotify.NewWatcher(); err != nil {
		log.Warn(fmt.Sprintf("%s: changes are only looked for every %v: %v", f.name(), poll, err))
	} else {
		w.notify, w.events, w.errors = notify, notify.Events, notify.Errors
	}
	w.follow()
	w.read = f.look()
	return w
}

func (w *watcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

// wait returns true when the files should be read again, false when ctx has ended.
func (w *watcher) wait(ctx context.Context) bool {
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case e := <-w.events:
			if w.concerns(e) {
				return w.settled(ctx)
			}
		case err := <-w.errors:
			w.log.Debug(fmt.Sprintf("%s: the kernel lost track of changes: %v", w.files.name(), err))
			return w.settled(ctx)
		case <-ticker.C:
			if w.files.look() != w.read {
				return w.settled(ctx)
			}
		}
	}
}

// settled waits until the files rest, and has the kernel report the folders they are in by then.
func (w *watcher) settled(ctx context.Context) bool {
	pause := time.NewTicker(settle)
	defer pause.Stop()
	end := time.Now().Add(patience)
	for last := w.files.look(); ; {
		select {
		case <-ctx.Done():
			return false
		case <-w.events: // of what is about to be read
			continue
		case err := <-w.errors:
			w.log.Debug(fmt.Sprintf("%s: the kernel lost track of changes: %v", w.files.name(), err))
			continue
		case <-pause.C:
		}
		w.follow()
		now := w.files.look()
		if now == last || time.Now().After(end) {
			w.read = now
			return true
		}
		last = now
	}
}

// concerns reports whether an event may have to do with manifests: that leaves out what else happens in the parent
// folder.
func (w *watcher) concerns(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	return e.Op != fsnotify.Chmod &&
		(isManifest(name) || name == filepath.Base(w.files.path) || strings.HasPrefix(name, "..") ||
			slices.Contains(w.watched, e.Name))
}

// follow has the kernel report the folders that matter now. What it cannot report is found by polling.
func (w *watcher) follow() {
	if w.notify == nil {
		return
	}
	folders := w.files.folders()
	for _, old := range w.watched {
		if !slices.Contains(folders, old) {
			_ = w.notify.Remove(old) // it may be gone
		}
	}
	w.watched = w.watched[:0]
	for _, folder := range folders {
		if w.notify.Add(folder) == nil {
			w.watched = append(w.watched, folder)
		}
	}
}
