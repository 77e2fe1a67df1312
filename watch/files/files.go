// Package files tells of changes to single files, as the kernel notices them: also to one that stands behind a link or is
// replaced by another, as a mounted ConfigMap does it.
package files

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Follower follows files until it is closed.
type Follower struct {
	watcher *fsnotify.Watcher
	paths   []string
	names   map[string]bool // where something may happen that is about the files
	changed func()
	running sync.WaitGroup
}

const (
	// quiet is how long nothing more must happen to the files before they are read: who writes one may need several steps.
	quiet = 50 * time.Millisecond
	// longest is how long that may take.
	longest = time.Second
)

// Follow has changed be called, from a goroutine of its own, when something has happened to any of the files and they have
// come to rest: they may be as they were. The error is that of a kernel that has no more watches to give, or of a process
// whose working directory is gone.
func Follow(paths []string, changed func()) (*Follower, error) {
	f := &Follower{changed: changed}
	for _, path := range paths {
		full, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("follow changes of %s: %w", path, err)
		}
		f.paths = append(f.paths, full)
	}
	var err error
	if f.watcher, err = fsnotify.NewWatcher(); err != nil {
		return nil, fmt.Errorf("follow changes of %s: %w", paths[0], err)
	}
	f.add()
	f.running.Go(f.run)
	return f, nil
}

// add watches the files and what leads to them. A file that is mounted alone tells of changes only itself, one that is
// replaced, or a link, only its folder. What is watched already, or cannot be, does not matter.
func (f *Follower) add() {
	f.names = map[string]bool{}
	for _, path := range f.paths {
		for _, name := range trail(path) {
			f.names[name] = true
			_ = f.watcher.Add(filepath.Dir(name))
		}
		_ = f.watcher.Add(path)
	}
}

// mostLinks is how many links the kernel follows on the way to a file (path_resolution(7)).
const mostLinks = 40

// trail is the path of a file and all names that it leads to: the links on the way, one after the other, and the file itself.
func trail(path string) []string {
	names := []string{path}
	for range mostLinks {
		link, target, rest := firstLink(path)
		if link == "" {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, rest)
		names = append(names, link, path)
	}
	return names
}

// firstLink finds the first part of an absolute path that is a link, where it leads to, and what follows it in the path.
func firstLink(path string) (link, target, rest string) {
	for end := 1; end <= len(path); end++ {
		if end < len(path) && path[end] != filepath.Separator {
			continue
		}
		if target, err := os.Readlink(path[:end]); err == nil {
			return path[:end], target, path[end:]
		}
	}
	return "", "", ""
}

// run tells of changes until the watcher is closed.
func (f *Follower) run() {
	var first time.Time // event that changed has not been called for
	var settled <-chan time.Time
	for {
		select {
		case event, ok := <-f.watcher.Events:
			if !ok {
				return
			}
			if !f.names[event.Name] { // a neighbour
				continue
			}
		case _, ok := <-f.watcher.Errors: // events were lost
			if !ok {
				return
			}
		case <-settled:
			first, settled = time.Time{}, nil
			f.add()
			f.changed()
			continue
		}
		if now := time.Now(); settled == nil {
			first, settled = now, time.After(quiet)
		} else {
			settled = time.After(min(quiet, longest-now.Sub(first)))
		}
	}
}

// Close returns when changed will not be called any more.
func (f *Follower) Close() {
	f.watcher.Close()
	f.running.Wait()
}
