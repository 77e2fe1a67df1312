package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// startUnless brings everything up, which takes a while where a cluster is not there yet, unless a signal ends the
// process before that.
func (p *process) startUnless(signals <-chan os.Signal, source corefile) (ended bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- p.start(ctx, source) }()
	for {
		select {
		case err := <-started:
			if ended && err == nil {
				p.end(true)
			}
			return ended, err
		case s := <-signals:
			if s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGQUIT {
				p.log.Info(fmt.Sprintf("%s: Quitting during the start", unix.SignalName(s.(syscall.Signal))))
				ended = true
				cancel()
			}
		}
	}
}

// handled are the signals that the process looks at.
var handled = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
}

// handle acts on signals until the process is to end, and returns its exit code. SIGHUP is ignored, and so is a second
// SIGTERM; a second SIGINT ends the process at once.
func (p *process) handle(signals <-chan os.Signal) int {
	ended := make(chan int, 1)
	ending := false
	end := func(drain bool) {
		if !ending {
			go func() { ended <- p.end(drain) }()
		}
		ending = true
	}
	for interrupts := 0; ; {
		var s os.Signal
		select {
		case code := <-ended:
			return code
		case s = <-signals:
		}
		switch s {
		case syscall.SIGTERM:
			if !ending {
				p.log.Info("SIGTERM: Shutting down servers then terminating")
			}
			end(true)
		case syscall.SIGINT:
			if interrupts++; interrupts > 1 {
				p.log.Info("SIGINT: Force quit")
				return exitUsage
			}
			p.log.Info("SIGINT: Shutting down")
			end(false)
		case syscall.SIGQUIT:
			p.log.Info("SIGQUIT: Quitting process immediately")
			return exitOK
		case syscall.SIGUSR1:
			p.log.Error("SIGUSR1: Waypost does not reload yet: restart the process to use a changed Corefile")
		case syscall.SIGUSR2:
			p.log.Error("SIGUSR2: Waypost does not replace its program: start the new one, which can listen on the same addresses")
		}
	}
}

// end ends the process: first clients are led elsewhere, while all goes on; then the sockets are read to their end and
// closed, if drain says so; the cluster is watched up to then, and /health answers still longer.
func (p *process) end(drain bool) int {
	p.setup.Drain(context.Background())
	code := exitOK
	if drain {
		if err := p.shutdown(); err != nil {
			p.log.Error(fmt.Sprintf("SIGTERM stop: %v", err))
			code = exitStop
		}
	}
	p.setup.Stop()
	return code
}

// shutdown ends all servers at the same time.
func (p *process) shutdown() error {
	errs := make([]error, len(p.servers))
	var wait sync.WaitGroup
	for i, s := range p.servers {
		wait.Go(func() { errs[i] = s.Shutdown(context.Background()) })
	}
	wait.Wait()
	return errors.Join(errs...)
}
