package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/waypost/waypost/config"
)

// corefile is where a Corefile is, and how it was called.
type corefile struct {
	name string
	port uint16
	read func() ([]byte, error) // the text, by now
}

// findCorefile is the file that -conf names, a pipe, or ./Corefile, which need not be there.
func findCorefile(conf string, port uint16, stdin *os.File) corefile {
	c := corefile{name: conf, port: port}
	switch conf {
	case "stdin":
		if c.name = "/dev/stdin"; piped(stdin) {
			c.read = sync.OnceValues(func() ([]byte, error) { return io.ReadAll(stdin) })
			break
		}
		fallthrough // as in CoreDNS, a terminal or nothing is no Corefile
	case "":
		c.name = "Corefile"
		c.read = func() ([]byte, error) {
			text, err := os.ReadFile(c.name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return text, err
		}
	default:
		c.read = func() ([]byte, error) { return os.ReadFile(conf) }
	}
	return c
}

// fixed is a Corefile that never changes.
func fixed(name string, text []byte, port uint16) corefile {
	return corefile{name: name, port: port, read: func() ([]byte, error) { return text, nil }}
}

// piped reports whether standard input is a pipe or a file.
func piped(stdin *os.File) bool {
	info, err := stdin.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// load reads the text and the server blocks. One without any is an error, see again.
func (c corefile) load() (*config.File, error) {
	text, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("read the Corefile: %w", err)
	}
	return c.again(text)
}

// parse reads the server blocks of a text, or else the built-in one.
func (c corefile) parse(text []byte) (*config.File, error) {
	file, err := c.again(text)
	if errors.Is(err, errEmpty) {
		return c.builtIn()
	}
	return file, err
}

// builtIn is what is served where there is no Corefile, or an empty one.
func (c corefile) builtIn() (*config.File, error) {
	return config.Parse(c.name, fmt.Appendf(nil, ".:%d {\n    whoami\n    log\n}\n", c.port), config.Options{Port: c.port})
}

// again reads the server blocks of a text that is to take another one's place. One without any is an error: whoever writes
// a file in place cuts it to nothing first.
func (c corefile) again(text []byte) (*config.File, error) {
	file, err := config.Parse(c.name, text, config.Options{Port: c.port})
	if err == nil && len(file.Blocks) == 0 {
		return nil, fmt.Errorf("%s: %w", c.name, errEmpty)
	}
	return file, err
}

// errEmpty is returned for a Corefile that says nothing.
var errEmpty = errors.New("the Corefile has no server block")
