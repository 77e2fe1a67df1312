package nftables

import (
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

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
