package forward

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch tells of changes to files, also to one that stands behind a link or is replaced by another, as a mounted ConfigMap
// does it.
type watch struct {
	watcher *fsnotify.Watcher
	paths   []string
	changed func(path string) error
	log     *slog.Logger
	said    map[string]string // the last error of each path, which is logged once
	running sync.WaitGroup
}

// quiet is how long nothing more must happen to the files before they are read: who writes one may need several steps.
const quiet = 50 * time.Millisecond

// follow has the files read again whenever they change.
func (s *servers) follow(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("plugin/forward: follow %s: %w", paths[0], err)
	}
	w := &watch{watcher: watcher, paths: paths, changed: s.reread, log: s.forward.log, said: make(map[string]string)}
	w.add()
	w.running.Go(w.run)
	s.mu.Lock()
	s.watch = w
	s.mu.Unlock()
	return nil
}

// add watches the files and their folders, by the names that the Corefile has for them and by those that links lead to: a
// file that is mounted alone tells of changes only itself, one that is replaced only its folder. What is watched already,
// or cannot be, does not matter.
func (w *watch) add() {
	for _, path := range w.paths {
		names := []string{path}
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			names = append(names, real)
		}
		for _, name := range names {
			_ = w.watcher.Add(filepath.Dir(name))
			_ = w.watcher.Add(name)
		}
	}
}

// run tells of changes until the watcher is closed. Any event may be about any of the files.
func (w *watch) run() {
	var settled <-chan time.Time
	for {
		select {
		case _, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			settled = time.After(quiet)
		case _, ok := <-w.watcher.Errors: // events were lost
			if !ok {
				return
			}
			settled = time.After(quiet)
		case <-settled:
			settled = nil
			w.add()
			w.tell()
		}
	}
}

// tell has all files read.
func (w *watch) tell() {
	for _, path := range w.paths {
		text := ""
		if err := w.changed(path); err != nil {
			text = err.Error()
		}
		if text != "" && text != w.said[path] {
			w.log.Warn(text)
		}
		w.said[path] = text
	}
}

func (w *watch) close() {
	w.watcher.Close()
	w.running.Wait()
}
