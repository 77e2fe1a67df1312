package message

import (
	"encoding/binary"
	"iter"
	"slices"
)

// The EDNS options that have a form which can be wrong.
const (
	optionLLQ       = 1
	optionLease     = 2
	OptionNSID      = 3 // name server identifier (RFC 5001)
	OptionSubnet    = 8 // client subnet (RFC 7871)
	optionExpire    = 9
	optionKeepalive = 11
	OptionError     = 15 // Extended DNS Error (RFC 8914)
	optionReporting = 18
	optionVersion   = 19
)

// EndToEnd reports whether a forwarder passes an option on, from the client to the next server and back. The others that
// have a meaning so far are about the two ends of one connection; whoever makes up options of his own wants them passed.
func EndToEnd(code uint16) bool { return code == OptionSubnet || code > optionVersion }

// Option is the data of the request's first option of the code, if it has one.
func (e *EDNS) Option(code uint16) (data []byte, ok bool) {
	for c, data := range eachOption(e.Options) {
		if c == code {
			return data, true
		}
	}
	return nil, false
}

// Drop takes all options of the code out of the request. Query.Change has to come before.
func (e *EDNS) Drop(code uint16) {
	e.Options = dropOption(e.Options, code)
	e.added = slices.DeleteFunc(e.added, func(c uint16) bool { return c == code })
}

// Add adds an option to the request, and has a forwarder pass it on, whatever it is. Query.Change has to come before.
func (e *EDNS) Add(code uint16, data []byte) {
	e.Options = appendOption(e.Options[:len(e.Options):len(e.Options)], code, data)
	e.added = append(e.added, code)
}

// dropOption is a copy of well-formed options without those of the code.
func dropOption(options []byte, code uint16) []byte {
	var kept []byte
	for c, data := range eachOption(options) {
		if c != code {
			kept = appendOption(kept, c, data)
		}
	}
	return kept
}

// EndToEnd appends the options of the request that a forwarder passes on, in wire form.
func (e *EDNS) EndToEnd(out []byte) []byte {
	for code, data := range eachOption(e.Options) {
		if EndToEnd(code) || slices.Contains(e.added, code) {
			out = appendOption(out, code, data)
		}
	}
	return out
}

// eachOption goes through well-formed options.
func eachOption(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) > 0 {
			code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
			if !yield(code, b[4:4+n]) {
				return
			}
			b = b[4+n:]
		}
	}
}

// appendOption appends an option in wire form.
func appendOption(out []byte, code uint16, data []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, code)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	return append(out, data...)
}

// validOptions reports whether the data of an OPT record is a list of well-formed options (RFC 6891 section 6.1.2).
func validOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n || !validOption(code, b[4:4+n]) {
			return false
		}
		b = b[4+n:]
	}
	return true
}

// validOption knows the fixed sizes of the options that have one; the rest is opaque.
func validOption(code uint16, data []byte) bool {
	switch code {
	case optionLLQ:
		return len(data) >= 18
	case optionLease:
		return len(data) == 4 || len(data) == 8
	case OptionSubnet:
		return validSubnet(data)
	case optionExpire:
		return len(data) == 0 || len(data) >= 4
	case optionKeepalive:
		return len(data) == 0 || len(data) == 2
	case OptionError, optionVersion:
		return len(data) >= 2
	case optionReporting:
		_, ok := skipName(data, 0)
		return ok
	}
	return true
}

// validSubnet checks a Client Subnet option's family and prefix lengths (RFC 7871 section 6).
func validSubnet(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	source, scope := data[2], data[3]
	switch binary.BigEndian.Uint16(data) {
	case 0:
		return source == 0
	case 1:
		return source <= 32 && scope <= 32
	case 2:
		return source <= 128 && scope <= 128
	}
	return false
}
