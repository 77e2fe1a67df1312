package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
	"github.com/waypost/waypost/plugin/reload"
)

// process is a Waypost that serves.
type process struct {
	options options
	journal *journal.Journal
	log     *slog.Logger
	live    *plugin.Live
	reload  *reload.Reload
}

// serve runs until a signal ends the process, and returns its exit code. hint is printed once all zones are served.
func serve(o options, source corefile, hint string) int {
	tuneMemory()
	j := journal.New(os.Stdout, o.format)
	defer j.Close()
	p := &process{options: o, journal: j, log: j.Logger("")}
	p.takeStandardLog()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, handled...)
	defer signal.Stop(signals)
	if ended, err := p.startUnless(signals, source); ended || err != nil {
		if ended {
			return exitOK
		}
		j.Flush()
		return o.fail(err)
	}
	defer p.writePID()()
	p.announce()
	io.WriteString(j, hint)
	go settleMemory()
	return p.handle(signals, p.follow())
}

// takeStandardLog sends what libraries print with package log to the journal.
func (p *process) takeStandardLog() {
	log.SetFlags(0)
	log.SetOutput(p.journal)
	if p.options.format == journal.JSON {
		log.SetOutput(lines{p.log})
	}
}

// lines logs what is written to it.
type lines struct{ log *slog.Logger }

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l.log.Info(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// start brings everything up; after an error nothing is left running. In place of a Corefile that cannot be served it
// takes the last good one, if there is one.
func (p *process) start(ctx context.Context, source corefile) error {
	compiler, err := plugin.NewCompiler(plugin.Options{
		Journal: p.journal, Version: version, Commit: commit(), Retired: debug.FreeOSMemory,
	})
	if err != nil {
		return err
	}
	last, there := p.options.lastGood.find(p.options.port)
	file, err := source.load()
	empty := errors.Is(err, errEmpty) && !there // where one has been served before, it is surely not meant
	if empty {
		file, err = source.builtIn()
	}
	if err == nil {
		err = p.serve(ctx, compiler, file)
	}
	failed := err != nil
	switch {
	case failed && (!there || ctx.Err() != nil):
		return err
	case failed:
		if err := p.serveLast(ctx, compiler, last, err); err != nil {
			return err
		}
	case !empty:
		p.keep(file)
	}
	then := func(file *config.File) {
		p.warn(file)
		p.keep(file)
	}
	p.reload = p.live.Follow(reload.Source{Read: source.read, Parse: source.again}, then, file, failed)
	return nil
}

// serve begins to serve a Corefile.
func (p *process) serve(ctx context.Context, compiler *plugin.Compiler, file *config.File) (err error) {
	p.warn(file)
	p.live, err = compiler.Serve(ctx, file)
	return err
}

// serveLast serves the last good Corefile in place of one that cannot be served because of why.
func (p *process) serveLast(ctx context.Context, compiler *plugin.Compiler, last corefile, why error) error {
	p.log.Error(fmt.Sprintf("The Corefile cannot be served: %v", why))
	p.log.Warn(fmt.Sprintf("Serving %s, the last one that could be", last.name))
	file, err := last.load()
	if err == nil {
		err = p.serve(ctx, compiler, file)
	}
	if err != nil {
		return fmt.Errorf("%w; nor can the last good one: %w", why, err)
	}
	return nil
}

// keep keeps a copy of a Corefile that is being served.
func (p *process) keep(file *config.File) {
	if err := p.options.lastGood.keep(file); err != nil {
		p.log.Error(fmt.Sprintf("Keep the Corefile for the next start: %v", err))
	}
}

// warn logs what is legal in a Corefile and surely not meant.
func (p *process) warn(file *config.File) {
	for _, warning := range file.Warnings {
		p.log.Warn(warning.String())
	}
}

// announce prints what is served, and by what.
func (p *process) announce() {
	var zones strings.Builder
	for _, l := range p.live.Listeners() {
		for _, line := range l.Banner() {
			zones.WriteString(line + "\n")
		}
	}
	p.print(zones.String())
	p.reload.Announce()
	p.print(versionText())
}

// print prints a part of the banner.
func (p *process) print(text string) {
	switch {
	case p.options.quiet || text == "":
	case p.options.format == journal.JSON:
		p.log.Info(strings.TrimSuffix(text, "\n"))
	default:
		io.WriteString(p.journal, text)
	}
}

// writePID writes the pid file, if one is wanted, and returns what removes it.
func (p *process) writePID() (remove func()) {
	if p.options.pidfile == "" {
		return func() {}
	}
	if err := os.WriteFile(p.options.pidfile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		p.log.Error(fmt.Sprintf("Could not write pidfile: %v", err))
	}
	return func() { _ = os.Remove(p.options.pidfile) } // it may not have been written
}
