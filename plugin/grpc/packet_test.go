package grpc

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
)

func TestPacket(t *testing.T) {
	for _, tt := range []struct {
		name, packet, want string
		broken             bool
	}{
		{"nothing", "", "", false},
		{"a message", "\x0a\x03abc", "abc", false},
		{"two, the last one counts", "\x0a\x03abc\x0a\x01d", "d", false},
		{"other fields", "\x12\x02xx\x18\x05\x0a\x01a\x25\x00\x00\x00\x00", "a", false},
		{"the field, of another type", "\x08\x05", "", false},
		{"cut", "\x0a\x03ab", "", true},
		{"cut in a field that is not known", "\x12\x03ab", "", true},
		{"a tag without end", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "", true},
		{"a length without end", "\x0a\xff", "", true},
	} {
		got, err := parsePacket([]byte(tt.packet))
		if (err != nil) != tt.broken || err == nil && string(got) != tt.want {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
	}
}

// FuzzPacket: what is read from any bytes is a part of them, and is read again from what is written of it.
func FuzzPacket(f *testing.F) {
	for _, seed := range []string{"", "\x0a\x03abc", "\x12\x02xx\x0a\x01a", "\x0b\x0c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := parsePacket(b)
		if err != nil {
			return
		}
		if !bytes.Contains(b, msg) {
			t.Fatalf("%q is not in %q", msg, b)
		}
		written, err := packets{}.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		var again []byte
		if err := (packets{}).Unmarshal(mem.BufferSlice(written), &again); err != nil || !bytes.Equal(again, msg) {
			t.Errorf("%q became %q, %v", msg, again, err)
		}
	})
}
