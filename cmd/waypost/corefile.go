package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/waypost/waypost/config"
)

// corefile is a Corefile and how it was called.
type corefile struct {
	name string
	text []byte
	port uint16
}

// readCorefile reads the file that -conf names, a pipe, or ./Corefile.
func readCorefile(conf string, port uint16, stdin *os.File) (corefile, error) {
	c := corefile{name: conf, port: port}
	var err error
	switch conf {
	case "stdin":
		c.text, err = readPipe(stdin)
	case "":
		c.name = "Corefile"
		if c.text, err = os.ReadFile(c.name); errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
	default:
		c.text, err = os.ReadFile(conf)
	}
	if err != nil {
		return c, fmt.Errorf("read the Corefile: %w", err)
	}
	return c, nil
}

// readPipe reads standard input if a pipe or file is there, and nothing from a terminal.
func readPipe(stdin *os.File) ([]byte, error) {
	info, err := stdin.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeCharDevice != 0 {
		return nil, errors.New("standard input is not a pipe")
	}
	return io.ReadAll(stdin)
}

// builtIn is what is served where there is no Corefile, or an empty one.
const builtIn = ".:%d {\n    whoami\n    log\n}\n"

// parse reads the server blocks.
func (c corefile) parse() (*config.File, error) {
	o := config.Options{Port: c.port}
	file, err := config.Parse(c.name, c.text, o)
	if err != nil || len(file.Blocks) > 0 {
		return file, err
	}
	return config.Parse(c.name, fmt.Appendf(nil, builtIn, c.port), o)
}
