package main

import (
	"context"
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
func (p *process) handle(signals <-chan os.Signal, follower *follower) int {
	ended := make(chan int, 1)
	ending := false
	end := func(drain bool) {
		if !ending {
			go func() {
				follower.stop()
				ended <- p.end(drain)
			}()
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
			follower.ask()
		case syscall.SIGUSR2:
			p.log.Error("SIGUSR2: Waypost does not replace its program: start the new one, which can listen on the same addresses")
		}
	}
}

// follower keeps what is served up to date with the Corefile.
type follower struct {
	asked chan struct{}
	stop  func() // returns when it has ended
}

// follow begins that.
func (p *process) follow() *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{asked: make(chan struct{}, 1)}
	var running sync.WaitGroup
	running.Go(func() { p.reload.Run(ctx, f.asked) })
	f.stop = func() {
		cancel()
		running.Wait()
	}
	return f
}

// ask has the Corefile served as it is now. While that is being done, one more time is remembered.
func (f *follower) ask() {
	select {
	case f.asked <- struct{}{}:
	default:
	}
}

// end ends the process: first clients are led elsewhere, while all goes on; then the sockets are read to their end and
// closed, if drain says so; the cluster is watched up to then, and /health answers still longer.
func (p *process) end(drain bool) int {
	p.live.Drain(context.Background())
	code := exitOK
	if drain {
		if err := p.live.Shutdown(context.Background()); err != nil {
			p.log.Error(fmt.Sprintf("SIGTERM stop: %v", err))
			code = exitStop
		}
	}
	p.live.Stop()
	return code
}
