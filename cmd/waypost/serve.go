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
	"github.com/waypost/waypost/server"
)

// process is a Waypost that serves.
type process struct {
	options options
	journal *journal.Journal
	log     *slog.Logger
	setup   *plugin.Setup
	servers []*server.Server
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
	return p.handle(signals)
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
	file, err := source.parse()
	if err != nil {
		return err
	}
	for _, warning := range file.Warnings {
		p.log.Warn(warning.String())
	}
	if err := p.compile(file); err != nil {
		return err
	}
	if err := p.setup.Start(ctx); err != nil {
		return err
	}
	if err := p.listen(); err != nil {
		_ = p.shutdown() // nobody has been served yet
		p.setup.Stop()
		return err
	}
	return nil
}

func (p *process) compile(file *config.File) error {
	compiler, err := plugin.NewCompiler(plugin.Options{Journal: p.journal, Version: version, Commit: commit()})
	if err != nil {
		return err
	}
	p.setup, err = compiler.Compile(file)
	return err
}

// listen opens all sockets before it serves the first query.
func (p *process) listen() error {
	for _, l := range p.setup.Listeners {
		s, err := server.Listen(l.Server)
		if err != nil {
			return err
		}
		p.servers = append(p.servers, s)
	}
	for _, s := range p.servers {
		s.Start()
	}
	return nil
}

// announce prints what is served, and by what.
func (p *process) announce() {
	if p.options.quiet {
		return
	}
	var text strings.Builder
	for _, l := range p.setup.Listeners {
		for _, line := range l.Banner() {
			text.WriteString(line + "\n")
		}
	}
	text.WriteString(versionText())
	if p.options.format == journal.JSON {
		p.log.Info(strings.TrimSuffix(text.String(), "\n"))
		return
	}
	io.WriteString(p.journal, text.String())
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
