package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/waypost/waypost/proxy/kubeproxy"
	"github.com/waypost/waypost/proxy/nftables"
)

// cleanupHelp is what `waypost-proxy cleanup --help` says.
const cleanupHelp = `waypost-proxy cleanup [own | kube-proxy]

takes away the routes of this node, and what kube-proxy has left behind, or one of the two: "own" where kube-proxy is to route
again, "kube-proxy" where waypost-proxy does. It says what it has taken away.
`

// The two that routes may be of.
const (
	own       = "own"
	kubeProxy = "kube-proxy"
)

// runCleanup is `waypost-proxy cleanup`.
func runCleanup(args []string, out, messages io.Writer) int {
	switch {
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(out, cleanupHelp)
		return exitOK
	case len(args) > 1 || len(args) == 1 && args[0] != own && args[0] != kubeProxy:
		fmt.Fprintf(messages, "command line: %q is neither %s nor %s\n", args, own, kubeProxy)
		return exitUsage
	}
	if err := cleanUp(append(slices.Clone(args), "")[0], out); err != nil {
		fmt.Fprintln(messages, err)
		return exitError
	}
	return exitOK
}

// cleanUp takes away what one of the two has in the kernel, or both for "".
func cleanUp(whose string, out io.Writer) error {
	var errs []error
	if whose != kubeProxy {
		errs = append(errs, removing(removeOwn, out))
	}
	if whose != own {
		errs = append(errs, removing(removeKubeProxy, out))
	}
	return errors.Join(errs...)
}

func removing(remove func() ([]string, error), out io.Writer) error {
	removed, err := remove()
	for _, what := range removed {
		fmt.Fprintln(out, "taken away:", what)
	}
	return err
}

func removeOwn() (removed []string, err error) {
	k, err := nftables.Open(nftables.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = k.Close() }() // the process ends
	return k.RemoveOwn()
}

// removeKubeProxy takes away what kube-proxy has left behind. It has a connection of its own, as routes change meanwhile.
func removeKubeProxy() (removed []string, err error) {
	k, err := nftables.Open(nftables.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = k.Close() }() // nothing is read from it any more
	tables, err := k.RemoveKubeProxy()
	others, failed := kubeproxy.Remove()
	return append(tables, others...), errors.Join(err, failed)
}
