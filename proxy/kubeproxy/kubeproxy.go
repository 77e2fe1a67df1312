// Package kubeproxy knows what kube-proxy leaves in a node's kernel, and takes away what is not in nftables: chains in
// iptables-legacy, and what its IPVS mode has. It starts no program.
package kubeproxy

import (
	"errors"
	"slices"
	"strings"

	"github.com/waypost/waypost/proxy/xtables"
)

// Remove takes away what kube-proxy has left behind in the network namespace of the thread that calls it, but for what is in
// nftables, which is to go before: rules keep its sets from going. It returns what was there. What is not there is no error,
// and is not looked for with what the kernel would have to load first.
func Remove() (removed []string, err error) {
	tables, err := xtables.Prune(IsChain)
	for _, table := range tables {
		removed = append(removed, "chains of "+table)
	}
	ipvs, failed := removeIPVS()
	return append(removed, ipvs...), errors.Join(err, failed)
}

// IsChain reports whether kube-proxy makes chains of that name, in its iptables or its IPVS mode. Those of kubelet
// (KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT) are not among them.
func IsChain(name string) bool {
	switch name {
	case "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-FORWARD",
		"KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER",
		"KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER":
		return true
	}
	return slices.ContainsFunc([]string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
