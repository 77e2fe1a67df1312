package message

// foreignName is a name read out of a foreign message.
type foreignName struct {
	wire   [MaxNameLen]byte
	length int
	starts [maxLabels]uint8  // where each label starts in wire; the last one is the root
	hashes [maxLabels]uint32 // of the name from that label on
	labels int               // without the root
}

// knownName is a name that stands in the message being written, where a pointer reaches it.
type knownName struct {
	hash uint32
	at   uint16
}

// knownNames is how many names, with each of their parents, are kept to be pointed to.
const knownNames = 64

// read reads the name at an offset and returns where it ends there. A pointer leads backwards and not into the header.
func (n *foreignName) read(message []byte, at int) (end int, ok bool) {
	n.length, n.labels = 0, 0
	before := at // what a pointer has to lead to a place before
	for at < len(message) {
		c := int(message[at])
		switch {
		case c == 0:
			n.starts[n.labels] = uint8(n.length)
			n.wire[n.length] = 0
			n.length++
			return max(end, at+1), true
		case c < 0x40:
			if at+1+c > len(message) || n.length+1+c >= MaxNameLen {
				return 0, false
			}
			n.starts[n.labels] = uint8(n.length)
			n.labels++
			n.length += copy(n.wire[n.length:], message[at:at+1+c])
			at += 1 + c
		case c >= 0xC0 && at+1 < len(message):
			if end == 0 {
				end = at + 2
			}
			at = (c&0x3F)<<8 | int(message[at+1])
			if at < HeaderLen || at >= before {
				return 0, false
			}
			before = at
		default:
			return 0, false
		}
	}
	return 0, false
}

// hash computes the hashes, by FNV-1a from the right.
func (n *foreignName) hash() {
	h := uint32(2166136261)
	for i := n.labels - 1; i >= 0; i-- {
		at := int(n.starts[i])
		for _, c := range n.wire[at : at+1+int(n.wire[at])] {
			h = (h ^ uint32(lower(c))) * 16777619
		}
		n.hashes[i] = h
	}
}

// know starts the list of known names with the question's.
func (p *Packer) know() {
	p.knowing, p.asked = 0, 0
	if _, ok := p.name.read(p.to, HeaderLen); !ok {
		return
	}
	p.name.hash()
	for i := range min(p.name.labels, knownNames) {
		p.known[i] = knownName{p.name.hashes[i], uint16(HeaderLen + int(p.name.starts[i]))}
	}
	p.knowing = min(p.name.labels, knownNames)
	p.asked = p.knowing
}

// copyName takes over the name at an offset of the foreign message, and returns where it ends there.
func (p *Packer) copyName(at int, compressed bool) (end int, err error) {
	n := &p.name
	end, ok := n.read(p.from, at)
	if !ok {
		return 0, errName
	}
	before := len(p.to)
	if !compressed {
		if p.Datagrams {
			n.unmix(p.to[HeaderLen : p.question-4])
		}
		p.to = append(p.to, n.wire[:n.length]...)
		n.hash()
		shared, _ := p.find()
		p.learn(before, shared)
		return end, nil
	}
	n.hash()
	shared, pointer := p.find()
	p.to = append(p.to, n.wire[:n.starts[shared]]...)
	if shared < n.labels {
		p.to = append(p.to, 0xC0|byte(pointer>>8), byte(pointer))
	} else {
		p.to = append(p.to, 0)
	}
	p.learn(before, shared)
	p.saved += n.length - (len(p.to) - before)
	return end, nil
}

// unmix makes the end of the name lower case that is byte by byte an end of the question's name.
func (n *foreignName) unmix(question []byte) {
	for at := 0; question[at] != 0; at += 1 + int(question[at]) {
		end := question[at:]
		from := n.length - len(end)
		if from < 0 || !n.starting(from) || string(n.wire[from:n.length]) != string(end) {
			continue
		}
		for i := from; i < n.length; i++ {
			n.wire[i] = lower(n.wire[i])
		}
		return
	}
}

// starting reports whether a label starts at an offset of the name.
func (n *foreignName) starting(offset int) bool {
	for _, start := range n.starts[:n.labels] {
		if int(start) == offset {
			return true
		}
	}
	return false
}

// find looks for the longest end of the name that is known already: from label shared on it stands at offset at. shared is
// the number of labels where none is.
func (p *Packer) find() (shared int, at uint16) {
	known := p.known[:p.knowing]
	if p.lone {
		known = known[:p.asked]
	}
	for i := range p.name.labels {
		for _, k := range known {
			if k.hash == p.name.hashes[i] && p.standsAt(int(k.at), int(p.name.starts[i])) {
				return i, k.at
			}
		}
	}
	return p.name.labels, 0
}

// standsAt compares the name at an offset of the message being written with the end of p.name that begins at start.
func (p *Packer) standsAt(at, start int) bool {
	for {
		at = follow(p.to, at)
		n := int(p.to[at])
		if n != int(p.name.wire[start]) {
			return false
		}
		if n == 0 {
			return true
		}
		if !equalFold(p.to[at+1:at+1+n], p.name.wire[start+1:start+1+n]) {
			return false
		}
		at, start = at+1+n, start+1+n
	}
}

// learn adds the first labels of the name, which has just been written at an offset, to the known ones.
func (p *Packer) learn(at, labels int) {
	if p.lone {
		return
	}
	for i := range labels {
		if p.knowing == knownNames || at+int(p.name.starts[i]) >= pointerReach {
			return
		}
		p.known[p.knowing] = knownName{p.name.hashes[i], uint16(at + int(p.name.starts[i]))}
		p.knowing++
	}
}
