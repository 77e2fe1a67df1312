package nftables

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// family is what differs between IPv4 and IPv6. Each has a table of its own: their keys have different types anyway, no rule
// has to ask which of the two a packet is, and they do not see each other's packets.
type family struct {
	number      uint8  // NFPROTO_
	word        string // what nft calls it
	addressLen  uint32 // bytes
	source      uint32 // where the source address is in the packet's header
	destination uint32
	addressType uint32 // nft's number for the type of an address
	loopback    netip.Prefix
	unreachable uint8 // the ICMP code of "port unreachable"
}

// families are both, by the index that a familyIndex is.
func families() [2]family {
	return [2]family{
		{
			number: unix.NFPROTO_IPV4, word: "ip", addressLen: 4, source: 12, destination: 16, addressType: 7,
			loopback: netip.MustParsePrefix("127.0.0.0/8"), unreachable: 3,
		},
		{
			number: unix.NFPROTO_IPV6, word: "ip6", addressLen: 16, source: 8, destination: 24, addressType: 8,
			loopback: netip.MustParsePrefix("::1/128"), unreachable: 4,
		},
	}
}

// familyIndex is 0 for IPv4, 1 for IPv6.
type familyIndex uint8

func familyOf(a netip.Addr) familyIndex {
	if a.Is4() {
		return 0
	}
	return 1
}

// has reports whether a is one of the family's addresses.
func (f *family) has(a netip.Addr) bool { return a.Is4() == (f.addressLen == 4) }

// What the kernel compares are registers of 4 bytes: each part of a key or of data begins in a new one and is filled up
// with zeros. Addresses, protocols and ports are in network byte order.

func appendAddress(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(b, v[:]...)
	}
	v := a.As16()
	return append(b, v[:]...)
}

func appendPort(b []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(b, port), 0, 0)
}

// appendFrontend appends the key "address . protocol . port".
func appendFrontend(b []byte, f proxy.Frontend) []byte {
	b = appendAddress(b, f.Address)
	b = append(b, byte(f.Protocol), 0, 0, 0)
	return appendPort(b, f.Port)
}

// appendSlot appends a key's last part, a number such as numgen gives: in the machine's byte order.
func appendSlot(b []byte, slot uint32) []byte { return binary.NativeEndian.AppendUint32(b, slot) }

// appendEndpoint appends the data "address . port".
func appendEndpoint(b []byte, e netip.AddrPort) []byte {
	return appendPort(appendAddress(b, e.Addr()), e.Port())
}

// frontendLen is the length of a frontend's key.
func (f *family) frontendLen() int { return int(f.addressLen) + 8 }

// endpointLen is the length of an endpoint's data.
func (f *family) endpointLen() int { return int(f.addressLen) + 4 }

// parseFrontend reads what appendFrontend wrote, and more keys may follow in b.
func (f *family) parseFrontend(b []byte) (proxy.Frontend, bool) {
	if len(b) < f.frontendLen() {
		return proxy.Frontend{}, false
	}
	address, _ := netip.AddrFromSlice(b[:f.addressLen])
	b = b[f.addressLen:]
	return proxy.Frontend{Address: address, Protocol: cluster.Protocol(b[0]), Port: binary.BigEndian.Uint16(b[4:])}, true
}

// parseEndpoint reads what appendEndpoint wrote.
func (f *family) parseEndpoint(b []byte) (netip.AddrPort, bool) {
	if len(b) != f.endpointLen() {
		return netip.AddrPort{}, false
	}
	address, _ := netip.AddrFromSlice(b[:f.addressLen])
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(b[f.addressLen:])), true
}

// appendHairpin appends the key "source . destination . protocol . port".
func appendHairpin(b []byte, h proxy.Hairpin) []byte {
	b = appendAddress(appendAddress(b, h.Endpoint.Addr()), h.Endpoint.Addr())
	b = append(b, byte(h.Protocol), 0, 0, 0)
	return appendPort(b, h.Endpoint.Port())
}

// parseHairpin reads what appendHairpin wrote.
func (f *family) parseHairpin(b []byte) (proxy.Hairpin, bool) {
	if len(b) != int(f.addressLen)+f.frontendLen() {
		return proxy.Hairpin{}, false
	}
	to, ok := f.parseFrontend(b[f.addressLen:])
	source, _ := netip.AddrFromSlice(b[:f.addressLen])
	return proxy.Hairpin{Endpoint: netip.AddrPortFrom(to.Address, to.Port), Protocol: to.Protocol}, ok && source == to.Address
}
