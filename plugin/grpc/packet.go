package grpc

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// packets writes and reads the messages of CoreDNS's dns.proto: one, with one field,
//
//	message DnsPacket { bytes msg = 1; }
//
// for which a []byte stands here, and a *[]byte where one is read. It implements encoding.CodecV2.
type packets struct{}

// fieldMsg is the number of the field.
const fieldMsg = protowire.Number(1)

// packetHead is how many bytes stand before the longest DNS message.
const packetHead = 4

// Name is what the content type of calls ends with.
func (packets) Name() string { return "proto" }

// Marshal writes a message.
func (packets) Marshal(v any) (mem.BufferSlice, error) {
	msg := v.([]byte)
	b := make([]byte, 0, packetHead+len(msg))
	b = protowire.AppendTag(b, fieldMsg, protowire.BytesType)
	return mem.BufferSlice{mem.SliceBuffer(protowire.AppendBytes(b, msg))}, nil
}

// Unmarshal reads a message.
func (packets) Unmarshal(data mem.BufferSlice, v any) (err error) {
	*v.(*[]byte), err = parsePacket(data.Materialize())
	return err
}

var errPacket = errors.New("a broken protocol buffer")

// parsePacket returns the field, the last one where there are several, and steps over all that is not known.
func parsePacket(b []byte) (msg []byte, err error) {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, errPacket
		}
		b = b[n:]
		if number == fieldMsg && typ == protowire.BytesType {
			msg, n = protowire.ConsumeBytes(b)
		} else {
			n = protowire.ConsumeFieldValue(number, typ, b)
		}
		if n < 0 {
			return nil, errPacket
		}
		b = b[n:]
	}
	return msg, nil
}
