// Package files tells of changes to files, as soon as the kernel notices them: also to one that stands behind a link or is
// replaced by another, as a mounted ConfigMap does it. Where the kernel cannot tell, they are looked at again and again.
package files

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Follow has changed be called, from a goroutine of its own, when something has happened to any of the files and they have
// come to rest: they may be as they were. log is told once if that will be noticed late.
func Follow(paths []string, log *slog.Logger, changed func()) *Follower {
	return (&Follower{target: newSingle(paths), kernel: newKernel(), poll: Poll, log: log, changed: changed}).start()
}

// single are single files.
type single struct {
	paths []string
	names map[string]bool // where something may happen that is about the files
}

func newSingle(paths []string) *single {
	s := &single{}
	for _, path := range paths {
		if full, err := filepath.Abs(path); err == nil { // or else the working directory is gone
			path = full
		}
		s.paths = append(s.paths, path)
	}
	return s
}

// String implements Target.
func (s *single) String() string { return strings.Join(s.paths, ", ") }

// Watched implements Target: the files and what leads to them. A file that is mounted alone tells of changes only itself, one
// that is replaced, or a link, only its folder.
func (s *single) Watched() []string {
	s.names = map[string]bool{}
	var watched []string
	for _, path := range s.paths {
		for _, name := range trail(path) {
			s.names[name] = true
			watched = append(watched, filepath.Dir(name))
		}
		watched = append(watched, path)
	}
	return watched
}

// Concerns implements Target: what happens to a neighbour does not.
func (s *single) Concerns(event fsnotify.Event) bool { return s.names[event.Name] }

// Look implements Target.
func (s *single) Look() uint64 {
	digest := fnv.New64a()
	for _, path := range s.paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintln(digest, err)
			continue
		}
		fmt.Fprintln(digest, Version(info))
	}
	return digest.Sum64()
}

// Version tells one version of a file from another without reading it: by size, time of change and inode.
func Version(info fs.FileInfo) string {
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano(), inode)
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
