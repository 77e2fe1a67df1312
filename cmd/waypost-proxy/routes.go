package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/account"
	"github.com/waypost/waypost/proxy/nftables"
	"github.com/waypost/waypost/proxy/page"
)

// routesHelp is what `waypost-proxy routes --help` says before the flags.
const routesHelp = `waypost-proxy routes [FLAG]... [NAMESPACE/NAME | NAMESPACE/]

says where the Services of the cluster lead on this node, and why not elsewhere: what the waypost-proxy that runs here
wants, beside what the kernel has. It ends with 3 where the two differ.
`

// routeFlags are those of `waypost-proxy routes`.
type routeFlags struct {
	output  string
	address string
	noPlan  bool
	noKern  bool
	query   page.Query
}

// runRoutes is `waypost-proxy routes`.
func runRoutes(args []string, read func() ([]*proxy.Route, error), out, messages io.Writer) int {
	f, err := parseRoutes(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(messages, err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var kernel *account.Kernel
	code := exitOK
	if !f.noKern {
		routes, err := read()
		if err != nil {
			code = exitError
			fmt.Fprintf(messages, "what the kernel has is not known: %v; --plan-only does without\n", err)
		} else {
			kernel = account.NewKernel(routes)
		}
	}
	r := &report{kernel: kernel, json: f.output == "json", out: out}
	if err := r.print(ctx, f); err != nil {
		fmt.Fprintln(messages, err)
		return exitError
	}
	if r.differing > 0 {
		fmt.Fprintf(messages, "the kernel differs in %d routes\n", r.differing)
		return exitDiffers
	}
	return code
}

func parseRoutes(args []string, out io.Writer) (*routeFlags, error) {
	f := &routeFlags{}
	set := flag.NewFlagSet("waypost-proxy routes", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.output, "o", "text", "text or json")
	set.StringVar(&f.address, "metrics-bind-address", "127.0.0.1:10249", "`ADDRESS:PORT` of the waypost-proxy to ask")
	set.BoolVar(&f.noPlan, "kernel-only", false, "do not ask a waypost-proxy")
	set.BoolVar(&f.noKern, "plan-only", false, "do not read the kernel")
	var names []string
	err := set.Parse(args)
	for err == nil && set.NArg() > 0 { // flags may follow the name
		names = append(names, set.Arg(0))
		err = set.Parse(set.Args()[1:])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "%s\nFlags:\n", routesHelp)
		set.SetOutput(out)
		set.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("command line: %w; see --help", err)
	case f.output != "text" && f.output != "json":
		return nil, fmt.Errorf("command line: -o %q is neither text nor json", f.output)
	case len(names) > 1 || len(names) == 1 && !strings.Contains(names[0], "/"):
		return nil, fmt.Errorf("command line: %q is not NAMESPACE/NAME or NAMESPACE/", strings.Join(names, " "))
	case len(names) == 1 && f.noPlan:
		return nil, errors.New("command line: the kernel does not know of Services: --kernel-only is for all routes")
	case len(names) == 1:
		f.query.Namespace, f.query.Name, _ = strings.Cut(names[0], "/")
	}
	return f, nil
}

// readKernel reads what this network namespace's kernel has.
func readKernel() ([]*proxy.Route, error) {
	tables, err := nftables.Open(nftables.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tables.Close() }() // it was only read from
	return tables.Read()
}

// report prints accounts as they come.
type report struct {
	kernel    *account.Kernel // nil where it is not known
	json      bool
	out       io.Writer
	begun     bool
	differing int
}

func (r *report) print(ctx context.Context, f *routeFlags) error {
	if !f.noPlan {
		if err := page.Routes(ctx, f.address, f.query, r.service); err != nil {
			return err
		}
		if f.query.Name != "" && !r.begun {
			return fmt.Errorf("there is no Service %s/%s with a ClusterIP", f.query.Namespace, f.query.Name)
		}
	}
	var left []*proxy.Route
	if r.kernel != nil && f.query == (page.Query{}) {
		left = r.kernel.Left()
		if !f.noPlan {
			r.differing += len(left)
		}
	}
	if r.json {
		return r.endJSON(left)
	}
	if len(left) > 0 && !f.noPlan {
		fmt.Fprintln(r.out, "in the kernel, and wanted by no Service")
	}
	for _, route := range left {
		fmt.Fprintf(r.out, "  %s\n", route)
	}
	return nil
}

// service prints one Service's account.
func (r *report) service(s *account.Service) error {
	if r.kernel != nil {
		r.differing += r.kernel.Compare(s)
	}
	if !r.json {
		r.begun = true
		return s.Print(r.out)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.out, "%s%s", r.separator(), text)
	return err
}

// separator is what stands before a Service in JSON.
func (r *report) separator() string {
	if r.begun {
		return ",\n"
	}
	r.begun = true
	return "{\"services\":[\n"
}

func (r *report) endJSON(left []*proxy.Route) error {
	begin := "\n"
	if !r.begun {
		begin = "{\"services\":["
	}
	strangers := make([]account.Route, 0, len(left))
	for _, route := range left {
		strangers = append(strangers, account.RouteOf(route))
	}
	text, err := json.Marshal(strangers)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.out, "%s],\"onlyInKernel\":%s}\n", begin, text)
	return err
}
