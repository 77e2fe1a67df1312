package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waypost/waypost/config"
)

// lastGood is a folder in which a copy of the Corefile is kept that could be served last; with "" none is.
type lastGood string

func (l lastGood) path() string { return filepath.Join(string(l), "Corefile.lastgood") }

// find is the copy, if there is one.
func (l lastGood) find(port uint16) (last corefile, there bool) {
	if l == "" {
		return last, false
	}
	_, err := os.Stat(l.path())
	return findCorefile(l.path(), port, nil), !errors.Is(err, fs.ErrNotExist)
}

// keep replaces the copy: whatever happens meanwhile, there is a whole one afterwards. It stands alone, with what the
// Corefile imports and the values of its variables.
func (l lastGood) keep(file *config.File) (err error) {
	if l == "" {
		return nil
	}
	text, err := file.Text()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(string(l), ".Corefile.")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = fmt.Fprintf(f, "# The last Corefile that Waypost could serve, see -lastgood.\n%s", text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), l.path())
}
