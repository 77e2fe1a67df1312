package probe

import "encoding/binary"

// The question is id.server, TXT, class CHAOS (RFC 4892): whoever is there answers it by itself, if only with REFUSED, and
// troubles no upstream with it, whatever the cluster's domain is. Any answer will do:
//
//	dig @10.244.0.2 id.server TXT CH
const (
	headerLength = 12
	typeTXT      = 16
	classCHAOS   = 3
)

// question is the message that asks it.
func question(id uint16) []byte {
	b := make([]byte, headerLength, 32)
	binary.BigEndian.PutUint16(b, id)
	b[5] = 1 // one question
	b = append(b, "\x02id\x06server\x00"...)
	b = binary.BigEndian.AppendUint16(b, typeTXT)
	return binary.BigEndian.AppendUint16(b, classCHAOS)
}

// answers reports whether a message is a reply with the number id.
func answers(message []byte, id uint16) bool {
	return len(message) >= headerLength && binary.BigEndian.Uint16(message) == id && message[2]&0x80 != 0
}
