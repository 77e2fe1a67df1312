package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// configRest is how long nothing may happen to the configuration file before it is read: it may be written in parts.
	configRest = 100 * time.Millisecond
	// configPoll is how soon a change of the file is noticed of which the kernel does not tell.
	configPoll = time.Minute
)

// errChanged is returned where the process must be started anew to read its configuration.
var errChanged = errors.New("the configuration has changed: ending, to be started anew with it")

// whenChanged returns errChanged when the content of a file is not what it was; nil when ctx ends before. A file that is not
// there is about to be replaced.
func whenChanged(ctx context.Context, path string, was []byte, log *slog.Logger) error {
	var events <-chan fsnotify.Event
	var lost <-chan error // events were
	if notify, err := watchFile(path); err == nil {
		defer notify.Close()
		events, lost = notify.Events, notify.Errors
	} else {
		log.Info(fmt.Sprintf("changes of %s are only looked for every %s: %v", path, configPoll, err))
	}
	look := time.NewTimer(configRest) // it may have changed since it was read
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if leadsTo(path, e.Name) {
				look.Reset(configRest)
			}
			continue
		case <-lost:
			look.Reset(configRest)
			continue
		case <-look.C:
			look.Reset(configPoll)
		}
		if now, err := os.ReadFile(path); err == nil && !bytes.Equal(now, was) {
			return errChanged
		}
	}
}

// watchFile has the kernel tell what happens in the folder that a file's name is in, and where it is a link in the one that it
// leads to.
func watchFile(path string) (*fsnotify.Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	folders := []string{filepath.Dir(path)}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		folders = append(folders, filepath.Dir(target))
	}
	for _, folder := range folders {
		if err := notify.Add(folder); err != nil {
			notify.Close()
			return nil, err
		}
	}
	return notify, nil
}

// leadsTo reports whether something that has happened to a name may have to do with the file: its own name, or that of the
// link through which all files of a ConfigMap change at once.
func leadsTo(path, name string) bool {
	base := filepath.Base(name)
	if target, err := filepath.EvalSymlinks(path); err == nil && base == filepath.Base(target) {
		return true
	}
	return base == filepath.Base(path) || strings.HasPrefix(base, "..")
}
