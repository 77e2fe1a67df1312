package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/waypost/waypost/watch/files"
)

// errChanged is returned where the process must be started anew to read its configuration.
var errChanged = errors.New("the configuration has changed: ending, to be started anew with it")

// whenChanged returns errChanged when the content of a file is not what it was; nil when ctx ends before. A file that is not
// there is about to be replaced.
func whenChanged(ctx context.Context, path string, was []byte, log *slog.Logger) error {
	told := make(chan struct{}, 1)
	follower := files.Follow([]string{path}, log, func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	defer follower.Close()
	for {
		if now, err := os.ReadFile(path); err == nil && !bytes.Equal(now, was) { // it may have changed since it was read
			return errChanged
		}
		select {
		case <-ctx.Done():
			return nil
		case <-told:
		}
	}
}
