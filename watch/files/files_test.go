package files

import (
	"os"
	"path/filepath"
	"testing"
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
			told := make(chan struct{}, 1)
			f, err := Follow([]string{path}, func() {
				select {
				case told <- struct{}{}:
				default: // it has been said
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			c.changes(t, path)
			<-told
			f.Close()
		})
	}
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
