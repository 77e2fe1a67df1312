package xtables

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options of a socket, the same numbers for both families. To get:
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES
)

// And to set:
const (
	setReplace     = 64 // IPT_SO_SET_REPLACE
	setAddCounters = 65 // IPT_SO_SET_ADD_COUNTERS
)

// Sizes of what these take, on 64 bits.
const (
	nameLen     = 32                 // XT_TABLE_MAXNAMELEN
	infoLen     = nameLen + 13*4     // struct ipt_getinfo
	headerLen   = nameLen + 8        // struct ipt_get_entries and xt_counters_info, up to what they are about
	replaceLen  = nameLen + 14*4 + 8 // struct ipt_replace, up to the entries
	counterLen  = 16                 // struct xt_counters
	pointerSize = unsafe.Sizeof(uintptr(0))
)

const _ = uint(pointerSize - 8) // these are the structures of 64 bits

// read reads a table.
func (f *family) read(fd int, name string) (*table, error) {
	info := named(name, infoLen)
	if err := get(fd, f.level, getInfo, info); err != nil {
		return nil, fmt.Errorf("read about it: %w", err)
	}
	t := &table{}
	rest := info[nameLen:]
	next := func() uint32 {
		v := binary.NativeEndian.Uint32(rest)
		rest = rest[4:]
		return v
	}
	t.hooks = next()
	for i := range t.begin {
		t.begin[i] = next()
	}
	for i := range t.underflow {
		t.underflow[i] = next()
	}
	t.entries = next()
	size := next()
	b := named(name, headerLen+int(size))
	binary.NativeEndian.PutUint32(b[nameLen:], size)
	if err := get(fd, f.level, getEntries, b); err != nil { // unix.EAGAIN where it has another size now
		return nil, fmt.Errorf("read its rules: %w", err)
	}
	t.rules = b[headerLen:]
	return t, nil
}

// replace puts a table in an old one's place, and gives its entries, which were kept of that, their counters back. It
// returns unix.EAGAIN where the kernel's has another number of entries by now.
func (f *family) replace(fd int, name string, old, new *table, kept []int) error {
	counters := make([]byte, counterLen*int(old.entries)) // which the kernel fills
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&counters[0])
	b := named(name, nameLen)
	put := func(v uint32) { b = binary.NativeEndian.AppendUint32(b, v) }
	put(new.hooks)
	put(new.entries)
	put(uint32(len(new.rules)))
	for _, v := range new.begin {
		put(v)
	}
	for _, v := range new.underflow {
		put(v)
	}
	put(old.entries)
	b = binary.NativeEndian.AppendUint64(b, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	if err := unix.SetsockoptString(fd, f.level, setReplace, string(append(b, new.rules...))); err != nil {
		return fmt.Errorf("replace it: %w", err)
	}
	b = named(name, headerLen)
	binary.NativeEndian.PutUint32(b[nameLen:], new.entries)
	for _, i := range kept {
		b = append(b, counters[i*counterLen:(i+1)*counterLen]...)
	}
	if err := unix.SetsockoptString(fd, f.level, setAddCounters, string(b)); err != nil {
		return fmt.Errorf("give its rules their counters back: %w", err)
	}
	return nil
}

// named is a structure of a length that begins with a table's name.
func named(name string, length int) []byte {
	b := make([]byte, length)
	copy(b[:nameLen-1], name)
	return b
}

// get reads a socket option that takes what b holds, and fills b.
func get(fd, level, option int, b []byte) error {
	length := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
