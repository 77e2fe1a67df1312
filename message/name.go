package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Name is an absolute domain name in wire form (RFC 1035 section 3.1), lower case and uncompressed: length-prefixed
// labels and a final zero byte. It is a string, so that it can be compared and be a map's key. The zero value is no
// name; the root is Root.
type Name string

// Root is the root zone's name.
const Root Name = "\x00"

// Limits of a name (RFC 1035 section 2.3.4), in bytes of wire form.
const (
	MaxNameLen  = 255
	MaxLabelLen = 63
	maxLabels   = 128 // the root counts
	maxPointers = 126 // compression pointers on the way through one name, as many as miekg/dns follows
)

var errLongName = errors.New("name is longer than 255 bytes")

// ParseName reads a name as people write it: labels between dots, with \. and \DDD escapes, the final dot optional. It
// returns an error that quotes the text for an empty or overlong label, a bad escape or an overlong name.
func ParseName(text string) (Name, error) {
	b, err := PackName(text)
	for i, c := range b {
		b[i] = lower(c) // length bytes are below 'A'
	}
	return Name(b), err
}

// ParseNames reads names, each as ParseName does.
func ParseNames(texts []string) ([]Name, error) {
	var names []Name
	for _, text := range texts {
		name, err := ParseName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// PackName is ParseName for a name whose letter case is to be kept: it returns the uncompressed wire form.
func PackName(text string) ([]byte, error) {
	if text == "." {
		return []byte(Root), nil
	}
	b := make([]byte, 1, len(text)+2)
	start := 0 // the length byte of the label being read
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			if err := closeLabel(b, start); err != nil {
				return nil, fmt.Errorf("name %q: %w", text, err)
			}
			start = len(b)
			b = append(b, 0)
			continue
		case c == '\\':
			var n int
			if c, n = unescape(text[i+1:]); n == 0 {
				return nil, fmt.Errorf("name %q: bad escape at byte %d", text, i)
			}
			i += n
		}
		b = append(b, c)
	}
	if start != len(b)-1 { // no final dot
		if err := closeLabel(b, start); err != nil {
			return nil, fmt.Errorf("name %q: %w", text, err)
		}
		b = append(b, 0)
	}
	if len(b) > MaxNameLen {
		return nil, fmt.Errorf("name %q: %w", text, errLongName)
	}
	if len(b) == 1 {
		return nil, fmt.Errorf("name %q is empty", text)
	}
	return b, nil
}

// closeLabel sets the length byte at start of the label that ends where b does.
func closeLabel(b []byte, start int) error {
	n := len(b) - start - 1
	if n == 0 {
		return errors.New("empty label")
	}
	if n > MaxLabelLen {
		return fmt.Errorf("label of %d bytes, the most is %d", n, MaxLabelLen)
	}
	b[start] = byte(n)
	return nil
}

// unescape reads what follows a backslash and returns the byte meant and how many characters say it, 0 if none do.
func unescape(s string) (byte, int) {
	if len(s) == 0 {
		return 0, 0
	}
	if !isDigit(s[0]) {
		return s[0], 1
	}
	if len(s) < 3 || !isDigit(s[1]) || !isDigit(s[2]) {
		return 0, 0
	}
	n := int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	if n > 255 {
		return 0, 0
	}
	return byte(n), 3
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lowerName writes a name in wire form into another of its length, in lower case; bytes that say how long a label is are
// below 'A'. It takes eight bytes at a time: whether a byte is at least 'A', or above 'Z', carries into its highest bit.
func lowerName(lowered, name []byte) {
	const each = 0x0101010101010101 // times a byte: eight of them
	i := 0
	for ; i+8 <= len(name); i += 8 {
		word := binary.LittleEndian.Uint64(name[i:])
		low := word & (each * 0x7F)
		upper := (low + each*(0x80-'A')) &^ (low + each*(0x7F-'Z')) &^ word & (each * 0x80)
		binary.LittleEndian.PutUint64(lowered[i:], word|upper>>2)
	}
	for ; i < len(name); i++ {
		lowered[i] = lower(name[i])
	}
}

// String is the name in presentation form with a final dot, as dig prints it.
func (n Name) String() string { return string(AppendName(nil, []byte(n))) }

// Labels is the number of labels without the root: 2 for "cluster.local.".
func (n Name) Labels() int {
	count := 0
	for i := 0; i < len(n) && n[i] != 0; i += int(n[i]) + 1 {
		count++
	}
	return count
}

// Under reports whether n is zone or a name below it.
func (n Name) Under(zone Name) bool {
	for i := 0; i < len(n) && len(n)-i >= len(zone); i += int(n[i]) + 1 {
		if n[i:] == zone {
			return true
		}
	}
	return false
}

// Parent is the name without its first label; the root is its own parent.
func (n Name) Parent() Name {
	if len(n) <= 1 {
		return n
	}
	return n[n[0]+1:]
}

// AppendName appends the presentation form of an uncompressed wire name, escaping as miekg/dns and dig do: a backslash
// before the characters that mean something in a zone file, \DDD for what does not print.
func AppendName(out, wire []byte) []byte {
	if len(wire) == 0 || wire[0] == 0 {
		return append(out, '.')
	}
	for len(wire) > 1 && wire[0] != 0 {
		n := min(int(wire[0]), len(wire)-1)
		for _, c := range wire[1 : 1+n] {
			switch {
			case strings.IndexByte(`.' @;()"\`, c) >= 0:
				out = append(out, '\\', c)
			case c < ' ' || c > '~':
				out = append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				out = append(out, c)
			}
		}
		out = append(out, '.')
		wire = wire[1+n:]
	}
	return out
}
