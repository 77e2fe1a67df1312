// Package wire reads what an API server answers to a list or a watch, one object at a time, from bytes as they arrive.
// It knows the two envelopes, protobuf and JSON, and nothing of what is inside an object.
//
// In protobuf a message is four bytes of magic, then a runtime.Unknown: the type (field 1) and the object's own encoding
// (field 2). A list inside it is a ListMeta (field 1) and items (field 2). A watch is a row of frames, each a big-endian
// length of four bytes and a metav1.WatchEvent: a word (field 1) and, inside a RawExtension (field 2), a message as above.
// In JSON a list is one object, a watch one line for each event.
//
// Lengths in the input are believed only as far as bytes follow: garbage costs no more memory than it is long.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Encoding is how objects are written.
type Encoding uint8

// The encodings that are read.
const (
	JSON Encoding = iota
	Protobuf
)

// Accept is what to ask a server for: protobuf where it can.
const Accept = "application/vnd.kubernetes.protobuf,application/json"

// EncodingOf reads an answer's Content-Type.
func EncodingOf(contentType string) (Encoding, error) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return 0, fmt.Errorf("content type %q: %w", contentType, err)
	case media == "application/vnd.kubernetes.protobuf":
		return Protobuf, nil
	case media == "application/json":
		return JSON, nil
	}
	return 0, fmt.Errorf("content type %q is neither protobuf nor JSON", contentType)
}

// MaxObject is the length in bytes of the largest object that is read. etcd's own default limit is 1.5 MiB.
const MaxObject = 32 << 20

// Errors of all readers. Input that ends too early is io.ErrUnexpectedEOF.
var (
	ErrTooLarge  = fmt.Errorf("an object of more than %d bytes", MaxObject)
	errNoMagic   = errors.New("not a Kubernetes protobuf message: it does not begin with \"k8s\\x00\"")
	errMalformed = errors.New("malformed protobuf message")
)

// Status reads a metav1.Status, as a server answers errors with: the whole body of a response.
func Status(body []byte, enc Encoding) (*metav1.Status, error) {
	if enc == Protobuf {
		m, err := unwrap(body)
		if err != nil {
			return nil, fmt.Errorf("read status: %w", err)
		}
		body = m.object
	}
	return statusOf(body, enc)
}

// Status reads the object of an event of type Error.
func (e *Event) Status() (*metav1.Status, error) { return statusOf(e.Object, e.Encoding) }

func statusOf(object []byte, enc Encoding) (*metav1.Status, error) {
	status := new(metav1.Status)
	decode := status.Unmarshal
	if enc == JSON {
		decode = func(b []byte) error { return json.Unmarshal(b, status) }
	}
	if err := decode(object); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return status, nil
}

// magic begins every protobuf message but the frame of a watch.
var magic = []byte("k8s\x00")

// unknown is a runtime.Unknown on its own bytes.
type unknown struct {
	kind   string
	object []byte
}

func unwrap(message []byte) (unknown, error) {
	var u unknown
	rest, ok := bytes.CutPrefix(message, magic)
	if !ok {
		return u, errNoMagic
	}
	for len(rest) > 0 {
		f, after, err := cutField(rest)
		if err != nil {
			return u, err
		}
		switch f.number {
		case 1:
			if u.kind, err = kindOf(f.value); err != nil {
				return u, err
			}
		case 2:
			u.object = f.value
		}
		rest = after
	}
	return u, nil
}

// kindOf reads field 2 of a runtime.TypeMeta.
func kindOf(typeMeta []byte) (string, error) {
	kind := ""
	for len(typeMeta) > 0 {
		f, rest, err := cutField(typeMeta)
		if err != nil {
			return "", err
		}
		if f.number == 2 {
			kind = string(f.value)
		}
		typeMeta = rest
	}
	return kind, nil
}

// field is one field of a protobuf message; value is nil unless its wire type is "length-delimited".
type field struct {
	number uint64
	value  []byte
}

// Protobuf's wire types.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// cutField takes the first field off a message.
func cutField(b []byte) (f field, rest []byte, err error) {
	tag, b, ok := cutVarint(b)
	if !ok {
		return f, nil, errMalformed
	}
	f.number = tag >> 3
	var size uint64
	switch tag & 7 {
	case wireVarint:
		_, b, ok = cutVarint(b)
	case wireBytes:
		size, b, ok = cutVarint(b)
	case wire64:
		size = 8
	case wire32:
		size = 4
	default:
		ok = false
	}
	if !ok || size > uint64(len(b)) {
		return f, nil, errMalformed
	}
	if tag&7 == wireBytes {
		f.value = b[:size:size]
	}
	return f, b[size:], nil
}

func cutVarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
