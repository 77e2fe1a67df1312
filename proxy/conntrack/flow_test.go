package conntrack

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

func tupleOf(v6 bool, source, destination string, protocol byte, from, to string) []byte {
	sourceKind, destinationKind := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if v6 {
		sourceKind, destinationKind = ctaIPv6Src, ctaIPv6Dst
	}
	raw := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		return b
	}
	ip := nfnetlink.AppendAttribute(nfnetlink.AppendAttribute(nil, sourceKind, raw(source)), destinationKind, raw(destination))
	proto := nfnetlink.AppendAttribute(nil, ctaProtoNum, []byte{protocol})
	proto = nfnetlink.AppendAttribute(nfnetlink.AppendAttribute(proto, ctaSrcPort, raw(from)), ctaDstPort, raw(to))
	b := nfnetlink.AppendAttribute(nil, ctaTupleIP|unix.NLA_F_NESTED, ip)
	return nfnetlink.AppendAttribute(b, ctaTupleProto|unix.NLA_F_NESTED, proto)
}

// body is what the kernel tells of a translated flow with a zone.
func body() []byte {
	b := nfnetlink.AppendAttribute(nil, ctaTupleOrig|unix.NLA_F_NESTED, tupleOf(false, "0af4010a", "0a60000a", 17, "9c40", "0035"))
	b = nfnetlink.AppendAttribute(b, ctaTupleReply|unix.NLA_F_NESTED, tupleOf(false, "0af40114", "0af4010a", 17, "14e9", "9c40"))
	b = nfnetlink.AppendAttribute(b, ctaStatus, []byte{0, 0, 0, 0x2a})
	b = nfnetlink.AppendAttribute(b, 7, []byte{0, 0, 0, 29})
	b = nfnetlink.AppendAttribute(b, ctaID, []byte{1, 2, 3, 4})
	return nfnetlink.AppendAttribute(b, ctaZone, []byte{0, 5})
}

func TestFlowsAreRead(t *testing.T) {
	f, ok := parseFlow(body())
	want := parse(t, "udp 10.96.0.10:53 10.244.1.20:5353 translated replied")
	if !ok || f.protocol != want.protocol || f.target != want.target || f.endpoint != want.endpoint || f.status != want.status|8 {
		t.Errorf("got %+v, %v", f, ok)
	}
	six := nfnetlink.AppendAttribute(nil, ctaTupleOrig, tupleOf(true, strings.Repeat("fd", 16), strings.Repeat("fe", 16), 6, "9c40", "0050"))
	six = nfnetlink.AppendAttribute(six, ctaTupleReply, tupleOf(true, strings.Repeat("aa", 16), strings.Repeat("fd", 16), 6, "1f90", "9c40"))
	f, ok = parseFlow(six)
	if !ok || f.endpoint.String() != "[aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa]:8080" || f.target.Port() != 80 {
		t.Errorf("got %+v, %v", f, ok)
	}
}

func TestFlowsAreNamedByTupleNumberAndZone(t *testing.T) {
	var kinds []uint16
	for kind, value := range nfnetlink.Attributes(nameOf(body())) {
		kinds = append(kinds, kind)
		if !bytes.Equal(value, nfnetlink.Attribute(body(), kind)) {
			t.Errorf("attribute %d is %x", kind, value)
		}
	}
	if len(kinds) != 3 || kinds[0] != ctaTupleOrig || kinds[1] != ctaID || kinds[2] != ctaZone {
		t.Errorf("got attributes %v", kinds)
	}
}

func TestFlowsCutOffAreNotRead(t *testing.T) {
	whole := body()
	for n := range len(whole) {
		if f, ok := parseFlow(whole[:n]); ok && (!f.target.IsValid() || !f.endpoint.IsValid()) {
			t.Errorf("the first %d bytes are read as %+v", n, f)
		}
	}
}

// FuzzParseFlow reads arbitrary bytes, and what it reads of a name is no longer than they are.
func FuzzParseFlow(f *testing.F) {
	f.Add(body())
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, ok := parseFlow(b)
		if ok && (!flow.target.Addr().IsValid() || !flow.endpoint.Addr().IsValid() || flow.protocol == 0) {
			t.Errorf("read %+v", flow)
		}
		if name := nameOf(b); len(name) > len(b)+3 {
			t.Errorf("a name of %d bytes out of %d", len(name), len(b))
		}
	})
}
