package manifest

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"

	follow "github.com/waypost/waypost/watch/files"
)

// follow returns what follows the files, and what has something in it when they are worth reading again: they have changed,
// and rest. So a file that is being written is not read half-way, however it is written: in place, or under another name
// first. One that never rests is read as it is, and only applied if it did not change during that.
func (s *Source) follow() (*follow.Follower, <-chan struct{}) {
	told := make(chan struct{}, 1)
	f := follow.FollowTarget(&followed{files: &s.files}, s.poll, s.log, func() {
		select {
		case told <- struct{}{}:
		default: // it has been said
		}
	})
	return f, told
}

// followed are files as a follower sees them.
type followed struct {
	*files
	watched []string // folders that the kernel tells of
}

// String implements follow.Target.
func (f *followed) String() string { return f.name() }

// Watched implements follow.Target.
func (f *followed) Watched() []string {
	f.watched = f.folders()
	return f.watched
}

// Concerns implements follow.Target: that leaves out what else happens in the parent folder, and in folders that a link led
// to before.
func (f *followed) Concerns(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	switch {
	case e.Op == fsnotify.Chmod:
		return false
	case slices.Contains(f.watched, e.Name):
		return true
	case !slices.Contains(f.watched, filepath.Dir(e.Name)):
		return false
	}
	return isManifest(name) || name == filepath.Base(f.path) || strings.HasPrefix(name, "..")
}

// Look implements follow.Target.
func (f *followed) Look() uint64 { return f.look() }
