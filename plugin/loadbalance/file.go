package loadbalance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/plugin/plainfile"
)

// file is a weight file that is looked at. Only one goroutine at a time does.
type file struct {
	path    string
	reload  time.Duration
	log     *slog.Logger
	weights atomic.Pointer[weights] // as they were read last

	text    []byte
	read    bool   // it could be read at least once
	trouble string // what was the matter the last time; "" is nothing
	stop    context.CancelFunc
	done    chan struct{} // closed when nothing looks at the file any more
}

func newFile(o Options, log *slog.Logger) *file {
	f := &file{path: o.WeightFile, reload: o.Reload, log: log}
	f.weights.Store(new(weights))
	return f
}

// start reads the file, and goes on to look at it. That it is not there yet has been said by then, where it may come later.
func (f *file) start() error {
	if _, err := f.load(); err != nil {
		if !absent(err) || f.reload == 0 {
			return err
		}
		f.trouble = err.Error()
	}
	if f.reload == 0 {
		return nil
	}
	running, stop := context.WithCancel(context.Background())
	f.stop, f.done = stop, make(chan struct{})
	go func() {
		defer close(f.done)
		tick := time.NewTicker(f.reload)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.refresh()
			case <-running.Done():
				return
			}
		}
	}()
	return nil
}

func (f *file) end() {
	if f.stop != nil {
		f.stop()
		<-f.done
	}
}

// refresh reads the file once more. One that cannot be read leaves all as it was, which is said once.
func (f *file) refresh() {
	changed, err := f.load()
	before := f.trouble
	f.trouble = ""
	if err == nil {
		if before != "" && !changed {
			f.log.Info(fmt.Sprintf("Weight file %s can be read again", f.path))
		}
		return
	}
	f.trouble = err.Error()
	if f.trouble != before && f.read {
		f.log.Error(fmt.Sprintf("%v; the weights that were read before stay", err))
	} else if f.trouble != before {
		f.log.Error(err.Error())
	}
}

// load reads the file, and the weights in it if it says something else than before.
func (f *file) load() (changed bool, err error) {
	text, err := readFile(f.path)
	if err != nil || f.read && bytes.Equal(text, f.text) {
		return false, err
	}
	w, err := parseWeights(f.path, text)
	if err != nil {
		return false, err
	}
	f.text, f.read = text, true
	f.weights.Store(&w)
	f.log.Info("Successfully reloaded weight file " + f.path)
	return true, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return plainfile.Read(path, info)
}

// absent reports whether an error of readFile is that there is no file, or none that may be read: that can change.
func absent(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && (failed.Op == "stat" || failed.Op == "open")
}
