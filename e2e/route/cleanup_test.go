package route

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/proxy/plan"
)

// leftovers are what kube-proxy leaves in a node's kernel, in its nftables and its iptables mode, beside what kubelet, the
// network and the administrator have there.
const leftovers = `
	nft add table ip kube-proxy
	nft add chain ip kube-proxy service-ULMVA6XW-ns1/svc1/tcp/p80
	nft add chain ip kube-proxy nat-prerouting '{ type nat hook prerouting priority -100; }'
	nft add table ip6 kube-proxy
	iptables-nft -t nat -N KUBE-SERVICES
	iptables-nft -t nat -N KUBE-SVC-XPGD46QRK7WJZT7O
	iptables-nft -t nat -N KUBE-SEP-SXIVWICOYRO3J4NJ
	iptables-nft -t nat -N KUBE-POSTROUTING
	iptables-nft -t nat -N KUBE-KUBELET-CANARY
	iptables-nft -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
	iptables-nft -t nat -A OUTPUT -j KUBE-SERVICES
	iptables-nft -t nat -A POSTROUTING -j KUBE-POSTROUTING
	iptables-nft -t nat -A POSTROUTING -s 172.16.0.0/12 -j MASQUERADE
	iptables-nft -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
	iptables-nft -t nat -A KUBE-SVC-XPGD46QRK7WJZT7O -j KUBE-SEP-SXIVWICOYRO3J4NJ
	iptables-nft -t nat -A KUBE-SEP-SXIVWICOYRO3J4NJ -p tcp -j DNAT --to-destination 10.1.0.1:80
	iptables-nft -t filter -N KUBE-FORWARD
	iptables-nft -t filter -N KUBE-FIREWALL
	iptables-nft -t filter -A FORWARD -j KUBE-FORWARD
	iptables-nft -t filter -A INPUT -j KUBE-FIREWALL
	iptables-nft -t mangle -N KUBE-PROXY-CANARY
	ip6tables-nft -t nat -N KUBE-SERVICES
	ip6tables-nft -t nat -A PREROUTING -j KUBE-SERVICES
	nft add table inet admin
`

// removedFromNFTables is what is told of leftovers.
const removedFromNFTables = "table ip kube-proxy, chains of table ip nat (4), chains of table ip filter (1), chains of table ip mangle (1), " +
	"table ip6 kube-proxy, chains of table ip6 nat (1)"

func (s *Space) shell(t *testing.T, commands string) string {
	t.Helper()
	var out []byte
	err := s.Do(func() (err error) {
		out, err = exec.Command("sh", "-e", "-c", commands).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// rules are what iptables has, and nft's tables.
const rules = `
	for t in nat filter mangle; do iptables-nft -t $t -S; done
	ip6tables-nft -t nat -S
	nft list tables
`

func TestKubeProxysLeftoversGoAndOthersRulesStay(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	l.Node1.shell(t, leftovers)
	removed, err := r.Kernel.RemoveKubeProxy()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(removed, ", "); got != removedFromNFTables {
		t.Errorf("removed are\n%s\nwant\n%s", got, removedFromNFTables)
	}
	if again, err := r.Kernel.RemoveKubeProxy(); err != nil || len(again) > 0 {
		t.Errorf("the second time, removed are %q: %v", again, err)
	}
	expectRules(t, l.Node1.shell(t, rules), "table ip waypost", "table ip6 waypost")
	l.check(t, "a tcp web:80 -> b sees a | c sees a")
	if err := r.Set(endpointsOf("web", "b")...); err != nil {
		t.Errorf("a change after it: %v", err)
	}
}

func TestCleanupLeavesNothingBehind(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(busy()...); err != nil {
		t.Fatal(err)
	}
	l.Node1.shell(t, leftovers)
	removed, err := r.Kernel.RemoveOwn()
	if want := []string{"table ip waypost", "table ip6 waypost"}; err != nil || !slices.Equal(removed, want) {
		t.Errorf("removed are %q, want %q: %v", removed, want, err)
	}
	if got := l.Node1.shell(t, rules); strings.Contains(got, "waypost") || !strings.Contains(got, "table ip kube-proxy\n") {
		t.Errorf("of the two, kube-proxy's rules are to be there:\n%s", got)
	}
	for range 2 { // the second time, nothing is there
		_, own := r.Kernel.RemoveOwn()
		_, others := r.Kernel.RemoveKubeProxy()
		if err := errors.Join(own, others); err != nil {
			t.Fatal(err)
		}
		expectRules(t, l.Node1.shell(t, rules))
	}
}

// expectRules expects what is nobody's leftover, and the tables named, to be there, and no more.
func expectRules(t *testing.T, got string, tables ...string) {
	t.Helper()
	for _, want := range append([]string{
		"-A POSTROUTING -s 172.16.0.0/12 -j MASQUERADE", "-N KUBE-KUBELET-CANARY", "-N KUBE-FIREWALL", "-A INPUT -j KUBE-FIREWALL", "table inet admin",
	}, tables...) {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%q is gone", want)
		}
	}
	for _, gone := range []string{"KUBE-S", "KUBE-POSTROUTING", "KUBE-FORWARD", "KUBE-PROXY", "table ip kube-proxy", "table ip6 kube-proxy"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is left behind", gone)
		}
	}
	if len(tables) == 0 && strings.Contains(got, "waypost") {
		t.Error("the program's own tables are left behind")
	}
	if t.Failed() {
		t.Log(got)
	}
}
