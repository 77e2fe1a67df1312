package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/waypost/waypost/plugin/plainfile"
)

// file is what is known of the hosts file. Only one goroutine at a time looks at it.
type file struct {
	size     int64
	modified time.Time
	entries  int    // how many it had
	read     bool   // it could be read at least once
	trouble  string // what was the matter the last time; "" is nothing

	emptied fs.FileInfo // of a file that was found without addresses, where there had been some; nil is none
}

// Start reads the file, and goes on to look at it.
func (h *Hosts) Start(context.Context) error {
	h.refresh()
	if h.options.Reload == 0 {
		return nil
	}
	running, stop := context.WithCancel(context.Background())
	h.stop, h.done = stop, make(chan struct{})
	go func() {
		defer close(h.done)
		tick := time.NewTicker(h.options.Reload)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.refresh()
			case <-running.Done():
				return
			}
		}
	}()
	return nil
}

// Stop ends that. What was read last is answered on.
func (h *Hosts) Stop() {
	if h.stop != nil {
		h.stop()
		<-h.done
	}
}

// refresh reads the file if it has changed. One that cannot be read leaves all as it was, which is said once. That a file
// is not there yet at the start has been said by then, or is nothing unusual.
func (h *Hosts) refresh() {
	err := h.readFile()
	f, before := &h.file, h.file.trouble
	f.trouble = ""
	switch {
	case err == nil && f.is(f.emptied):
		f.emptied = nil
		h.log.Info(fmt.Sprintf("Hosts file %q still has no line that begins with an address: its entries are gone", h.options.Path))
	case err == nil && before != "" && f.read:
		f.emptied = nil
		h.log.Info(fmt.Sprintf("Hosts file %q can be read again", h.options.Path))
	case err == nil:
		f.read = true
	default:
		f.trouble = err.Error()
		if f.read && f.trouble != before {
			h.log.Warn(fmt.Sprintf("%v; the %d entries that were read before stay", err, f.entries))
		} else if f.trouble != before && !errors.Is(err, fs.ErrNotExist) {
			h.log.Warn(err.Error())
		}
	}
}

// errNoHosts is returned for a file that is surely no hosts file, or no more.
var errNoHosts = errors.New("no line begins with an address")

// errEmptied is returned once for a file that says nothing any more: whoever writes one in place cuts it to nothing first.
var errEmptied = errors.New("no line begins with an address any more, which counts if the next look finds the same")

// readFile reads the file if it has another size or time than before.
func (h *Hosts) readFile() error {
	info, err := os.Stat(h.options.Path)
	if err != nil {
		return err
	}
	f := &h.file
	if f.read && f.is(info) {
		return nil
	}
	text, err := plainfile.Read(h.options.Path, info)
	if err != nil {
		return err
	}
	r := h.reader(fmt.Sprintf("Hosts file %q", h.options.Path))
	read := r.read(text)
	switch {
	case r.lines > 0:
	case r.others > 0:
		return fmt.Errorf("%s: %w", r.source, errNoHosts)
	case f.entries > 0 && !f.again(info):
		f.emptied = info
		return fmt.Errorf("%s: %w", r.source, errEmptied)
	}
	f.size, f.modified, f.entries = info.Size(), info.ModTime(), read.count
	h.table.Store(newTable(h.options.TTL, read, h.inline))
	h.metrics.entries.WithLabelValues(h.options.Path).Set(float64(h.inline.count + read.count))
	h.metrics.reload.Set(float64(info.ModTime().UnixNano()) / 1e9)
	return nil
}

// is reports whether the file was read last as info has it.
func (f *file) is(info fs.FileInfo) bool {
	return info != nil && info.Size() == f.size && info.ModTime().Equal(f.modified)
}

// again reports whether the file that was found without addresses still is as it was then.
func (f *file) again(info fs.FileInfo) bool {
	return f.emptied != nil && info.Size() == f.emptied.Size() && info.ModTime().Equal(f.emptied.ModTime())
}

// reader makes a reader of hosts lines that go by the options.
func (h *Hosts) reader(source string) *reader {
	return &reader{source: source, zones: h.zones, noReverse: h.options.NoReverse, warn: func(text string) { h.log.Error(text) }}
}
