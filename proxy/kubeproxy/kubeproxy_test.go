package kubeproxy

import "testing"

func TestChainsAreTold(t *testing.T) {
	for name, want := range map[string]bool{
		"KUBE-SERVICES": true, "KUBE-SVC-ERIFXISQEP7F7OF4": true, "KUBE-SEP-X": true, "KUBE-POSTROUTING": true, "KUBE-PROXY-CANARY": true,
		"KUBE-IPVS-FILTER": true,
		"KUBE-FIREWALL":    false, "KUBE-KUBELET-CANARY": false, "KUBE-IPTABLES-HINT": false, "FORWARD": false, "KUBE-ROUTER-X": false, "": false,
	} {
		if got := IsChain(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
