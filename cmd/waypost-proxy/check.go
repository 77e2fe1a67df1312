package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/waypost/waypost/proxy/config"
)

// checkHelp is what `waypost-proxy check --help` says before the flags.
const checkHelp = `waypost-proxy check [FLAG]...

says whether the configuration, kube-proxy's file or flags, could be used here, and in words what it asks for. It needs no
privileges and changes nothing. It ends with 2 and a line for each field that is wrong or not supported.
`

// runCheck is `waypost-proxy check`.
func runCheck(args []string, out, messages io.Writer) int {
	c, err := config.ParseCommand(args, io.Discard)
	switch {
	case errors.Is(err, config.ErrHelp):
		fmt.Fprint(out, checkHelp, "\nThe flags are those of waypost-proxy --help.\n")
		return exitOK
	case err != nil:
		fmt.Fprintln(messages, err)
		return exitUsage
	}
	for _, note := range c.Settings.Notes {
		fmt.Fprintln(out, "note:", note)
	}
	for _, line := range inWords(c.Settings) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out, "the configuration can be used")
	return exitOK
}

// inWords says what settings ask for, where a mistake would show as connections that fail.
func inWords(s *config.Settings) []string {
	return []string{
		"Pods are recognised by " + podsInWords(s),
		"NodePorts are open on " + nodePortsInWords(s),
		"listens on " + listenersInWords(s),
	}
}

func podsInWords(s *config.Settings) string {
	switch {
	case s.PodsOfNode:
		return "the Pod ranges of the Node"
	case s.Pods.Interface != "":
		return "the bridge " + s.Pods.Interface
	case s.Pods.InterfacePrefix != "":
		return "interfaces whose names begin with " + s.Pods.InterfacePrefix
	case len(s.Pods.Prefixes) > 0:
		return "the addresses " + joined(s.Pods.Prefixes)
	}
	return "nothing, as there is no clusterCIDR: connections from outside to ClusterIPs are not masqueraded"
}

func nodePortsInWords(s *config.Settings) string {
	switch {
	case s.NodePortsPrimary:
		return "the Node's own addresses"
	case len(s.NodePorts) > 0:
		return "the node's addresses in " + joined(s.NodePorts)
	}
	return "all of the node's addresses"
}

func listenersInWords(s *config.Settings) string {
	var all []string
	for _, l := range []struct{ name, address string }{{"health", s.Healthz}, {"metrics", s.Metrics}} {
		if l.address != "" {
			all = append(all, l.address+" for "+l.name)
		}
	}
	if len(all) == 0 {
		return "no port"
	}
	return strings.Join(all, " and ")
}

func joined(prefixes []netip.Prefix) string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return strings.Join(all, ", ")
}
