package peers

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Packages names the Debian package of each program that is not built here.
var Packages = map[string]string{
	"/usr/lib/cni/bridge": "containernetworking-plugins",
	"containerd":          "containerd",
	"dig":                 "bind9-dnsutils",
	"dnsperf":             "dnsperf",
	"etcd":                "etcd-server",
	"gcc":                 "gcc libc6-dev",
	"knotd":               "knot",
	"iptables-nft":        "iptables",
	"kubectl":             "kubernetes-client",
	"musl-gcc":            "musl-tools",
	"nft":                 "nftables",
	"nsenter":             "util-linux",
	"prometheus":          "prometheus",
	"runc":                "runc",
	"taskset":             "util-linux",
	"unbound":             "unbound",
}

// install fetches Debian packages; only root can.
func install(packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	list := strings.Join(slices.Compact(packages), " ")
	if os.Geteuid() != 0 {
		return fmt.Errorf("programs are missing; as root: apt-get update && apt-get install -y %s", list)
	}
	fmt.Fprintf(os.Stderr, "peers: apt-get update && apt-get install -y --no-install-recommends %s\n", list)
	cmd := exec.Command("sh", "-c", "apt-get update -q && apt-get install -qy --no-install-recommends "+list)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1") // installs, starts no service
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install %s: %w\n%s", list, err, out)
	}
	return nil
}
