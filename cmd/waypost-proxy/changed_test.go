package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
)

func TestWhenChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- whenChanged(ctx, path, []byte("a"), slog.New(slog.DiscardHandler)) }() // it is not there yet
	replace(t, path, []byte("a"))
	replace(t, path, []byte("b"))
	if err := <-done; err != errChanged {
		t.Errorf("it returns %v", err)
	}
	cancel()
	if err := whenChanged(ctx, path, []byte("b"), slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("at the end it returns %v", err)
	}
}
