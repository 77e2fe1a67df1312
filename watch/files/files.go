// Package files tells of changes to single files, as the kernel notices them: also to one that stands behind a link or is
// replaced by another, as a mounted ConfigMap does it.
package files

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Follower follows files until it is closed.
type Follower struct {
	watcher *fsnotify.Watcher
	paths   []string
	changed func()
	running sync.WaitGroup
}

// quiet is how long nothing more must happen to the files before they are read: who writes one may need several steps.
const quiet = 50 * time.Millisecond

// Follow has changed be called, from a goroutine of its own, when something has happened to any of the files and they have
// come to rest. It may have been something else in their folders: whoever wants to know reads them. The error is that of a
// kernel that has no more watches to give.
func Follow(paths []string, changed func()) (*Follower, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("follow changes of %s: %w", paths[0], err)
	}
	f := &Follower{watcher: watcher, paths: paths, changed: changed}
	f.add()
	f.running.Go(f.run)
	return f, nil
}

// add watches the files and their folders, by the names that are known of them and by those that links lead to: a file that
// is mounted alone tells of changes only itself, one that is replaced only its folder. What is watched already, or cannot be,
// does not matter.
func (f *Follower) add() {
	for _, path := range f.paths {
		names := []string{path}
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			names = append(names, real)
		}
		for _, name := range names {
			_ = f.watcher.Add(filepath.Dir(name))
			_ = f.watcher.Add(name)
		}
	}
}

// run tells of changes until the watcher is closed. Any event may be about any of the files.
func (f *Follower) run() {
	var settled <-chan time.Time
	for {
		select {
		case _, ok := <-f.watcher.Events:
			if !ok {
				return
			}
			settled = time.After(quiet)
		case _, ok := <-f.watcher.Errors: // events were lost
			if !ok {
				return
			}
			settled = time.After(quiet)
		case <-settled:
			settled = nil
			f.add()
			f.changed()
		}
	}
}

// Close returns when changed will not be called any more.
func (f *Follower) Close() {
	f.watcher.Close()
	f.running.Wait()
}
