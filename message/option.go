package message

import "encoding/binary"

// The EDNS options that have a form which can be wrong.
const (
	optionLLQ       = 1
	optionLease     = 2
	OptionNSID      = 3 // name server identifier (RFC 5001)
	optionSubnet    = 8
	optionExpire    = 9
	optionKeepalive = 11
	optionError     = 15
	optionReporting = 18
	optionVersion   = 19
)

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
	case optionSubnet:
		return validSubnet(data)
	case optionExpire:
		return len(data) == 0 || len(data) >= 4
	case optionKeepalive:
		return len(data) == 0 || len(data) == 2
	case optionError, optionVersion:
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
