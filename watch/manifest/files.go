package manifest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	follow "github.com/waypost/waypost/watch/files"
)

// files are where manifests come from: a path, which may be or become a file or a folder, or else a file system.
type files struct {
	path string
	fsys fs.FS // nil where there is a path
}

// name is what messages call the files.
func (f *files) name() string {
	if f.fsys != nil {
		return "embedded manifests"
	}
	return f.path
}

// list says what is to be read now: the names, and the file system they are in.
func (f *files) list() (fs.FS, []string, error) {
	if f.fsys != nil {
		names, err := manifestsIn(f.fsys)
		return f.fsys, names, err
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, nil, fmt.Errorf("look for manifests: %w", err)
	}
	if !info.IsDir() {
		return os.DirFS(filepath.Dir(f.path)), []string{filepath.Base(f.path)}, nil
	}
	fsys := os.DirFS(f.path)
	names, err := manifestsIn(fsys)
	return fsys, names, err
}

// manifestsIn lists the manifests in the top folder of fsys, in alphabetical order.
func manifestsIn(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isManifest(e.Name()) && !isFolder(fsys, e) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".")
	}
	return false
}

// isFolder follows symbolic links, which all files of a mounted ConfigMap are.
func isFolder(fsys fs.FS, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := fs.Stat(fsys, e.Name())
	return err == nil && info.IsDir()
}

// read parses all files. An empty folder is an error: it is more likely to be filled soon than meant, and who wants an
// empty cluster can leave a file with an empty List.
func (f *files) read() (*objects, error) {
	fsys, names, err := f.list()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("no *.yaml, *.yml or *.json file is in the folder")
	}
	found := newObjects()
	for _, name := range names {
		text, err := readFile(fsys, name)
		if err != nil {
			return nil, err
		}
		if len(text) == 0 { // as is every file that a shell is about to write
			return nil, fmt.Errorf("%s: the file is empty", name)
		}
		if err := found.decode(name, text); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// readFile reads a regular file. Others are not opened: a pipe would not let go before somebody writes to it, and a device
// may have no end.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read a manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: this is no regular file: move it out of the folder, or give it another suffix", name)
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read a manifest: %w", err)
	}
	return text, nil
}

// look returns a digest of all that tells one version of the files from another without reading them: names, sizes, times
// of change and inodes.
func (f *files) look() uint64 {
	digest := fnv.New64a()
	fsys, names, err := f.list()
	fmt.Fprintln(digest, err)
	for _, name := range names {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			fmt.Fprintln(digest, name, err)
			continue
		}
		fmt.Fprintln(digest, name, follow.Version(info))
	}
	return digest.Sum64()
}

// folders are those in which a change to the files can show: that of the path itself, the folder, and those that
// symbolic links lead to. Kubernetes replaces a ConfigMap by pointing one link, ..data, at another folder.
func (f *files) folders() []string {
	candidates := []string{filepath.Dir(f.path)}
	if info, err := os.Stat(f.path); err == nil && info.IsDir() {
		candidates = append(candidates, f.path)
	}
	if _, names, err := f.list(); err == nil {
		for _, name := range names {
			file := f.path
			if filepath.Base(f.path) != name {
				file = filepath.Join(f.path, name)
			}
			if target, err := filepath.EvalSymlinks(file); err == nil {
				candidates = append(candidates, filepath.Dir(target))
			}
		}
	}
	var folders []string
	seen := map[string]bool{}
	for _, c := range candidates {
		real, err := filepath.EvalSymlinks(c)
		if err == nil && !seen[real] {
			seen[real] = true
			folders = append(folders, real)
		}
	}
	return folders
}
