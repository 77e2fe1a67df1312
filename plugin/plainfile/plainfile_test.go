package plainfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waypost/waypost/plugin/plainfile"
)

// TestRead reads a file, and what is none: nothing of that may be waited for.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "long"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "long"), 512<<20+1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, text, err string }{
		{"DIR/file", "text", ""},
		{"DIR/long", "", "read DIR/long: more than 536870912 bytes"},
		{"DIR/pipe", "", "read DIR/pipe: not a plain file"},
		{"DIR", "", "read DIR: is a directory"},
		{"/dev/null", "", ""},
		{"/dev/zero", "", ""},
	} {
		path := strings.ReplaceAll(tt.path, "DIR", dir)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := plainfile.Read(path, info)
		said := ""
		if err != nil {
			said = strings.ReplaceAll(fmt.Sprint(err), dir, "DIR")
		}
		if string(text) != tt.text || said != tt.err {
			t.Errorf("%s: got %q, %q; want %q, %q", tt.path, text, said, tt.text, tt.err)
		}
	}
}
