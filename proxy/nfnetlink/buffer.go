package nfnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Buffer collects messages to be sent in one piece. Its zero value is empty and ready for use.
type Buffer struct {
	bytes []byte
	open  int // where the last message begins
	count int
}

// Flags of a message, those of netlink.
const (
	Acknowledge = unix.NLM_F_ACK
	Create      = unix.NLM_F_CREATE
	Append      = unix.NLM_F_APPEND
	Dump        = unix.NLM_F_DUMP
)

// Len is the number of messages.
func (b *Buffer) Len() int { return b.count }

// Size is the number of bytes.
func (b *Buffer) Size() int { return len(b.bytes) }

// Bytes are the messages as they will be sent, until the buffer is next written to.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { b.bytes, b.open, b.count = b.bytes[:0], 0, 0 }

// Begin opens a message: its type is subsystem << 8 | what. Attributes follow, then End.
func (b *Buffer) Begin(kind, flags uint16, family uint8) {
	b.header(kind, flags, family, 0)
}

// BeginBatch opens a transaction of a subsystem (as unix.NFNL_SUBSYS_NFTABLES), all of whose messages take effect together.
func (b *Buffer) BeginBatch(subsystem uint16) {
	b.header(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, subsystem)
	b.End()
}

// EndBatch closes the transaction.
func (b *Buffer) EndBatch(subsystem uint16) {
	b.header(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, subsystem)
	b.End()
}

func (b *Buffer) header(kind, flags uint16, family uint8, resource uint16) {
	b.open = len(b.bytes)
	b.count++
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, 0) // the length, by End
	b.bytes = binary.NativeEndian.AppendUint16(b.bytes, kind)
	b.bytes = binary.NativeEndian.AppendUint16(b.bytes, flags|unix.NLM_F_REQUEST)
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, uint32(b.count))
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, 0) // to the kernel
	b.bytes = append(b.bytes, family, unix.NFNETLINK_V0)
	b.bytes = binary.BigEndian.AppendUint16(b.bytes, resource)
}

// End closes the message.
func (b *Buffer) End() {
	binary.NativeEndian.PutUint32(b.bytes[b.open:], uint32(len(b.bytes)-b.open))
}

// Flag adds flags to the message opened last.
func (b *Buffer) Flag(flags uint16) {
	at := b.bytes[b.open+6:]
	binary.NativeEndian.PutUint16(at, binary.NativeEndian.Uint16(at)|flags)
}

// Raw appends attributes that are encoded already.
func (b *Buffer) Raw(attributes []byte) { b.bytes = append(b.bytes, attributes...) }

// Value appends an attribute.
func (b *Buffer) Value(kind uint16, value []byte) { b.bytes = AppendAttribute(b.bytes, kind, value) }

// Text appends an attribute that is text, ended by a zero byte.
func (b *Buffer) Text(kind uint16, text string) {
	mark := len(b.bytes)
	b.bytes = AppendHead(b.bytes, kind, len(text)+1)
	b.bytes = append(append(b.bytes, text...), 0)
	b.bytes = padded(b.bytes, mark)
}

// Uint32 appends an attribute that is a number in network byte order.
func (b *Buffer) Uint32(kind uint16, v uint32) {
	b.bytes = binary.BigEndian.AppendUint32(AppendHead(b.bytes, kind, 4), v)
}

// Native32 appends an attribute that is a number in the machine's byte order, as a few are.
func (b *Buffer) Native32(kind uint16, v uint32) {
	b.bytes = binary.NativeEndian.AppendUint32(AppendHead(b.bytes, kind, 4), v)
}

// Nest opens an attribute that is made of attributes; Close, given what Nest returns, closes it.
func (b *Buffer) Nest(kind uint16) (mark int) {
	mark = len(b.bytes)
	b.bytes = AppendHead(b.bytes, kind|unix.NLA_F_NESTED, 0)
	return mark
}

// Close closes the attribute that Nest opened. An attribute's length, with all that is in it, stays below 64 KiB.
func (b *Buffer) Close(mark int) {
	binary.NativeEndian.PutUint16(b.bytes[mark:], uint16(len(b.bytes)-mark))
}

// AppendAttribute appends an attribute to b.
func AppendAttribute(b []byte, kind uint16, value []byte) []byte {
	mark := len(b)
	return padded(append(AppendHead(b, kind, len(value)), value...), mark)
}

// AppendHead appends the head of an attribute whose value, length bytes, the caller appends.
func AppendHead(b []byte, kind uint16, length int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attributeLen+length))
	return binary.NativeEndian.AppendUint16(b, kind)
}

// padded fills up what began at mark to the alignment of attributes.
func padded(b []byte, mark int) []byte {
	for len(b)-mark != aligned(len(b)-mark) {
		b = append(b, 0)
	}
	return b
}
