package message

import (
	"encoding/binary"
	"errors"
)

// Arrange writes the records of r in another order: for each section, order has where its records stand now (Cursor.Owner),
// each of them once. It returns an error, and leaves r as it is, where that makes the reply too long for any message.
func (p *Packer) Arrange(r *Reply, order *[3][]int) error {
	p.begin(r.buf, r.Question())
	for section, starts := range order {
		for _, at := range starts {
			if err := p.record(Section(section), recordAt(r.buf, at)); err != nil {
				return err
			}
		}
	}
	if p.counts != r.counts {
		return errOrder
	}
	r.buf = append(r.buf[:r.question], p.to[p.question:]...)
	r.saved, r.source = p.saved, nil
	return nil
}

// errOrder is returned for an order that has not all records.
var errOrder = errors.New("the order is not one of all records")

// recordAt reads where the record at an offset of a well-formed message stands.
func recordAt(message []byte, at int) foreignRecord {
	fixed := behindName(message, at)
	data := fixed + fixedLen
	return foreignRecord{
		owner: at, data: data, end: data + int(binary.BigEndian.Uint16(message[fixed+8:])),
		typ: Type(binary.BigEndian.Uint16(message[fixed:])), class: Class(binary.BigEndian.Uint16(message[fixed+2:])),
		ttl: binary.BigEndian.Uint32(message[fixed+4:]),
	}
}
