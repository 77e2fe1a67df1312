package hosts

import (
	"net/netip"

	"github.com/waypost/waypost/message"
)

// table is what a hosts file and the lines of the Corefile come to, ready to be answered from. It does not change.
type table struct {
	names map[message.Name]answers
	wild  map[message.Name]answers // by what stands behind the asterisk label
	ptrs  map[netip.Addr][]message.Name
}

// answers are compiled address records, see message.AppendAddress.
type answers struct{ v4, v6 []byte }

// empty reports whether the name does not exist.
func (a answers) empty() bool { return len(a.v4)+len(a.v6) == 0 }

// newTable brings sources together. Of each source a name has the addresses that stand beside it or, for a family in
// which there are none, beside its wildcard; those of the first source come first.
func newTable(ttl uint32, sources ...*entries) *table {
	t := &table{names: map[message.Name]answers{}, wild: map[message.Name]answers{}, ptrs: map[netip.Addr][]message.Name{}}
	for _, s := range sources {
		for name := range s.names {
			t.names[name] = answers{}
		}
		for parent, addrs := range s.wild {
			t.wild[parent] = t.wild[parent].and(addrs, ttl)
		}
		for addr, names := range s.ptrs {
			t.ptrs[addr] = append(t.ptrs[addr], names...)
		}
	}
	for name := range t.names {
		for _, s := range sources {
			t.names[name] = t.names[name].and(s.find(name), ttl)
		}
	}
	return t
}

// and adds the records of further addresses.
func (a answers) and(addrs addresses, ttl uint32) answers {
	for _, addr := range addrs.v4 {
		a.v4 = message.AppendAddress(a.v4, addr.AsSlice(), ttl)
	}
	for _, addr := range addrs.v6 {
		a.v6 = message.AppendAddress(a.v6, addr.AsSlice(), ttl)
	}
	return a
}

// find is what a query's name has. A wildcard stands for one label.
func (t *table) find(q *message.Query) answers {
	if a, ok := t.names[message.Name(q.Lower())]; ok || q.Labels() < 2 {
		return a
	}
	return t.wild[message.Name(q.Suffix(1))]
}

var arpa4, arpa6 = message.Name("\x07in-addr\x04arpa\x00"), message.Name("\x03ip6\x04arpa\x00")

// reversed is the address that a reverse name stands for, the zero Addr for any other name. As in CoreDNS the up to three
// labels before the 32 of an IPv6 address do not count.
func reversed(q *message.Query) netip.Addr {
	n := q.Labels() - 2
	switch {
	case n == 4 && q.Under(arpa4):
		var ip [4]byte
		for i := range ip {
			octet, ok := parseOctet(q.Label(3 - i))
			if !ok {
				return netip.Addr{}
			}
			ip[i] = octet
		}
		return netip.AddrFrom4(ip)
	case n >= 32 && n < 36 && q.Under(arpa6):
		var ip [16]byte
		for i := range 2 * len(ip) {
			label := q.Label(n - 1 - i)
			if len(label) != 1 || nibble(label[0]) < 0 {
				return netip.Addr{}
			}
			ip[i/2] = ip[i/2]<<4 | byte(nibble(label[0]))
		}
		return netip.AddrFrom16(ip).Unmap()
	}
	return netip.Addr{}
}

// parseOctet reads 0 to 255, without leading zeros.
func parseOctet(label []byte) (byte, bool) {
	n := 0
	for _, c := range label {
		if c < '0' || c > '9' || len(label) > 3 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return byte(n), len(label) > 0 && n < 256 && (label[0] != '0' || len(label) == 1)
}

// nibble is the value of a hexadecimal digit in lower case, -1 for what is none.
func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
