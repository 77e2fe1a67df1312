package route

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Kernels often lack SCTP, and their connection tracking knows it all the same. So its packets are made here: a client
// sends INIT, a server answers INIT ACK, which carries what it has to say as a parameter (RFC 9260, section 3.3).

const (
	chunkInit    = 1
	chunkInitAck = 2
	// parameter is one of a kind that receivers who do not know it skip (section 3.2.1).
	parameter = 0x8777
	tag       = 0x5eed5eed
)

// sctpPacket is a packet with one INIT or INIT ACK chunk.
func sctpPacket(from, to uint16, verification uint32, chunk byte, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint32(b, verification)
	b = append(b, 0, 0, 0, 0) // the checksum
	b = append(b, chunk, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = binary.BigEndian.AppendUint32(b, 1<<16) // window
	b = append(b, 0, 1, 0, 1)                   // streams
	b = binary.BigEndian.AppendUint32(b, 1)     // first sequence number
	if text != "" {
		b = binary.BigEndian.AppendUint16(b, parameter)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(text)))
		b = append(b, text...)
	}
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-12))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// sctp is a packet that came.
type sctp struct {
	source   netip.Addr
	from, to uint16
	chunk    byte
	text     string
}

func parseSCTP(b []byte, source unix.Sockaddr) (p sctp, ok bool) {
	if four, isFour := source.(*unix.SockaddrInet4); isFour {
		p.source = netip.AddrFrom4(four.Addr)
		b = b[min(len(b), 20):] // raw sockets of IPv4 give the header too
	} else {
		p.source = netip.AddrFrom16(source.(*unix.SockaddrInet6).Addr)
	}
	if len(b) < 32 {
		return p, false
	}
	p.from, p.to, p.chunk = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[12]
	if len(b) > 36 {
		p.text = string(b[36:min(len(b), 12+int(binary.BigEndian.Uint16(b[14:])))])
	}
	return p, true
}

func sctpSocket(to netip.Addr) (int, error) {
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	return unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// serveSCTP answers INITs to a port.
func (s *Space) serveSCTP(port uint16) (stop func(), err error) {
	var sockets []int
	for _, address := range addresses[s.Name] {
		a := netip.MustParseAddr(address)
		fd, err := sctpSocket(a)
		if err == nil {
			err = unix.Bind(fd, sockaddr(a))
		}
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, fd)
		go s.answerSCTP(fd, port)
	}
	return func() {
		for _, fd := range sockets {
			unix.Shutdown(fd, unix.SHUT_RDWR)
		}
	}, nil
}

func (s *Space) answerSCTP(fd int, port uint16) {
	defer unix.Close(fd)
	buffer := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil || n == 0 {
			return
		}
		if p, ok := parseSCTP(buffer[:n], from); ok && p.to == port && p.chunk == chunkInit {
			reply := sctpPacket(port, p.from, tag, chunkInitAck, s.Name+" sees "+p.source.String())
			unix.Sendto(fd, reply, 0, sockaddr(p.source))
		}
	}
}

// askSCTP sends INIT and waits for INIT ACK.
func askSCTP(to netip.AddrPort) (string, error) {
	fd, err := sctpSocket(to.Addr())
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sockaddr(to.Addr())); err != nil {
		return "", err
	}
	port := uint16(20000 + time.Now().UnixNano()%40000)
	if _, err := unix.Write(fd, sctpPacket(port, to.Port(), 0, chunkInit, "")); err != nil && !errors.Is(err, unix.EPERM) {
		return "", err
	}
	buffer := make([]byte, 4096)
	for end := time.Now().Add(Patience); ; {
		wait := unix.NsecToTimeval(max(time.Until(end), time.Microsecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return "", err
		}
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return "", err
		}
		if p, ok := parseSCTP(buffer[:n], from); ok && p.to == port && p.from == to.Port() && p.chunk == chunkInitAck {
			return p.text, nil
		}
	}
}
