package upstream

import (
	"crypto/rand"
	"encoding/binary"
)

// random gives out numbers from the kernel's generator, which nobody can foretell; many are fetched at a time. It is not
// for concurrent use.
type random struct {
	numbers [512]byte
	used    int // of the numbers; 0 is that none have been fetched
}

func (r *random) uint16() uint16 {
	if r.used == 0 || r.used+2 > len(r.numbers) {
		rand.Read(r.numbers[:]) // it never returns an error
		r.used = 0
	}
	n := binary.BigEndian.Uint16(r.numbers[r.used:])
	r.used += 2
	return n
}

// id chooses an ID that none of the waiting questions has.
func (r *random) id(waiting []*pending) uint16 {
	for {
		if id := r.uint16(); byID(waiting, id) < 0 {
			return id
		}
	}
}

// mix puts each letter of a name in upper or lower case (draft-vixie-dnsext-dns0x20): whoever forges a reply has to guess
// which. It returns how many letters there are.
func (r *random) mix(name []byte) (letters int) {
	bits, left := uint16(0), 0
	for i, c := range name {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			continue
		}
		if left == 0 {
			bits, left = r.uint16(), 16
		}
		name[i] = c&^0x20 | byte(bits&1)<<5
		bits, left = bits>>1, left-1
		letters++
	}
	return letters
}
