package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy"
)

func nodes() map[string]proxy.Node {
	return map[string]proxy.Node{
		"bare": {},
		"of prefixes": {
			Pods:          proxy.Detector{Prefixes: prefixes("10.244.0.0/16", "fd00:244::/56")},
			NodePorts:     prefixes("0.0.0.0/0", "::/0"),
			ServiceRanges: prefixes("10.96.0.0/12", "fd00:96::/112"),
		},
		"of a bridge":        {Pods: proxy.Detector{Interface: "cni0"}, NodePorts: prefixes("192.0.2.1/32", "2001:db8::/32")},
		"of some interfaces": {Pods: proxy.Detector{InterfacePrefix: "veth"}},
	}
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// All that rules name is there, and all chains but the base ones are named.
func TestProgramsHoldTogether(t *testing.T) {
	for name, node := range nodes() {
		for _, f := range families() {
			p := program{family: &f, node: &node, mark: 1 << 14, classes: [2]class{3, 1}}
			chains, led := map[string]bool{}, map[string]bool{}
			for _, c := range p.write() {
				if chains[c.name] {
					t.Errorf("%s, %s: chain %q is written twice", name, f.word, c.name)
				}
				chains[c.name] = true
				led[c.name] = led[c.name] || c.hook != nil
				for _, r := range c.rules {
					for _, e := range r.exprs {
						if v, ok := e.(*expr.Verdict); ok && v.Chain != "" {
							led[v.Chain] = true
						}
						if l, ok := e.(*expr.Lookup); ok && !declared(&f, l.SetName, p.classes) {
							t.Errorf("%s, %s: chain %q looks into set %q, which is not made", name, f.word, c.name, l.SetName)
						}
						if _, err := expr.Marshal(f.number, e); err != nil {
							t.Errorf("%s, %s: chain %q: encode %T: %v", name, f.word, c.name, e, err)
						}
					}
				}
			}
			for c := range led {
				if !chains[c] {
					t.Errorf("%s, %s: a rule leads to chain %q, which is not written", name, f.word, c)
				}
			}
			for c := range chains {
				noNodePorts := len(node.NodePorts) == 0 && strings.HasSuffix(c, "nodeports")
				if !led[c] && !noNodePorts {
					t.Errorf("%s, %s: no rule leads to chain %q", name, f.word, c)
				}
			}
		}
	}
}

func declared(f *family, name string, n [2]class) bool {
	for id := range sets {
		if f.declare(id).name == name {
			return id < upTo+setID(n[0]) || id >= localUpTo && id < localUpTo+setID(n[1])
		}
	}
	return false
}

// Slots that spread asks for at last are always taken, and none is beyond its class.
func TestSpreadStaysWithinItsClass(t *testing.T) {
	f := families()[0]
	p := program{family: &f, node: &proxy.Node{}}
	for c := range class(classes) {
		p.spread(key{&f, false}, spreadName(localUpTo, c), c, localUpTo)
	}
	for c := range class(classes) {
		slots := p.asked(t, spreadName(localUpTo, c))
		for i, n := range slots {
			if n.Offset != localSlot || int(n.Modulus) > c.slots() {
				t.Errorf("class %d, try %d: slot %d of %d", c, i, n.Offset, n.Modulus)
			}
		}
		if first, last := slots[0], slots[len(slots)-1]; int(first.Modulus) != c.slots() || int(last.Modulus) > c.least() {
			t.Errorf("class %d: asks for one of %d slots, at last of %d", c, first.Modulus, last.Modulus)
		}
		if c > 1 && len(slots) != tries+1 {
			t.Errorf("class %d: asks %d times, want %d", c, len(slots), tries+1)
		}
	}
}

// asked are the random numbers that a packet comes by in a chain, and in those it leads to.
func (p *program) asked(t *testing.T, name string) (all []*expr.Numgen) {
	t.Helper()
	i := slices.IndexFunc(p.chains, func(c chain) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no chain %q", name)
	}
	for _, r := range p.chains[i].rules {
		for _, e := range r.exprs {
			switch e := e.(type) {
			case *expr.Numgen:
				all = append(all, e)
			case *expr.Verdict:
				all = append(all, p.asked(t, e.Chain)...)
			}
		}
	}
	return all
}

func TestMarkKeepsOtherBits(t *testing.T) {
	f := families()[0]
	p := program{family: &f, node: &proxy.Node{}, mark: 1 << 14}
	b := p.setMark(^p.mark, p.mark)[1].(*expr.Bitwise)
	mark := uint32(0x80004001)
	for _, mark := range []uint32{mark, mark &^ p.mark} {
		if got := mark&binary.NativeEndian.Uint32(b.Mask) ^ binary.NativeEndian.Uint32(b.Xor); got != mark|1<<14 {
			t.Errorf("mark %#x becomes %#x", mark, got)
		}
	}
	back := p.setMark(0xffffffff, p.mark)[1].(*expr.Bitwise)
	if got := mark&binary.NativeEndian.Uint32(back.Mask) ^ binary.NativeEndian.Uint32(back.Xor); got != 0x80000001 {
		t.Errorf("mark %#x becomes %#x when it is taken away", mark, got)
	}
}

func TestMasksOfPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "\xff\x00\x00\x00", "10.1.2.0/23": "\xff\xff\xfe\x00", "10.1.2.3/32": "\xff\xff\xff\xff",
		"fd00::/9": "\xff\x80" + string(make([]byte, 14)),
	} {
		if got := string(maskOf(netip.MustParsePrefix(text))); got != want {
			t.Errorf("%s: got %x, want %x", text, got, want)
		}
	}
}

func TestInterfaceNamesAreComparedWholeOrByTheirBeginning(t *testing.T) {
	f := families()[0]
	for _, c := range []struct {
		detector proxy.Detector
		length   int
	}{{proxy.Detector{Interface: "cni0"}, unix.IFNAMSIZ}, {proxy.Detector{InterfacePrefix: "veth"}, 4}} {
		p := program{family: &f, node: &proxy.Node{Pods: c.detector}}
		if got := len(p.fromPods(true)[1].(*expr.Cmp).Data); got != c.length {
			t.Errorf("%+v: compares %d bytes, want %d", c.detector, got, c.length)
		}
	}
}
