package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"github.com/waypost/waypost/check"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin"
)

const checkUsage = `waypost check [-strict] [-o text|json] [-p PORT] [FILE]
waypost check --diff [-strict] [-o text|json] [-p PORT] OLD NEW

Says what is wrong with a Corefile, what is legal and surely not meant, and in words what it serves, without serving it.
With --diff it says what becomes other when NEW takes the place of OLD; what means the same is no change.
FILE is a path, or "stdin" for a pipe; without it ./Corefile is checked, or what is served where there is none.

It does all that the start does up to the first socket: it reads imported files, hosts, resolv.conf and certificates. What
only the start can tell is whether an address is free, and whether the cluster and other servers answer.

Exit status: 0 the Corefile can be served; 1 it cannot (with -strict: or there are warnings); 2 wrong arguments.
`

// checkOptions are the flags of waypost check.
type checkOptions struct {
	diff   bool
	strict bool
	json   bool
	port   uint16
	files  []string
}

// runCheck is waypost check.
func runCheck(args []string, stdout, stderr io.Writer) int {
	o, err := parseCheckFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	log.SetOutput(io.Discard) // the grammar's own warnings are among the findings
	if o.diff {
		return o.compare(stdout, stderr)
	}
	report, err := o.check(append(o.files, "")[0])
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitError
	}
	return o.print(stdout, stderr, report, report.Text(), report.Worst())
}

// compare is waypost check --diff.
func (o *checkOptions) compare(stdout, stderr io.Writer) int {
	var reports [2]check.Report
	for i := range reports {
		var err error
		if reports[i], err = o.check(o.files[i]); err != nil {
			fmt.Fprintln(stderr, err)
			return exitError
		}
	}
	diff := check.Compare(reports[0], reports[1])
	worst := reports[1].Worst()
	if reports[0].Worst() == check.Error {
		worst = check.Error
	}
	return o.print(stdout, stderr, diff, diff.Text(), worst)
}

// print prints a result in the form that was asked for, and returns the exit code.
func (o *checkOptions) print(stdout, stderr io.Writer, result any, text string, worst check.Severity) int {
	if o.json {
		encoded, err := json.MarshalIndent(result, "", "  ")
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitError
		}
		text = string(encoded) + "\n"
	}
	if _, err := io.WriteString(stdout, text); err != nil {
		fmt.Fprintln(stderr, err)
		return exitError
	}
	if worst == check.Error || o.strict && worst == check.Warning {
		return exitError
	}
	return exitOK
}

// check reads and checks one Corefile. The error says why it cannot be read.
func (o *checkOptions) check(name string) (check.Report, error) {
	source := findCorefile(name, o.port, os.Stdin)
	text, err := source.read()
	if err != nil {
		return check.Report{}, fmt.Errorf("read the Corefile: %w", err)
	}
	j := journal.New(io.Discard, journal.Text)
	defer j.Close()
	c, err := plugin.NewCompiler(plugin.Options{Journal: j, Version: version, Commit: commit()})
	if err != nil {
		return check.Report{}, err
	}
	file, err := source.parse(text)
	return check.Run(c, source.name, file, err), nil
}

// parseCheckFlags reads the command line. What is wrong with it has been said on stderr.
func parseCheckFlags(args []string, stderr io.Writer) (checkOptions, error) {
	o := checkOptions{port: 53}
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		io.WriteString(stderr, checkUsage+"\n")
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.diff, "diff", false, "say what becomes other from OLD to NEW")
	flags.BoolVar(&o.strict, "strict", false, "warnings are errors")
	flags.Func("o", "`FORMAT` of what is printed, text or json (default text)", func(text string) error {
		o.json = text == "json"
		if text != "json" && text != "text" {
			return fmt.Errorf("unknown format %q: expected text or json", text)
		}
		return nil
	})
	setPort := func(text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		o.port = uint16(n)
		return err
	}
	flags.Func("dns.port", "`PORT` of zones that name none (default 53)", setPort)
	flags.Func("p", "the same as -dns.port", setPort)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.files = flags.Args()
	if o.diff && len(o.files) != 2 || !o.diff && len(o.files) > 1 {
		err := errors.New("waypost check takes one Corefile, and two with --diff; flags come before them")
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}
