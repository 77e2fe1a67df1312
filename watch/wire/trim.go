package wire

// Trim says which fields of a protobuf message nobody reads, so that decoding them can be spared: of an EndpointSlice as
// controllers write it they are two thirds. The zero value drops nothing.
type Trim struct {
	drop   uint64 // a bit for each field number below 64
	within map[uint64]*Trim
}

// Drop returns a Trim of the fields with these numbers, which are below 64.
func Drop(numbers ...uint64) *Trim {
	t := &Trim{within: map[uint64]*Trim{}}
	for _, n := range numbers {
		t.drop |= 1 << n
	}
	return t
}

// Within trims the messages in the field number too, and returns t.
func (t *Trim) Within(number uint64, inner *Trim) *Trim {
	t.within[number] = inner
	return t
}

// Append appends what is left of message to out. A message that is malformed is appended as it is from there on: whoever
// decodes it finds out.
func (t *Trim) Append(out, message []byte) []byte {
	for len(message) > 0 {
		f, rest, err := cutField(message)
		if err != nil {
			return append(out, message...)
		}
		whole := message[:len(message)-len(rest)]
		message = rest
		switch inner := t.within[f.number]; {
		case f.number < 64 && t.drop&(1<<f.number) != 0:
		case inner == nil || f.value == nil:
			out = append(out, whole...)
		default:
			out = inner.appendWithin(out, whole, f.value)
		}
	}
	return out
}

// appendWithin appends a field that is a message. What is left of it is no longer than it was: its length is written with
// as many bytes, of which protobuf lets the last say nothing.
func (t *Trim) appendWithin(out, whole, value []byte) []byte {
	out = append(out, whole[:len(whole)-len(value)]...)
	begin := len(out)
	out = t.Append(out, value)
	length := len(out) - begin
	_, tag, _ := cutVarint(whole)
	size := len(tag) - len(value)
	for i := range size {
		b := byte(length & 0x7f)
		if length >>= 7; i < size-1 {
			b |= 0x80
		}
		out[begin-size+i] = b
	}
	return out
}
