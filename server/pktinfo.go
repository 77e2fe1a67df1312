package server

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ancillary is the control message that comes and goes with a datagram on a socket for all addresses: IP_PKTINFO (ip(7))
// or IPV6_PKTINFO (RFC 3542 section 6), a cmsghdr and then a struct in_pktinfo or in6_pktinfo. The same form says where a
// datagram was sent to, and where its answer is to come from.
type ancillary [ancillaryLen]byte

// ancillaryLen is CMSG_SPACE(sizeof(struct in6_pktinfo)) on 64-bit machines, and more than that on others.
const ancillaryLen = unix.SizeofCmsghdr + 24

// turn makes an answer's control message of a received one, n bytes long: the same address, but an interface of the
// routing table's choice, as the way back may be another. It returns the address, and how long the answer's message is, 0
// where there is none. That is without the padding which it came with: 36 bytes the kernel keeps on its stack, for 40 it
// allocates memory (____sys_sendmsg in its net/socket.c).
func (a *ancillary) turn(n int) (netip.Addr, int) {
	if n < unix.SizeofCmsghdr {
		return netip.Addr{}, 0
	}
	level := binary.NativeEndian.Uint32(a[unix.SizeofCmsghdr-8:])
	kind := binary.NativeEndian.Uint32(a[unix.SizeofCmsghdr-4:])
	data := a[unix.SizeofCmsghdr:n]
	switch {
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		clear(data[:4])
		return netip.AddrFrom4([4]byte(data[4:8])), unix.SizeofCmsghdr + unix.SizeofInet4Pktinfo
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		addr := netip.AddrFrom16([16]byte(data[:16])).Unmap()
		if !addr.IsLinkLocalUnicast() { // such an address means something on its interface only
			clear(data[16:20])
		}
		return addr, unix.SizeofCmsghdr + unix.SizeofInet6Pktinfo
	}
	return netip.Addr{}, 0
}
