package nftables

import (
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

func TestChainsOfKubeProxyAreTold(t *testing.T) {
	for name, want := range map[string]bool{
		"KUBE-SERVICES": true, "KUBE-SVC-ERIFXISQEP7F7OF4": true, "KUBE-SEP-X": true, "KUBE-POSTROUTING": true, "KUBE-PROXY-CANARY": true,
		"KUBE-IPVS-FILTER": true,
		"KUBE-FIREWALL":    false, "KUBE-KUBELET-CANARY": false, "KUBE-IPTABLES-HINT": false, "FORWARD": false, "KUBE-ROUTER-X": false, "": false,
	} {
		if got := ofKubeProxy(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestTargetsOfRules(t *testing.T) {
	rule := func(exprs ...expr.Any) []byte {
		var b []byte
		for _, e := range exprs {
			encoded, err := expr.Marshal(unix.NFPROTO_IPV4, e)
			if err != nil {
				t.Fatal(err)
			}
			b = nfnetlink.AppendAttribute(b, unix.NFTA_LIST_ELEM, encoded)
		}
		return b
	}
	for _, c := range []struct {
		rule []byte
		want string
	}{
		{rule(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Verdict{Kind: expr.VerdictJump, Chain: "KUBE-SERVICES"}), "KUBE-SERVICES"},
		{rule(&expr.Immediate{Register: 1, Data: []byte{1, 2, 3, 4}}, &expr.Verdict{Kind: expr.VerdictGoto, Chain: "x"}), "x"},
		{rule(&expr.Verdict{Kind: expr.VerdictAccept}), ""},
		{nil, ""},
	} {
		if got := target(c.rule); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
