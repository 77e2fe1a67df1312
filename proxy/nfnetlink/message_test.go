package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// wire is bytes as they would be on a little-endian machine, in hexadecimal; spaces do not count.
func wire(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(text), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the bytes in this test are a little-endian machine's")
	}
	return b
}

func TestBufferWritesMessages(t *testing.T) {
	var b Buffer
	b.BeginBatch(unix.NFNL_SUBSYS_NFTABLES)
	b.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, Create, unix.NFPROTO_IPV4)
	b.Text(unix.NFTA_TABLE_NAME, "t")
	b.Uint32(unix.NFTA_TABLE_FLAGS, 2)
	mark := b.Nest(7)
	b.Value(1, []byte{0xab})
	b.Close(mark)
	b.End()
	b.Flag(Acknowledge)
	b.EndBatch(unix.NFNL_SUBSYS_NFTABLES)

	want := wire(t, ""+
		"14000000 1000 0100 01000000 00000000 00 00 000a"+
		"30000000 000a 0504 02000000 00000000 02 00 0000"+
		"0600 0100 7400 0000"+
		"0800 0200 00000002"+
		"0c00 0780 0500 0100 ab000000"+
		"14000000 1100 0100 03000000 00000000 00 00 000a")
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got\n%x\nwant\n%x", b.Bytes(), want)
	}
	if b.Len() != 3 || b.Size() != len(want) {
		t.Errorf("Len, Size = %d, %d, want 3, %d", b.Len(), b.Size(), len(want))
	}
	b.Reset()
	if b.Len() != 0 || b.Size() != 0 {
		t.Errorf("after Reset: Len, Size = %d, %d", b.Len(), b.Size())
	}
}

func TestMessagesReadsWhatBufferWrites(t *testing.T) {
	var b Buffer
	b.Begin(0xa00, Dump, unix.NFPROTO_IPV6)
	b.Text(1, "name")
	b.End()
	b.Begin(0xa01, 0, unix.NFPROTO_IPV4)
	b.End()
	var got []Message
	for m := range Messages(b.Bytes()) {
		got = append(got, m)
	}
	if len(got) != 2 || got[0].Type != 0xa00 || got[0].Family != unix.NFPROTO_IPV6 || got[0].Sequence != 1 ||
		String(Attribute(got[0].Body, 1)) != "name" || got[1].Type != 0xa01 || got[1].Sequence != 2 || len(got[1].Body) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestErrorsAreTheKernels(t *testing.T) {
	for _, c := range []struct{ name, wire, want string }{
		{"an acknowledgement", "24000000 0200 0001 05000000 01000000  00000000  14000000 000a 0500 05000000 00000000", ""},
		{"a plain error", "24000000 0200 0001 05000000 01000000  feffffff  14000000 000a 0500 05000000 00000000",
			"no such file or directory"},
		{"an error with words", "2c000000 0200 0003 05000000 01000000  efffffff  14000000 000a 0500 05000000 00000000  0700 0100 686900 00",
			"file exists (hi)"},
		{"an error cut off", "12000000 0200 0003 05000000 01000000  efff 0000", "bad message"},
	} {
		for m := range Messages(wire(t, c.wire)) {
			got := ""
			if err := m.Err(); err != nil {
				got = err.Error()
				if err.Message != 5 {
					t.Errorf("%s: about message %d, want 5", c.name, err.Message)
				}
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
	}
}

func TestErrorUnwrapsToItsNumber(t *testing.T) {
	if !errors.Is(&Error{Errno: unix.EPERM}, unix.EPERM) {
		t.Error("errors.Is does not find EPERM")
	}
}

func TestNumbersOfOtherLengthsAreZero(t *testing.T) {
	if got := Uint32([]byte{1, 2}); got != 0 {
		t.Errorf("Uint32 = %d", got)
	}
	if got := Uint16(nil); got != 0 {
		t.Errorf("Uint16 = %d", got)
	}
}

// FuzzMessages reads arbitrary datagrams to their innermost attributes.
func FuzzMessages(f *testing.F) {
	var b Buffer
	b.Begin(0xa00, 0, 2)
	mark := b.Nest(3)
	b.Text(1, "x")
	b.Close(mark)
	b.End()
	f.Add(b.Bytes())
	f.Add([]byte{16, 0, 0, 0, 2, 0})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		total := 0
		for m := range Messages(datagram) {
			if err := m.Err(); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
			for _, outer := range Attributes(m.Body) {
				for _, inner := range Attributes(outer) {
					total += len(inner)
				}
			}
		}
		if total > len(datagram) {
			t.Errorf("read %d bytes out of %d", total, len(datagram))
		}
	})
}
