package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/waypost/waypost/proxy/kubeproxy"
)

// others is what kubelet, the network and the administrator have in iptables-legacy, with counters.
const others = `
*nat
:PREROUTING ACCEPT [12:720]
:INPUT ACCEPT [3:180]
:OUTPUT ACCEPT [5:300]
:POSTROUTING ACCEPT [7:420]
:CNI-HOSTPORT-DNAT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
[1:60] -A PREROUTING -m comment --comment "only counts, and \"leads\" nowhere"
[2:120] -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
[3:180] -A OUTPUT -g CNI-HOSTPORT-DNAT
[4:240] -A POSTROUTING -s 172.16.0.0/12 ! -o docker0 -j MASQUERADE
[5:300] -A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [9:540]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:admin - [0:0]
[6:360] -A INPUT -j KUBE-FIREWALL
[7:420] -A FORWARD -i eth1 -m limit --limit 5/min --limit-burst 7 -j admin
[8:480] -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -j DROP
[9:540] -A admin -p icmp -j RETURN
[10:600] -A admin -m mark --mark 0x1/0xff -j REJECT --reject-with icmp-port-unreachable
COMMIT
`

// kubeProxys is what kube-proxy 1.36 makes of a Service with a NodePort, session affinity and two endpoints in its iptables
// mode, and canaries. iptables forgets the counters of policies that it is not told.
const kubeProxys = `
*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [12:720]
:INPUT ACCEPT [3:180]
:OUTPUT ACCEPT [5:300]
:POSTROUTING ACCEPT [7:420]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-XPGD46QRK7WJZT7O - [0:0]
:KUBE-EXT-XPGD46QRK7WJZT7O - [0:0]
:KUBE-SEP-SXIVWICOYRO3J4NJ - [0:0]
:KUBE-SEP-ZX7GRIZKSNUQ3LAJ - [0:0]
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j KUBE-SERVICES
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A CNI-HOSTPORT-DNAT -g KUBE-MARK-MASQ
-A KUBE-SERVICES -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp -p tcp -d 172.30.0.41 --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -m comment --comment ns1/svc1:p80 -m tcp -p tcp --dport 30080 -j KUBE-EXT-XPGD46QRK7WJZT7O
-A KUBE-EXT-XPGD46QRK7WJZT7O -j KUBE-MARK-MASQ
-A KUBE-EXT-XPGD46QRK7WJZT7O -j KUBE-SVC-XPGD46QRK7WJZT7O
-A KUBE-SVC-XPGD46QRK7WJZT7O -m recent --name KUBE-SEP-SXIVWICOYRO3J4NJ --rcheck --seconds 10800 --reap -j KUBE-SEP-SXIVWICOYRO3J4NJ
-A KUBE-SVC-XPGD46QRK7WJZT7O -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-SXIVWICOYRO3J4NJ
-A KUBE-SVC-XPGD46QRK7WJZT7O -j KUBE-SEP-ZX7GRIZKSNUQ3LAJ
-A KUBE-SEP-SXIVWICOYRO3J4NJ -s 10.180.0.1 -j KUBE-MARK-MASQ
-A KUBE-SEP-SXIVWICOYRO3J4NJ -m recent --name KUBE-SEP-SXIVWICOYRO3J4NJ --set -m tcp -p tcp -j DNAT --to-destination 10.180.0.1:80
-A KUBE-SEP-ZX7GRIZKSNUQ3LAJ -m tcp -p tcp -j DNAT --to-destination 10.180.0.2:80
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
COMMIT
*filter
:FORWARD DROP [9:540]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -p tcp -d 172.30.0.42 --dport 80 -j REJECT
COMMIT
`

// inFamily is rules as that family's iptables takes them, which are written as IPv4's.
func inFamily(program, rules string) string {
	if program == "iptables" {
		return rules
	}
	return strings.NewReplacer("172.16.0.0/12", "fd00:16::/64", "127.0.0.0/8", "::1/128", "10.1.0.9:80", "[fd00:1::9]:80",
		"172.30.0.4", "fd00:30::4", "10.180.0.1:", "[fd00:180::1]:", "10.180.0.2:", "[fd00:180::2]:", "10.180.0.1", "fd00:180::1",
		"icmp-port", "icmp6-port", "-p icmp", "-p ipv6-icmp").Replace(rules)
}

// restore has a flavour of iptables take rules in addition to those that are there.
func (s *Space) restore(t *testing.T, program, rules string) {
	t.Helper()
	s.shell(t, program+"-restore --counters --noflush <<'END'\n"+rules+"END\n")
}

// saved is all that a flavour of iptables has, with counters.
func (s *Space) saved(t *testing.T, program string) string {
	t.Helper()
	lines := slices.Collect(strings.Lines(s.shell(t, program+"-save --counters")))
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "#") }), "")
}

func TestKubeProxysLeftoversInIPTablesLegacyGoAndOthersRulesStay(t *testing.T) {
	s, err := NewSpace("legacy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	remove := func(want string) {
		t.Helper()
		err := s.Do(func() error {
			removed, err := kubeproxy.Remove()
			slices.Sort(removed)
			if got := strings.Join(removed, ", "); got != want {
				t.Errorf("removed are %q, want %q", got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	remove("") // nothing is there
	if made := s.shell(t, "cat /proc/thread-self/net/ip_tables_names /proc/thread-self/net/ip6_tables_names"); made != "" {
		t.Errorf("tables were made where none was: %s", made)
	}
	want := map[string]string{}
	for _, program := range []string{"iptables", "ip6tables"} {
		s.restore(t, program+"-legacy", inFamily(program, others)+"*mangle\nCOMMIT\n")
		want[program] = s.saved(t, program+"-legacy")
		s.restore(t, program+"-legacy", inFamily(program, kubeProxys))
	}
	const all = "chains of table filter of ip6tables-legacy, chains of table filter of iptables-legacy, " +
		"chains of table mangle of ip6tables-legacy, chains of table mangle of iptables-legacy, " +
		"chains of table nat of ip6tables-legacy, chains of table nat of iptables-legacy"
	for _, removed := range []string{all, ""} { // the second time, nothing of it is there
		remove(removed)
		for program, want := range want {
			if got := s.saved(t, program+"-legacy"); got != want {
				t.Errorf("%s has\n%s\nand had before kube-proxy\n%s", program, got, want)
			}
		}
	}
}
