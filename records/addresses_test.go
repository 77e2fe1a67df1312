package records

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// TestAddressesAreAMap plays random changes to the tree and to a map, and compares addresses and prefixes.
func TestAddressesAreAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	here := makeIdent("here", "").ref(serviceRef, "")
	pick := func() netip.Addr {
		b := [16]byte{0x20, 1, 0xd, 0xb8, 15: byte(random.IntN(4))}
		b[4+random.IntN(11)] = byte(random.IntN(3)) << 4
		if random.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(random.IntN(3)), byte(random.IntN(3)) << 3, byte(random.IntN(30))})
		}
		return netip.AddrFrom16(b)
	}
	var live addresses
	model := map[netip.Addr]bool{}
	for generation := range uint64(300) {
		for range random.IntN(12) {
			addr := pick()
			model[addr] = random.IntN(3) > 0
			live.update(generation, addr, func(refs []*ref) []*ref {
				if model[addr] {
					return []*ref{here}
				}
				return nil
			})
		}
		if err := live.check(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			addr := pick()
			if got := live.get(addr) != nil; got != model[addr] {
				t.Fatalf("%s: there is %v, want %v", addr, got, model[addr])
			}
			n := random.IntN(addr.BitLen()/4 + 1)
			want := slices.ContainsFunc(known(model), func(a netip.Addr) bool {
				p, err := addr.Prefix(4 * n)
				return err == nil && a.BitLen() == addr.BitLen() && p.Contains(a)
			})
			if key := keyOf(addr); live.below(&key, n) != want {
				t.Fatalf("below the first %d nibbles of %s: %v, want %v", n, addr, !want, want)
			}
		}
	}
}

func known(model map[netip.Addr]bool) []netip.Addr {
	var addrs []netip.Addr
	for addr, there := range model {
		if there {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
