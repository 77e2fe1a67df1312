package wire

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// listBuffer is how much of a list is read at once. An item that fits is handed out without being copied.
const listBuffer = 64 << 10

// protoItems reads a list in protobuf.
type protoItems struct {
	in      *bufio.Reader
	begun   bool
	left    uint64 // bytes of the list message still to come
	pending int    // bytes at the front of in that the last item occupies
	large   []byte // holds an item that does not fit into in
}

func newProtoItems(r io.Reader) *protoItems {
	return &protoItems{in: bufio.NewReaderSize(r, listBuffer)}
}

func (p *protoItems) next(l *List) ([]byte, error) {
	p.in.Discard(p.pending)
	p.pending = 0
	if !p.begun {
		if err := p.begin(); err != nil {
			return nil, unexpected(err)
		}
		p.begun = true
	}
	for p.left > 0 {
		number, value, err := p.field(&p.left)
		switch {
		case err != nil:
			return nil, unexpected(err)
		case number == 1:
			if err := l.readMeta(value); err != nil {
				return nil, err
			}
		case number == 2:
			return value, nil
		}
	}
	return nil, p.end()
}

func (l *List) readMeta(b []byte) error {
	var meta metav1.ListMeta
	if err := meta.Unmarshal(b); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	l.Version, l.Continue = meta.ResourceVersion, meta.Continue
	return nil
}

// begin reads the envelope up to the first byte of the list message.
func (p *protoItems) begin() error {
	head, err := p.in.Peek(len(magic))
	switch {
	case err != nil:
		return err
	case string(head) != string(magic):
		return errNoMagic
	}
	p.in.Discard(len(magic))
	for {
		// The envelope's own length is not told: it ends with the answer.
		envelope := uint64(1 << 62)
		tag, err := p.varint(&envelope)
		switch {
		case err != nil:
			return err
		case tag == 2<<3|wireBytes:
			p.left, err = p.varint(&envelope)
			return err
		case tag != 1<<3|wireBytes:
			return errMalformed
		}
		if err := p.checkType(&envelope); err != nil {
			return err
		}
	}
}

func (p *protoItems) checkType(left *uint64) error {
	value, err := p.value(left)
	if err != nil {
		return err
	}
	kind, err := kindOf(value)
	if err == nil && !strings.HasSuffix(kind, "List") {
		err = fmt.Errorf("the answer is of kind %q", kind)
	}
	p.in.Discard(p.pending)
	p.pending = 0
	return err
}

// end reads what follows the list message, which is short, and returns io.EOF if that is all there is.
func (p *protoItems) end() error {
	const limit = 1 << 10
	n, err := io.CopyN(io.Discard, p.in, limit)
	if err == nil && n == limit {
		err = fmt.Errorf("%d bytes and more after the list", n)
	}
	return err
}

// field reads one field of a message of which left bytes remain. Only fields of bytes are known at this level.
func (p *protoItems) field(left *uint64) (number uint64, value []byte, err error) {
	p.in.Discard(p.pending)
	p.pending = 0
	tag, err := p.varint(left)
	if err != nil {
		return 0, nil, err
	}
	if tag&7 != wireBytes {
		return 0, nil, errMalformed
	}
	value, err = p.value(left)
	return tag >> 3, value, err
}

// value reads a length and as many bytes.
func (p *protoItems) value(left *uint64) ([]byte, error) {
	size, err := p.varint(left)
	switch {
	case err != nil:
		return nil, err
	case size > *left:
		return nil, errMalformed
	case size > MaxObject:
		return nil, ErrTooLarge
	}
	*left -= size
	if size > listBuffer {
		return p.readLarge(int(size))
	}
	value, err := p.in.Peek(int(size))
	p.pending = len(value)
	return value, err
}

// readLarge reads as much as arrives, so that a length alone takes no memory.
func (p *protoItems) readLarge(size int) ([]byte, error) {
	p.large = p.large[:0]
	for len(p.large) < size {
		chunk, err := p.in.Peek(min(size-len(p.large), listBuffer))
		p.large = append(p.large, chunk...)
		p.in.Discard(len(chunk))
		if err != nil {
			return nil, err
		}
	}
	return p.large, nil
}

// varint reads a varint out of a message of which left bytes remain.
func (p *protoItems) varint(left *uint64) (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if *left == 0 {
			return 0, errMalformed
		}
		b, err := p.in.ReadByte()
		if err != nil {
			return 0, err
		}
		*left--
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errMalformed
}
