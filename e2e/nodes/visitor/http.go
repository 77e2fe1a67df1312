package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// runHTTP gets a page over and over, each time over a new connection and with its host's name resolved anew.
func runHTTP(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("visitor http", flag.ContinueOnError)
	rate := set.Int("rate", 50, "requests a second")
	if err := set.Parse(args); err != nil {
		return err
	}
	t := &tally{}
	if err := t.serve(ctx); err != nil {
		return err
	}
	client := &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       (&net.Dialer{Resolver: &net.Resolver{PreferGo: true}}).DialContext,
		},
	}
	t.load(ctx, *rate, func(int) error {
		response, err := client.Get(set.Arg(0))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.ReadAll(response.Body); err != nil {
			return fmt.Errorf("read the page: %w", err)
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", response.Status)
		}
		return nil
	})
	return nil
}

// serve answers with the host's name, at /ready with whether it is to be led to, which a POST there turns over. Told to end,
// it goes on for the grace given: until then clients may still be led to it.
func serve(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("serve takes an address")
	}
	var grace time.Duration
	if len(args) > 1 {
		var err error
		if grace, err = time.ParseDuration(args[1]); err != nil {
			return fmt.Errorf("the grace: %w", err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the host's name: %w", err)
	}
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, host) })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			unready.Store(!unready.Load())
		} else if unready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: args[0], Handler: mux}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		time.Sleep(grace)
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve at %s: %w", args[0], err)
	}
	return <-ended
}
