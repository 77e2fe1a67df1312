package route

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net"
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
	from, to uint16
	chunk    byte
	text     string
}

func parseSCTP(b []byte) (p sctp, ok bool) {
	if len(b) < 32 {
		return p, false
	}
	p.from, p.to, p.chunk = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[12]
	if end := 12 + int(binary.BigEndian.Uint16(b[14:])); end > 36 && end <= len(b) {
		p.text = string(b[36:end])
	}
	return p, true
}

// answerSCTP answers INITs to a port.
func (s *Space) answerSCTP(conn net.PacketConn, port uint16) {
	buffer := make([]byte, 4096)
	for {
		n, client, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if p, ok := parseSCTP(buffer[:n]); err == nil && ok && p.to == port && p.chunk == chunkInit {
			conn.WriteTo(sctpPacket(port, p.from, tag, chunkInitAck, s.Name+" sees "+client.String()), client)
		}
	}
}

// askSCTP sends INIT and waits for INIT ACK.
func askSCTP(to netip.AddrPort, patience time.Duration) (string, error) {
	conn, err := net.Dial(rawSCTP(to.Addr()), to.Addr().String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	port := uint16(20000 + rand.IntN(40000))
	if _, err := conn.Write(sctpPacket(port, to.Port(), 0, chunkInit, "")); err != nil && !errors.Is(err, unix.EPERM) {
		return "", err
	}
	buffer := make([]byte, 4096)
	for {
		n, _, err := conn.(net.PacketConn).ReadFrom(buffer) // Read would give the header of IPv4 too
		if err != nil {
			return "", err
		}
		if p, ok := parseSCTP(buffer[:n]); ok && p.to == port && p.from == to.Port() && p.chunk == chunkInitAck {
			return p.text, nil
		}
	}
}

// rawSCTP is the network of a raw socket.
func rawSCTP(a netip.Addr) string {
	if a.Is4() {
		return "ip4:132"
	}
	return "ip6:132"
}
