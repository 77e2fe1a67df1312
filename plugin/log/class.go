package log

import (
	"encoding/binary"

	"github.com/waypost/waypost/message"
)

// classify says which of the classes a reply is of, as CoreDNS counts them: a zone transfer is an error, and an empty
// NOERROR without an SOA record a success.
func classify(q *message.Query, r *message.Reply) Classes {
	if q.Type == message.TypeAXFR || q.Type == message.TypeIXFR {
		return Error
	}
	answered := r.Count(message.Answer) > 0
	switch r.Rcode {
	case message.NoError:
		if !answered && hasSOA(r) {
			return Denial
		}
		return Success
	case message.NXDomain:
		if !answered {
			return Denial
		}
	}
	return Error
}

// hasSOA reports whether there is an SOA record in the authority section of a reply without answers.
func hasSOA(r *message.Reply) bool {
	records := r.Records()
	for range r.Count(message.Authority) {
		fixed := ownerEnd(records)
		if fixed+10 > len(records) {
			return false
		}
		if message.Type(binary.BigEndian.Uint16(records[fixed:])) == message.TypeSOA {
			return true
		}
		data := fixed + 10 + int(binary.BigEndian.Uint16(records[fixed+8:]))
		if data > len(records) {
			return false
		}
		records = records[data:]
	}
	return false
}

// ownerEnd is the offset behind the owner name that a record begins with: after its root label or first pointer.
func ownerEnd(record []byte) int {
	at := 0
	for at < len(record) && record[at] != 0 {
		if record[at] >= 0xC0 {
			return at + 2
		}
		at += int(record[at]) + 1
	}
	return at + 1
}
