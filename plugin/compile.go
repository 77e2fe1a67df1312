// Package plugin knows which directives there are and in which order they act: one table. It turns the server blocks of a
// Corefile into what package server runs, and into what runs beside that.
package plugin

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/autopath"
	"github.com/waypost/waypost/plugin/cache"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/forward"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/loop"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/reload"
	"github.com/waypost/waypost/server"
)

// Compiler turns Corefiles into Setups. It holds what outlives each of them: the journal, and the metrics, which count on.
type Compiler struct {
	options    Options
	metrics    *prometheus.Metrics
	reloads    *reload.Metrics
	stacktrace atomic.Bool // a panic is logged with its stack
}

// Options are what a Compiler needs of the process.
type Options struct {
	// Journal prints what directives have to say.
	Journal *journal.Journal
	// Version is Waypost's own, Commit what it was built from.
	Version, Commit string
	// Exit ends the process with a status, for a directive whose option says so (loop). Default: os.Exit.
	Exit func(status int)
	// Retired, if not nil, is called each time that nothing is left of a Corefile which another one has replaced.
	Retired func()
}

// NewCompiler makes a compiler, and the metrics that are there whatever a Corefile says.
func NewCompiler(o Options) (*Compiler, error) {
	if o.Exit == nil {
		o.Exit = os.Exit
	}
	c := &Compiler{options: o}
	c.metrics = prometheus.New(c.env("prometheus"))
	if _, err := forward.NewMetrics(c.env("forward")); err != nil {
		return nil, err
	}
	if _, err := health.NewMetrics(c.env("health")); err != nil {
		return nil, err
	}
	if _, err := hosts.NewMetrics(c.env("hosts")); err != nil {
		return nil, err
	}
	var err error
	c.reloads, err = reload.NewMetrics(c.env("reload"))
	return c, err
}

// env is what the directive called name gets, without what only its block knows.
func (c *Compiler) env(name string) env.Env {
	e := env.Env{
		Log: c.options.Journal.Logger(name), Journal: c.options.Journal, Shards: server.Shards,
		Version: c.options.Version, Commit: c.options.Commit,
	}
	if c.metrics != nil {
		e.Metrics = c.metrics.Registry()
	}
	return e
}

// Compile checks the whole of a Corefile and makes what it describes, without starting any of it. The error names file,
// line and directive.
func (c *Compiler) Compile(file *config.File) (*Setup, error) { return c.compile(file, nil) }

