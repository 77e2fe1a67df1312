package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/waypost/waypost/e2e/nodes/seen"
)

// statsAddress is where clients tell what they have seen.
const statsAddress = ":9000"

// tally counts, for many goroutines at once.
type tally struct {
	mu sync.Mutex
	seen.Tally
}

// note counts one attempt, that began at a moment, and what became of it.
func (t *tally) note(begun time.Time, err error) {
	took := time.Since(begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Done++
	t.Longest = max(t.Longest, took)
	if err == nil {
		return
	}
	t.Failed++
	if begun.After(t.LastFailed) {
		t.LastFailed = begun
	}
	if len(t.Failures) < seen.MaxFailures {
		t.Failures = append(t.Failures, seen.Failure{Begun: begun, Took: took, What: err.Error()})
	}
}

// begin counts an attempt.
func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Begun++
}

// serve tells the counts until ctx ends.
func (t *tally) serve(ctx context.Context) error {
	listener, err := net.Listen("tcp", statsAddress)
	if err != nil {
		return fmt.Errorf("listen for who asks what was seen: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		text, err := json.Marshal(t.Tally)
		t.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(text)
	})}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	go server.Serve(listener)
	return nil
}

// load calls try at a rate, each time on a goroutine of its own, until ctx ends, and waits for the last ones.
func (t *tally) load(ctx context.Context, rate int, try func(number int) error) {
	var under sync.WaitGroup
	defer under.Wait()
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for number := 0; ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		t.begin()
		under.Go(func() {
			begun := time.Now()
			t.note(begun, try(number))
		})
	}
}
