package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/waypost/waypost/watch/files"
)

// configPoll is how soon a change of the configuration file is noticed of which the kernel does not tell.
const configPoll = time.Minute

// errChanged is returned where the process must be started anew to read its configuration.
var errChanged = errors.New("the configuration has changed: ending, to be started anew with it")

// whenChanged returns errChanged when the content of a file is not what it was; nil when ctx ends before. A file that is not
// there is about to be replaced.
func whenChanged(ctx context.Context, path string, was []byte, log *slog.Logger) error {
	told := make(chan struct{}, 1)
	follower, err := files.Follow([]string{path}, func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	if err == nil {
		defer follower.Close()
	} else {
		log.Info(fmt.Sprintf("the configuration is only looked at every %s: %v", configPoll, err))
	}
	ticks := time.NewTicker(configPoll)
	defer ticks.Stop()
	for {
		if now, err := os.ReadFile(path); err == nil && !bytes.Equal(now, was) { // it may have changed since it was read
			return errChanged
		}
		select {
		case <-ctx.Done():
			return nil
		case <-told:
		case <-ticks.C:
		}
	}
}
