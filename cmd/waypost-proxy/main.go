// Waypost-proxy makes the ClusterIPs of a Kubernetes cluster lead to Pods, on the node it runs on. It takes kube-proxy's
// configuration file and flags:
//
//	waypost-proxy --config FILE [--hostname-override NODE]
//	waypost-proxy [--kubeconfig FILE] [--cluster-cidr RANGE] ...
//	waypost-proxy check [--config FILE] ...
//	waypost-proxy routes [NAMESPACE/NAME] [-o text|json]
//	waypost-proxy cleanup [own | kube-proxy]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/waypost/waypost/proxy/config"
	"github.com/waypost/waypost/proxy/conntrack"
	"github.com/waypost/waypost/proxy/nftables"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK      = 0
	exitError   = 1
	exitUsage   = 2
	exitDiffers = 3 // `routes` found the kernel to differ from what is wanted
)

// version is set by the linker: -ldflags "-X main.version=1.2.3 -X main.revision=abcdef0".
var (
	version  = "0.1.0-dev"
	revision string
)

// run is the program without its end.
func run(args []string, out, messages io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "routes":
			return runRoutes(args[1:], readKernel, out, messages)
		case "check":
			return runCheck(args[1:], out, messages)
		case "cleanup":
			return runCleanup(args[1:], out, messages)
		}
	}
	c, err := config.ParseCommand(args, out)
	switch {
	case errors.Is(err, config.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(messages, err)
		return exitUsage
	case c.InitOnly:
		return initOnly(c, out, messages)
	case c.Version:
		fmt.Fprintf(out, "Waypost-proxy-%s\n%s/%s, %s, %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version(), revision)
		return exitOK
	}
	if err := act(c, out); err != nil {
		fmt.Fprintln(messages, err)
		return exitError
	}
	return exitOK
}

// act does what the command says that needs the kernel.
func act(c *config.Command, out io.Writer) error {
	if c.Cleanup {
		return cleanUp("", out)
	}
	k, err := nftables.Open(nftables.Options{MasqueradeBit: &c.Settings.MasqueradeBit})
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }() // the process ends
	flows, err := conntrack.Open()
	if err != nil {
		return err
	}
	_ = conntrack.Load() // looks at flows report what is wrong
	defer func() { _ = flows.Close() }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return serve(ctx, c, node{tables{k}, flows, removeKubeProxy, "/"}, out)
}

// initOnly does what later starts need no full privileges for any more.
func initOnly(c *config.Command, out, messages io.Writer) int {
	loaded := conntrack.Load()
	sysctls := conntrack.Sysctls(c.Settings.Sysctls)
	changed, err := sysctls.Set("/")
	for _, what := range changed {
		fmt.Fprintln(out, what)
	}
	if err != nil {
		fmt.Fprintln(messages, errors.Join(loaded, err))
		return exitError
	}
	return exitOK
}
