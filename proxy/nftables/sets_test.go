package nftables

import (
	"encoding/hex"
	"testing"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

func TestClassesCoverAllNumbersOfEndpoints(t *testing.T) {
	for _, c := range []struct {
		endpoints int
		class     class
	}{{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {8, 3}, {9, 4}, {1000, 10}, {1024, 10}, {1025, 11}, {65536, 16}, {70000, 16}} {
		got := classOf(c.endpoints)
		if got != c.class {
			t.Errorf("%d endpoints are of class %d, want %d", c.endpoints, got, c.class)
		}
		if n := min(c.endpoints, mostEndpoints); n < got.least() || n > got.slots() {
			t.Errorf("class %d has %d to %d endpoints, which leaves out %d", got, got.least(), got.slots(), n)
		}
	}
}

// The bytes are those that nft 1.0.6 sends for
//
//	map endpoints { typeof ip daddr . meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport }
//
// and its like of IPv6, but for two that say nothing about byte order at the beginning and one about intervals at the end.
func TestTypeOfEndpointsIsWhatNftWrites(t *testing.T) {
	f := families()
	for i, want := range [2]string{
		"036000040d000000015800140004070000000" + "10c00040c00000001040c000000010e0004090000000106000410000000021400040700000001" +
			"0c00040b00000001040200000" + "0031a0004170000000112000401000000010400000100020400000000" +
			"043400040d000000012c00140004070000000" + "10c00040c00000001040c000000011400040700000001" + "0c00040b000000010402000000",
		"036000040d000000015800140004070000000" + "10c00040d000000010409000000010e0004090000000106000410000000021400040700000001" +
			"0c00040b00000001040200000" + "0031a0004170000000112000401000000010400000100020400000000" +
			"043400040d000000012c00140004070000000" + "10c00040d000000010409000000011400040700000001" + "0c00040b000000010402000000",
	} {
		if got := hex.EncodeToString(f[i].typeOf()); got != want {
			t.Errorf("family %d:\ngot  %s\nwant %s", i, got, want)
		}
	}
}

func TestTypesOfKeysAreNfts(t *testing.T) {
	f := families()
	for _, c := range []struct {
		id                         setID
		keyType, keyLen, dataType  uint32
		keyType6, keyLen6, dataTyp uint32
	}{
		{frontends, 0x730d, 12, 0, 0x830d, 24, 0},
		{upTo + 3, 0x730d, 12, 0, 0x830d, 24, 0},
		{endpoints, 0x1cc344, 16, 0x1cd, 0x20c344, 28, 0x20d},
		{guards, 0x730d, 12, 0xffffff00, 0x830d, 24, 0xffffff00},
		{affinity, 0x1d3, 8, 0, 0x213, 20, 0},
		{hairpins, 0x1c730d, 16, 0, 0x20830d, 40, 0},
		{clusterIPs, 7, 4, 0, 8, 16, 0},
	} {
		four, six := f[0].declare(c.id), f[1].declare(c.id)
		if four.keyType != c.keyType || four.keyLen != c.keyLen || four.dataType != c.dataType {
			t.Errorf("%s: key type %#x of %d bytes, data type %#x; want %#x, %d, %#x",
				four.name, four.keyType, four.keyLen, four.dataType, c.keyType, c.keyLen, c.dataType)
		}
		if six.keyType != c.keyType6 || six.keyLen != c.keyLen6 || six.dataType != c.dataTyp {
			t.Errorf("%s of IPv6: key type %#x of %d bytes, data type %#x; want %#x, %d, %#x",
				six.name, six.keyType, six.keyLen, six.dataType, c.keyType6, c.keyLen6, c.dataTyp)
		}
	}
}

func TestSetsAreReadAsTheyAreWritten(t *testing.T) {
	for _, f := range families() {
		for id := range sets {
			want := f.declare(id)
			tx := newTransaction("t", &[2]family{f, f})
			tx.addSet(&f, id)
			var got set
			for m := range nfnetlink.Messages(tx.messages.Bytes()) {
				if m.Type == kindOf(unix.NFT_MSG_NEWSET) {
					got = parseSet(m.Body)
				}
			}
			if !want.same(&got) {
				t.Errorf("%s: wrote %+v, read %+v", want.name, want, got)
			}
			if comment, ok := userdata.GetString(want.userdata, userdata.NFTNL_UDATA_SET_COMMENT); !ok || comment == "" {
				t.Errorf("%s has no comment", want.name)
			}
		}
	}
}

func TestSetsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for id := range sets {
		name := setName(id)
		if seen[name] || name == "" {
			t.Errorf("set %d is named %q", id, name)
		}
		seen[name] = true
	}
	if sets > 64 {
		t.Errorf("%d sets do not fit into the bits of a state", sets)
	}
}
