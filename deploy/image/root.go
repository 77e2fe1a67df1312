package main

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeRoot writes what an image of the program holds as files into a folder: for a Dockerfile, which copies them. Only
// root can set capabilities.
func writeRoot(folder string, p program, binary []byte) error {
	for _, f := range append(baseFiles(), programFiles(p, binary)...) {
		if err := f.write(filepath.Join(folder, f.name)); err != nil {
			return fmt.Errorf("write %s of %s: %w", f.name, p.name, err)
		}
	}
	return nil
}

func (f file) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch f.kind {
	case tar.TypeSymlink:
		_ = os.Remove(path) // what is left of a former run
		return os.Symlink(f.link, path)
	case tar.TypeDir:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(path, f.content, 0o644); err != nil {
			return err
		}
	}
	// Not os.Chmod: its mode has the sticky bit elsewhere. The umask had a say before.
	if err := unix.Chmod(path, uint32(f.mode)); err != nil {
		return err
	}
	if f.capability == 0 {
		return nil
	}
	return unix.Setxattr(path, "security.capability", f.capability.xattr(), 0)
}
