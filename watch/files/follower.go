package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Follower follows files until it is closed.
type Follower struct {
	target  Target
	kernel  kernel
	poll    time.Duration
	always  bool // to look every poll, or only while the kernel does not tell of all
	blind   bool // it does not
	log     *slog.Logger
	warned  bool // that the kernel has nothing more to give
	changed func()
	seen    uint64 // the last look
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Target is what is followed. Its methods are called one at a time.
type Target interface {
	// String is what messages call it.
	String() string
	// Watched are the files and folders, by now, of which the kernel is to tell. They need not be there.
	Watched() []string
	// Concerns reports whether something that has happened to what was Watched may be a change.
	Concerns(fsnotify.Event) bool
	// Look is another one after each change. It is called often.
	Look() uint64
}

const (
	// Poll is how late a change is seen of which the kernel does not tell: where it has nothing more to give, on a network
	// file system, in a folder that was not there.
	Poll = 5 * time.Second
	// quiet is how long nothing more must happen to the files before they are read, and how far apart two looks at them must
	// be the same: who writes one may need several steps.
	quiet = 25 * time.Millisecond
	// longest is how long that may take.
	longest = time.Second
)

// FollowTarget is Follow for a target of the caller's, with a look every poll, whatever the kernel tells of.
func FollowTarget(target Target, poll time.Duration, log *slog.Logger, changed func()) *Follower {
	return (&Follower{target: target, kernel: newKernel(), poll: poll, always: true, log: log, changed: changed}).start()
}

func (f *Follower) start() *Follower {
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	f.watch()
	f.seen = f.target.Look()
	f.running.Go(func() { f.run(ctx) })
	return f
}

// kernel tells of what happens to files.
type kernel struct {
	add    func(path string) error
	events <-chan fsnotify.Event
	errors <-chan error // events were lost
	close  func()
}

// newKernel asks the kernel to tell of changes. One that does not is told of with each file.
func newKernel() kernel {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return kernel{add: func(string) error { return err }, close: func() {}}
	}
	return kernel{w.Add, w.Events, w.Errors, func() { _ = w.Close() }} // nothing is lost by it
}

// watch has the kernel tell of the files, and of what leads to them by now.
func (f *Follower) watch() {
	f.blind = false
	for _, path := range f.target.Watched() {
		if err := f.kernel.add(path); err != nil {
			f.blind = f.blind || !awaited(path, err)
			f.warn(err)
		}
	}
}

// awaited reports whether a path could not be watched only because it is not there, in a folder that tells of it when it is.
func awaited(path string, err error) bool {
	folder, missing := os.Stat(filepath.Dir(path))
	return errors.Is(err, fs.ErrNotExist) && missing == nil && folder.IsDir()
}

// warn says once that changes are noticed late, why, and what helps. A path that is not there, or not to be looked into, is
// no trouble of the kernel's: it is what the files are like, and the looks are enough.
func (f *Follower) warn(err error) {
	help := ""
	switch {
	case f.warned, errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return
	case errors.Is(err, syscall.EMFILE):
		help = "fs.inotify.max_user_instances"
	case errors.Is(err, syscall.ENOSPC):
		help = "fs.inotify.max_user_watches"
	}
	if help != "" {
		help = fmt.Sprintf("; to have them noticed at once, raise the sysctl %s of the node before the next start", help)
	}
	f.warned = true
	f.log.Warn(fmt.Sprintf("the kernel cannot tell of changes of %s (%v): they are looked for every %v instead%s", f.target, err, f.poll, help))
}

// run tells of changes until ctx ends.
func (f *Follower) run(ctx context.Context) {
	ticker := time.NewTicker(f.poll)
	defer ticker.Stop()
	var first time.Time // sign of a change that changed has not been called for
	var settled <-chan time.Time
	for {
		looks := ticker.C
		if !f.always && !f.blind {
			looks = nil
		}
		select {
		case <-ctx.Done():
			return
		case event := <-f.kernel.events:
			if !f.target.Concerns(event) {
				continue
			}
		case err := <-f.kernel.errors:
			f.log.Debug(fmt.Sprintf("%s: the kernel lost track of changes: %v", f.target, err))
		case <-looks:
			if !f.moved() {
				continue
			}
		case <-settled:
			if !f.moved() || time.Since(first) >= longest {
				first, settled = time.Time{}, nil
				f.watch()
				f.changed()
				continue
			}
		}
		if now := time.Now(); settled == nil {
			first, settled = now, time.After(quiet)
		} else {
			settled = time.After(min(quiet, longest-now.Sub(first)))
		}
	}
}

// moved reports whether the files look other than the last time.
func (f *Follower) moved() bool {
	before := f.seen
	f.seen = f.target.Look()
	return f.seen != before
}

// Close returns when changed will not be called any more.
func (f *Follower) Close() {
	f.stop()
	f.running.Wait()
	f.kernel.close()
}
