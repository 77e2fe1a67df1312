package message

// NameUnder appends an uncompressed name to the data of the record; what it shares at its end with the name at an offset of
// this message, letter case and all, becomes a pointer to that (RFC 1035 section 4.1.4).
func (r *Reply) NameUnder(wire []byte, at int) {
	have := r.nameLen(at)
	i := 0
	for wire[i] != 0 {
		for have > len(wire)-i {
			label := int(r.buf[r.follow(at)]) + 1
			at, have = r.next(at), have-label
		}
		if have == len(wire)-i && r.spells(at, wire[i:]) {
			break
		}
		i += int(wire[i]) + 1
	}
	r.buf = append(r.buf, wire[:i]...)
	if wire[i] == 0 {
		r.buf = append(r.buf, 0)
		return
	}
	r.Name(at)
}

// RecordUnder is Record for an owner that is written as NameUnder writes a name.
func (r *Reply) RecordUnder(section Section, wire []byte, at int, typ Type, ttl uint32) {
	r.section, r.start = section, len(r.buf)
	r.NameUnder(wire, at)
	r.fixed(typ, ttl)
}

// Skip is the offset of what the name at an offset is without its first labels.
func (r *Reply) Skip(at, labels int) int {
	for range labels {
		at = r.next(at)
	}
	return r.follow(at)
}

// follow is where the label at an offset stands, behind any pointers.
func (r *Reply) follow(at int) int {
	for r.buf[at] >= 0xC0 {
		at = int(r.buf[at]&0x3F)<<8 | int(r.buf[at+1])
	}
	return at
}

// next is the offset behind the label at an offset.
func (r *Reply) next(at int) int {
	at = r.follow(at)
	return at + int(r.buf[at]) + 1
}

// spells reports whether the name at an offset is the uncompressed one, letter case and all.
func (r *Reply) spells(at int, wire []byte) bool {
	for {
		at = r.follow(at)
		n := int(r.buf[at]) + 1
		if n > len(wire) || string(r.buf[at:at+n]) != string(wire[:n]) {
			return false
		}
		if n == 1 {
			return true
		}
		at, wire = at+n, wire[n:]
	}
}