// compile makes a Setup that takes the place of another one, if that is not nil, and takes over the parts that it wants
// too. The other one goes on untouched.
func (c *Compiler) compile(file *config.File, before *Setup) (*Setup, error) {
	s := &Setup{Digest: file.Digest, compiler: c, before: before}
	if err := known(file); err != nil {
		return nil, err
	}
	var wrong error
	s.build(file, func(err error) bool { wrong = err; return false })
	if wrong != nil {
		return nil, wrong
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.watchReadiness()
	s.suspect()
	return s, nil
}

// build makes the parts of all blocks, directive by directive. It tells failed of each error, and ends where that wants no
// more.
func (s *Setup) build(file *config.File, failed func(error) bool) {
	for i := range file.Blocks {
		s.blocks = append(s.blocks, &block{setup: s, config: &file.Blocks[i], hosts: []string{""}, view: viewName(&file.Blocks[i])})
	}
	for _, d := range table {
		s.order = append(s.order, d.name)
		if d.link {
			s.chain = append(s.chain, d.name)
		}
	}
	for _, d := range table {
		for _, b := range s.blocks {
			if err := b.build(d); err != nil && !failed(err) {
				return
			}
		}
	}
}

// known returns an error for each directive and scheme that Waypost does not have, where it stands first.
func known(file *config.File) error {
	var missing []error
	said := map[string]bool{}
	for i := range file.Blocks {
		b := &file.Blocks[i]
		for _, k := range b.Keys {
			if k.Scheme != config.DNS && !said[string(k.Scheme)+"://"] {
				said[string(k.Scheme)+"://"] = true
				missing = append(missing, k.Pos.Errorf("%q: listening on %s:// is not supported by Waypost yet: serve plain DNS behind a proxy that speaks it", k.Text, k.Scheme))
			}
		}
		for _, d := range b.Directives {
			if err := unsupported(d); err != nil && !said[d.Name] {
				said[d.Name] = true
				missing = append(missing, err)
			}
		}
	}
	return errors.Join(missing...)
}

// unsupported is nil for a directive that Waypost has. The words about one that CoreDNS does not have are CoreDNS's own.
func unsupported(d config.Directive) error {
	row := find(d.Name)
	switch {
	case row == nil && foreign[d.Name] != "":
		return d.Pos.Errorf("Unknown directive '%s' (%s)", d.Name, foreign[d.Name])
	case row == nil:
		return d.Pos.Errorf("Unknown directive '%s'%s", d.Name, config.DidYouMean(d.Name, Names()))
	case row.build == nil:
		return d.Error(d.Pos.Errorf("directive '%s' is not supported by Waypost yet: %s", d.Name, row.instead))
	}
	return nil
}

// block is a server block while it is being compiled.
type block struct {
	setup  *Setup
	config *config.Block

	hosts     []string // what bind resolves to; one empty text for all addresses
	bound     bool     // there is a bind directive
	steps     []server.Step
	observers []observer // in the table's order
	links     []string   // the links of CoreDNS's chain
	said      []said     // the directives in the table's order
	asked     bool       // there is a ready directive
	ready     []readiness
	chaos     bool // a step answers class CH
	view      string
	takes     func(*message.Query) bool // which queries are the view's; nil where there is none
	cache     *cache.Cache
	loop      *loop.Loop
	loopKey   string             // what the part of loop was made from
	looped    bool               // it was taken over, and knows what forwards
	autopath  *autopath.AutoPath // one that waits for the kubernetes directive
}

// observer makes a block's observer for one of its listeners, called "dns://:53".
type observer func(listener string) (server.Observer, error)

// readiness is a directive that ready has to ask.
type readiness struct {
	name string
	part interface{ Ready() bool }
}

// build adds what the block says in one directive of the table.
func (b *block) build(d directive) error {
	said := b.config.Directive(d.name)
	if said == nil || d.build == nil { // known says that
		return nil
	}
	if d.link {
		b.links = append(b.links, d.name)
	}
	err := said.Error(located(said.Pos, d.build(b, said)))
	return hint(said, d, err)
}

// located gives an error the directive's place, unless it says more exactly already what line it is about.
func located(pos config.Pos, err error) error {
	if err == nil || config.Locate(err).Pos != (config.Pos{}) {
		return err
	}
	return pos.Errorf("%w", err)
}

// hint adds the word that was meant to the error about one that is near it.
func hint(said *config.Directive, d directive, err error) error {
	if err == nil || d.words == nil {
		return err
	}
	word := said.Word(config.Locate(err).Pos)
	if meant := config.DidYouMean(word, d.words()); word != said.Name && meant != "" {
		return fmt.Errorf("%w%s", err, meant)
	}
	return err
}

// note is warn for what no directive alone is to blame for.
func (b *block) note(w config.Warning) {
	b.setup.warnings = append(b.setup.warnings, w)
	b.setup.compiler.options.Journal.Logger("").Warn(w.String())
}

// warn keeps what is legal in a directive and surely not meant, and logs it.
func (b *block) warn(d *config.Directive, warnings ...config.Warning) {
	for _, w := range warnings {
		w.Directive = d.Name
		b.setup.warnings = append(b.setup.warnings, w)
		b.env(d.Name).Log.Warn(w.String())
	}
}

// env is what a directive of this block gets.
func (b *block) env(name string) env.Env {
	e := b.setup.compiler.env(name)
	e.View = b.view
	if b.bound {
		e.Bound = b.hosts
	}
	return e
}

// observe adds an observer that does not care which listener a query came by.
func (b *block) observe(o server.Observer) {
	b.observers = append(b.observers, func(string) (server.Observer, error) { return o, nil })
}

// meaning is what the block says in a directive and in those that act behind it, comments and blanks left aside. It is
// empty where that cannot be told.
func (b *block) meaning(from string) string {
	text := fmt.Sprintf("%q %q", b.config.Zones(), b.hosts)
	for _, name := range b.setup.order[slices.Index(b.setup.order, from):] {
		said := b.config.Directive(name)
		if said == nil {
			continue
		}
		written := said.String()
		if written == "" {
			return ""
		}
		text += "\n" + written
	}
	return text
}

// behind is the link of the chain that follows the one called name, "" where it is the last.
func (b *block) behind(name string) string {
	for i, link := range b.links[:max(0, len(b.links)-1)] {
		if link == name {
			return b.links[i+1]
		}
	}
	return ""
}

// followed reports whether there is a link of the chain behind the one called name, whether it has been built or not.
func (b *block) followed(name string) bool {
	return slices.ContainsFunc(b.setup.chain[slices.Index(b.setup.chain, name)+1:], func(link string) bool { return b.config.Directive(link) != nil })
}

// last is the last link of the chain, "" where there is none.
func (b *block) last() string {
	if len(b.links) == 0 {
		return ""
	}
	return b.links[len(b.links)-1]
}

// label is the block as its metrics name it: its first zone.
func (b *block) label() string { return b.config.Keys[0].Zone }

// String is the block for messages.
func (b *block) String() string {
	return fmt.Sprintf("server block %s (%s)", b.config.Keys[0], b.config.Keys[0].Pos)
}
