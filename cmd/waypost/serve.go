package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
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

// start brings everything up; after an error nothing is left running.
func (p *process) start(ctx context.Context, source corefile) error {
	file, err := source.load()
	if err != nil {
		return err
	}
	p.warn(file)
	compiler, err := plugin.NewCompiler(plugin.Options{Journal: p.journal, Version: version, Commit: commit()})
	if err != nil {
		return err
	}
	if p.live, err = compiler.Serve(ctx, file); err != nil {
		return err
	}
	p.reload = p.live.Follow(reload.Source{Read: source.read, Parse: source.parse}, p.warn, file, false)
	return nil
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
