package message

import "encoding/binary"

// Cursor walks over the records of a reply, which are well-formed: they are our own.
type Cursor struct {
	Section Section
	Type    Type
	TTL     uint32 // seconds
	Data    []byte // names in it may be compressed

	message []byte
	left    [3]uint16
	start   int // where the record begins, with its owner
	data    int
	end     int
}

// Cursor stands before the first record. It is valid until something is written to the reply.
func (r *Reply) Cursor() Cursor {
	return Cursor{message: r.buf, left: r.counts, end: r.question}
}

// Next goes on to the next record. It reports false behind the last one.
func (c *Cursor) Next() bool {
	for c.left[c.Section] == 0 {
		if c.Section == Additional {
			return false
		}
		c.Section++
	}
	c.left[c.Section]--
	c.start = c.end
	fixed := c.message[behindName(c.message, c.start):]
	c.Type = Type(binary.BigEndian.Uint16(fixed))
	c.TTL = binary.BigEndian.Uint32(fixed[4:])
	c.data = len(c.message) - len(fixed) + fixedLen
	c.end = c.data + int(binary.BigEndian.Uint16(fixed[8:]))
	c.Data = c.message[c.data:c.end]
	return true
}

// Owner is where the record's owner stands in the message.
func (c *Cursor) Owner() int { return c.start }

// Target is where the record's data stand in the message: the name that a CNAME leads to.
func (c *Cursor) Target() int { return c.data }

// Same reports whether the names at two places of the message are equal, whatever their letter case.
func (c *Cursor) Same(a, b int) bool { return sameName(c.message, a, b) }

// AppendLower appends the name at an offset of the message, uncompressed and in lower case, as a Name is.
func (c *Cursor) AppendLower(out []byte, at int) []byte {
	for {
		at = follow(c.message, at)
		n := int(c.message[at])
		for _, b := range c.message[at : at+1+n] {
			out = append(out, lower(b)) // length bytes are below 'A'
		}
		if n == 0 {
			return out
		}
		at += 1 + n
	}
}

// behindName is the offset behind the name at an offset of a well-formed message.
func behindName(message []byte, at int) int {
	for {
		switch n := int(message[at]); {
		case n == 0:
			return at + 1
		case n >= 0xC0:
			return at + 2
		default:
			at += n + 1
		}
	}
}

// sameName compares two names of a well-formed message, label by label.
func sameName(message []byte, a, b int) bool {
	for {
		a, b = follow(message, a), follow(message, b)
		if a == b {
			return true
		}
		n := int(message[a])
		if n != int(message[b]) {
			return false
		}
		if n == 0 {
			return true
		}
		if !equalFold(message[a+1:a+1+n], message[b+1:b+1+n]) {
			return false
		}
		a, b = a+1+n, b+1+n
	}
}

// follow goes where the pointers at an offset lead: to a label or to the root.
func follow(message []byte, at int) int {
	for message[at] >= 0xC0 {
		at = int(message[at]&0x3F)<<8 | int(message[at+1])
	}
	return at
}

// equalFold compares two texts of one length but for the letter case of ASCII.
func equalFold(a, b []byte) bool {
	for i, c := range a {
		if c != b[i] && lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}
