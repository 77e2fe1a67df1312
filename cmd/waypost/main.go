// Waypost answers the names of a Kubernetes cluster. It reads CoreDNS's Corefile and takes CoreDNS's flags:
//
//	waypost [-conf Corefile] [-p PORT] [-pidfile FILE] [-lastgood FOLDER] [-quiet] [-log-format text|json]
//	waypost -version
//	waypost -plugins
//	waypost demo
//	waypost check [--diff OLD] FILE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
)

func main() { os.Exit(run(os.Args[1:])) }

// Exit codes, CoreDNS's own.
const (
	exitOK    = 0
	exitError = 1 // the start failed
	exitUsage = 2 // unknown flag, or a second interrupt
	exitStop  = 3 // not every answer was given before the end
)

// run is the program without its end.
func run(args []string) int {
	if len(args) > 0 && args[0] == "demo" {
		return runDemo(args[1:])
	}
	if len(args) > 0 && args[0] == "check" {
		return runCheck(args[1:], os.Stdout, os.Stderr)
	}
	o, err := parseFlags(args, 53, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.wrong != nil:
		return o.fail(o.wrong)
	case len(o.extra) > 0:
		return o.fail(fmt.Errorf("extra command line arguments: %s", o.extra))
	case o.version:
		fmt.Print(versionText())
		return exitOK
	case o.plugins:
		printPlugins(os.Stdout)
		return exitOK
	}
	return serve(o, findCorefile(o.conf, o.port, os.Stdin), "")
}

// options are what the flags say.
type options struct {
	conf     string // the Corefile, "stdin" to read a pipe, "" for ./Corefile
	port     uint16 // of zones that name none
	pidfile  string
	lastGood lastGood
	plugins  bool
	quiet    bool
	version  bool
	format   journal.Format
	extra    []string // what is left of the command line
	wrong    error    // a value that cannot be used; with CoreDNS that is no matter of usage
	messages io.Writer
}

const usage = `Usage of waypost:
  waypost [FLAGS]               serve a Corefile
  waypost demo [FLAGS]          serve a small cluster, to try it: any FLAGS but -conf
  waypost check [FLAGS] [FILE]  say what is wrong with a Corefile, and what it serves: see waypost check -h
FLAGS are
`

// parseFlags reads the command line. What is wrong with it has been said on stderr.
func parseFlags(args []string, port uint16, stderr io.Writer) (options, error) {
	o := options{port: port, messages: stderr}
	flags := flag.NewFlagSet("waypost", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.conf, "conf", "", "`FILE` to read the Corefile from, stdin to read it from a pipe (default \"Corefile\")")
	flags.StringVar((*string)(&o.lastGood), "lastgood", "", "`FOLDER` to keep the Corefile in that is served, and to start from if the one of -conf cannot be")
	flags.StringVar(&o.pidfile, "pidfile", "", "`FILE` to write the process's number to")
	flags.BoolVar(&o.plugins, "plugins", false, "list the directives and exit")
	flags.BoolVar(&o.quiet, "quiet", false, "do not print zones and version at the start")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	setPort := func(text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		if o.port = uint16(n); err != nil {
			o.wrong = fmt.Errorf("address %s: invalid port", text)
		}
		return nil
	}
	flags.Func("dns.port", fmt.Sprintf("`PORT` of zones that name none (default %d)", port), setPort)
	flags.Func("p", "the same as -dns.port `PORT`", setPort)
	flags.Func("log-format", "`FORMAT` of log lines, text or json (default text)", func(text string) error {
		switch text {
		case "text":
			o.format = journal.Text
		case "json":
			o.format = journal.JSON
		default:
			o.wrong = fmt.Errorf("unknown log format %q: expected text or json", text)
		}
		return nil
	})
	err := flags.Parse(args)
	o.extra = flags.Args()
	return o, err
}

// fail says on stderr why the process cannot start.
func (o options) fail(err error) int {
	if o.format == journal.JSON {
		j := journal.New(o.messages, journal.JSON)
		j.Logger("").Log(context.Background(), journal.LevelFatal, err.Error())
		j.Close()
		return exitError
	}
	fmt.Fprintln(o.messages, err)
	return exitError
}

func printPlugins(out io.Writer) {
	names := plugin.Names()
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintln(out, name)
	}
}
