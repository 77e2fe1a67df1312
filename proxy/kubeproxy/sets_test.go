package kubeproxy

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

func TestSetsAreTold(t *testing.T) {
	for name, want := range map[string]bool{
		"KUBE-LOOP-BACK": true, "KUBE-6-LOOP-BACK": true, "KUBE-NODE-PORT-TCP": true, "KUBE-NODE-PORT-LOCAL-SCTP-HASH": true,
		"KUBE-6-LOAD-BALANCER-SOURCE-CID": true, "KUBE-HEALTH-CHECK-NODE-PORT": true, "KUBE-IPVS-IPS": true,
		"KUBE-ROUTER-ALL": false, "KUBE-6": false, "KUBE-": false, "LOOP-BACK": false, "cali40all": false, "": false,
	} {
		if got := isSet(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestNodePortsHaveTheirProtocol(t *testing.T) {
	number := nfnetlink.AppendAttribute(nil, entryPort|unix.NLA_F_NET_BYTEORDER, []byte{30080 >> 8, 30080 & 0xff})
	sctp := nfnetlink.AppendAttribute(number, entryProtocol, []byte{unix.IPPROTO_SCTP})
	for _, c := range []struct {
		set   string
		entry []byte
		want  port
	}{
		{"KUBE-NODE-PORT-TCP", number, port{unix.IPPROTO_TCP, 30080}},
		{"KUBE-6-NODE-PORT-LOCAL-UDP", number, port{unix.IPPROTO_UDP, 30080}},
		{"KUBE-NODE-PORT-SCTP-HASH", sctp, port{unix.IPPROTO_SCTP, 30080}},
		{"KUBE-NODE-PORT-TCP", nil, port{unix.IPPROTO_TCP, 0}},
	} {
		if got := portIn(c.set, c.entry); got != c.want {
			t.Errorf("%s: got %v, want %v", c.set, got, c.want)
		}
	}
}

// told is a virtual server as IPVS tells of it.
func told(family uint16, attributes ...func([]byte) []byte) []byte {
	inner := nfnetlink.AppendAttribute(nil, serverFamily, binary.NativeEndian.AppendUint16(nil, family))
	for _, a := range attributes {
		inner = a(inner)
	}
	return append([]byte{getServer, ipvsVersion, 0, 0}, nfnetlink.AppendAttribute(nil, attributeServer, inner)...)
}

func attribute(kind uint16, value ...byte) func([]byte) []byte {
	return func(b []byte) []byte { return nfnetlink.AppendAttribute(b, kind, value) }
}

func TestVirtualServersAreRead(t *testing.T) {
	udp := attribute(serverProtocol, binary.NativeEndian.AppendUint16(nil, unix.IPPROTO_UDP)...)
	four := [16]byte{10, 96, 0, 10}
	six := netip.MustParseAddr("fd00:10:96::a").As16()
	for _, c := range []struct {
		told []byte
		want string // "" for none
	}{
		{told(unix.AF_INET, udp, attribute(serverAddress, four[:]...), attribute(serverPort, 0, 53), attribute(9, 1)), "10.96.0.10:53"},
		{told(unix.AF_INET6, udp, attribute(serverAddress, six[:]...), attribute(serverPort, 0, 53)), "[fd00:10:96::a]:53"},
		{told(unix.AF_INET, attribute(5, 7, 0, 0, 0)), ""}, // of a firewall mark
		{nil, ""},
	} {
		got, ok := parseServer(c.told)
		if ok != (c.want != "") || ok && (got.at.String() != c.want || got.protocol != unix.IPPROTO_UDP) {
			t.Errorf("got %v, %v, want %s", got, ok, c.want)
			continue
		}
		if again, _ := parseServer(append(make([]byte, 4), got.name...)); ok && again.at != got.at {
			t.Errorf("its name is that of %s", again.at)
		}
	}
}
