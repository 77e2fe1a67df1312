//go:build vm

package route

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/proxy/kubeproxy"
	"github.com/waypost/waypost/proxy/nftables"
)

// ipvsLeftovers are the virtual servers and sets that kube-proxy 1.36 makes in its IPVS mode, and others': keepalived's virtual
// server, one of a firewall mark, and the administrator's set.
const ipvsLeftovers = `
ipvsadm --restore <<'END'
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.1.10:8080 -m -w 1
-A -u 10.96.0.10:53 -s rr -p 10800
-A -t [fd00:10:96::a]:80 -s rr
-A -t 192.168.10.1:30080 -s rr
-A --sctp-service 192.168.10.1:30090 -s rr
-A -u 192.168.10.1:30080 -s rr
-A -t 192.0.2.1:443 -s rr
-a -t 192.0.2.1:443 -r 192.0.2.7:443 -g -w 1
-A -f 7 -s rr
END
ipset restore <<'END'
create KUBE-LOOP-BACK hash:ip,port,ip
add KUBE-LOOP-BACK 10.244.1.10,tcp:8080,10.244.1.10
create KUBE-CLUSTER-IP hash:ip,port
add KUBE-CLUSTER-IP 10.96.0.10,tcp:80
create KUBE-6-CLUSTER-IP hash:ip,port family inet6
add KUBE-6-CLUSTER-IP fd00:10:96::a,tcp:80
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create KUBE-NODE-PORT-SCTP-HASH hash:ip,port
add KUBE-NODE-PORT-SCTP-HASH 192.168.10.1,sctp:30090
create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
add KUBE-HEALTH-CHECK-NODE-PORT 443
create KUBE-6-LOAD-BALANCER-SOURCE-CID hash:ip,port,net family inet6
create KUBE-IPVS-IPS hash:ip
create KUBE-ADMIN hash:ip
END
`

// ipvsRules are some of those that refer to the sets.
const ipvsRules = `
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A PREROUTING -m set --match-set KUBE-ADMIN src -j RETURN
COMMIT
*filter
:KUBE-IPVS-FILTER - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable
COMMIT
`

func TestKubeProxysLeftoversInIPVSGoAndOthersStay(t *testing.T) {
	for _, flavour := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(flavour, func(t *testing.T) {
			s, err := NewSpace("ipvs")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			if err := s.Do(addIPVSDevice); err != nil {
				t.Fatal(err)
			}
			s.shell(t, ipvsLeftovers)
			s.restore(t, flavour, ipvsRules)
			want := "virtual servers of IPVS (5), sets of ipset (8), link kube-ipvs0"
			for range 2 { // the second time, nothing is there
				removed, err := s.removeAll()
				if err != nil {
					t.Fatal(err)
				}
				s.expectNoIPVS(t, flavour)
				removed = slices.DeleteFunc(removed, func(what string) bool { return strings.HasPrefix(what, "chains of ") })
				if got := strings.Join(removed, ", "); got != want {
					t.Errorf("removed are %q, want %q", got, want)
				}
				want = ""
			}
		})
	}
}

// addIPVSDevice makes the link of kube-proxy's IPVS mode.
func addIPVSDevice() error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "kube-ipvs0"
	if err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attributes}); err != nil {
		return err
	}
	return assign("kube-ipvs0", []string{"10.96.0.10/32", "fd00:10:96::a/128"})
}

// removeAll does what waypost-proxy --cleanup does.
func (s *Space) removeAll() (removed []string, err error) {
	err = s.Do(func() error {
		k, err := nftables.Open(nftables.Options{})
		if err != nil {
			return err
		}
		defer k.Close()
		_, own := k.RemoveOwn()
		_, tables := k.RemoveKubeProxy()
		removed, err = kubeproxy.Remove()
		return errors.Join(own, tables, err)
	})
	return removed, err
}

func (s *Space) expectNoIPVS(t *testing.T, flavour string) {
	t.Helper()
	const others = "-A -t 192.0.2.1:443 -s rr\n-a -t 192.0.2.1:443 -r 192.0.2.7:443 -g -w 1\n" +
		"-A -u 192.168.10.1:30080 -s rr\n-A -f 7 -s rr\n" // of that port, TCP is a node port
	if got := s.shell(t, "ipvsadm --save --numeric | sort"); got != s.shell(t, "sort <<'END'\n"+others+"END\n") {
		t.Errorf("virtual servers are\n%s\nwant\n%s", got, others)
	}
	if got, want := s.shell(t, "ipset list -n"), "KUBE-ADMIN\n"; got != want {
		t.Errorf("sets are\n%s\nwant\n%s", got, want)
	}
	if got := s.shell(t, flavour+"-save"); strings.Count(got, "KUBE-") != 1 || !strings.Contains(got, "--match-set KUBE-ADMIN src -j RETURN") {
		t.Errorf("rules are\n%s\nwant only that of KUBE-ADMIN", got)
	}
	err := s.Do(func() error {
		links, err := net.Interfaces()
		if len(links) != 1 {
			t.Errorf("links are %v, want the loopback", links)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
