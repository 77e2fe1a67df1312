package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// Sizes and alignment, from netlink's and nfnetlink's headers.
const (
	headerLen    = 16 // struct nlmsghdr
	netfilterLen = 4  // struct nfgenmsg
	attributeLen = 4  // struct nlattr
)

func aligned(n int) int { return (n + 3) &^ 3 }

// Message is one that came from the kernel.
type Message struct {
	Type     uint16 // subsystem << 8 | what
	Flags    uint16
	Sequence uint32 // for an answer, which message of the request it is about, from 1
	Port     uint32 // whose change it tells of
	Family   uint8  // NFPROTO_
	Body     []byte // attributes; for NLMSG_ERROR what follows the header
}

// Messages walks over the messages of a datagram. It ends at the first that is malformed.
func Messages(datagram []byte) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for len(datagram) >= headerLen {
			length := int(binary.NativeEndian.Uint32(datagram))
			if length < headerLen || length > len(datagram) {
				return
			}
			if !yield(message(datagram[:length])) {
				return
			}
			datagram = datagram[min(aligned(length), len(datagram)):]
		}
	}
}

func message(b []byte) Message {
	m := Message{
		Type:     binary.NativeEndian.Uint16(b[4:]),
		Flags:    binary.NativeEndian.Uint16(b[6:]),
		Sequence: binary.NativeEndian.Uint32(b[8:]),
		Port:     binary.NativeEndian.Uint32(b[12:]),
		Body:     b[headerLen:],
	}
	if m.Type >= unix.NLMSG_MIN_TYPE && len(m.Body) >= netfilterLen {
		m.Family = m.Body[0]
		m.Body = m.Body[netfilterLen:]
	}
	return m
}

// Error is the kernel's refusal of a message.
type Error struct {
	Message int // which message of the request, from 1; 0 where it is about the whole
	Errno   unix.Errno
	Text    string // the kernel's explanation, mostly empty
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return fmt.Sprintf("%s (%s)", e.Errno.Error(), e.Text)
}

// Unwrap is the error number, so that errors.Is finds unix.EPERM and the like.
func (e *Error) Unwrap() error { return e.Errno }

// Err is the *Error in a message of type NLMSG_ERROR, or nil where it acknowledges.
func (m Message) Err() *Error {
	if len(m.Body) < 4 {
		return &Error{Message: int(m.Sequence), Errno: unix.EBADMSG}
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Body))
	if errno == 0 {
		return nil
	}
	return &Error{Message: int(m.Sequence), Errno: unix.Errno(errno), Text: m.explanation()}
}

// explanation is what follows the header of the message that the error is about, which the Conn asked not to be repeated.
func (m Message) explanation() string {
	if m.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Body) < 4+headerLen {
		return ""
	}
	for kind, value := range Attributes(m.Body[4+headerLen:]) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			return String(value)
		}
	}
	return ""
}

// Attributes walks over attributes: their types, without flags, and values. It ends at the first that is malformed.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attributeLen {
			length := int(binary.NativeEndian.Uint16(b))
			if length < attributeLen || length > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[attributeLen:length]) {
				return
			}
			b = b[min(aligned(length), len(b)):]
		}
	}
}

// Attribute is the value of the first attribute of a type in b, or nil where there is none.
func Attribute(b []byte, kind uint16) []byte {
	for k, value := range Attributes(b) {
		if k == kind {
			return value
		}
	}
	return nil
}

// String is a value that the kernel ends with a zero byte.
func String(value []byte) string {
	text, _, _ := bytes.Cut(value, []byte{0})
	return string(text)
}

// Uint32 is a value in network byte order, 0 where it has another length.
func Uint32(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

// Uint16 is a value in network byte order, 0 where it has another length.
func Uint16(value []byte) uint16 {
	if len(value) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(value)
}

// swapped is v with its bytes in network order as the machine reads them, and back.
func swapped(v uint32) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return binary.BigEndian.Uint32(b[:])
}
