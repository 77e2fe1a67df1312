// Package plainfile reads files that directives look at while they run.
package plainfile

import (
	"fmt"
	"io/fs"
	"os"
)

// maxFile is how long a file may be, in bytes: many times the longest block lists.
const maxFile = 512 << 20

// Read reads a file that has an end, as info says: of devices only /dev/null has one, and a pipe may never have. The error
// names the file.
func Read(path string, info fs.FileInfo) ([]byte, error) {
	switch mode := info.Mode(); {
	case mode&fs.ModeDevice != 0:
		return nil, nil
	case !mode.IsRegular() && !mode.IsDir(): // of a folder the kernel says so itself
		return nil, fmt.Errorf("read %s: not a plain file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("read %s: more than %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}
