package config

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Key is one zone of a server block's header, with what it listens on.
type Key struct {
	Scheme Scheme
	Zone   string // absolute, in lower case, in presentation format
	Port   uint16
	Text   string // as it was written; the keys of one CIDR share it
	Pos    Pos
}

// Scheme is the transport of a listener, as written before "://".
type Scheme string

// The schemes a server block can have.
const (
	DNS    Scheme = "dns"
	TLS    Scheme = "tls"
	QUIC   Scheme = "quic"
	GRPC   Scheme = "grpc"
	HTTPS  Scheme = "https"
	HTTPS3 Scheme = "https3"
)

// schemes in the order they are looked for; unix is one for upstreams only.
var schemes = [...]Scheme{TLS, DNS, QUIC, GRPC, HTTPS3, HTTPS, "unix"}

// port is the default port; that of dns can be chosen.
func (s Scheme) port(dns uint16) (uint16, bool) {
	switch s {
	case DNS:
		return cmp.Or(dns, 53), true
	case TLS, QUIC:
		return 853, true
	case GRPC, HTTPS, HTTPS3:
		return 443, true
	}
	return 0, false
}

// String is the key as messages and metrics write it: "dns://example.org.:53".
func (k Key) String() string {
	return string(k.Scheme) + "://" + k.Zone + ":" + strconv.Itoa(int(k.Port))
}

// parseKey reads one entry of a header. A CIDR gives several keys where it does not end on an octet (IPv4) or a nibble
// (IPv6).
func parseKey(text string, pos Pos, port uint16) ([]Key, error) {
	scheme, rest := splitScheme(text)
	zones, written, err := splitPort(rest)
	if err != nil {
		return nil, fmt.Errorf("error inspecting server blocks: %w (%s)", err, pos)
	}
	number, known := scheme.port(port)
	if !known {
		return nil, pos.Errorf("a server block cannot listen on %s://, as in %q", scheme, text)
	}
	if written != "" {
		n, err := strconv.ParseUint(written, 10, 16)
		if err != nil {
			return nil, pos.Errorf("address %s: invalid port, as in %q", written, text)
		}
		number = uint16(n)
	}
	keys := make([]Key, len(zones))
	for i, zone := range zones {
		keys[i] = Key{Scheme: scheme, Zone: zone, Port: number, Text: text, Pos: pos}
	}
	return keys, nil
}

// splitScheme takes a known scheme off; without one it is dns.
func splitScheme(text string) (Scheme, string) {
	for _, s := range schemes {
		if rest, ok := strings.CutPrefix(text, string(s)+"://"); ok {
			return s, rest
		}
	}
	return DNS, text
}

// splitPort reads "zone", "zone:port", "CIDR" or "CIDR:port". What follows the last colon is a port if it is a number:
// names have no colons, and a CIDR always ends in its mask.
func splitPort(text string) (zones []string, port string, err error) {
	if strings.HasSuffix(text, ":") {
		return nil, "", fmt.Errorf("expecting data after last colon: %q", text)
	}
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 {
		if n, err := strconv.Atoi(text[colon+1:]); err == nil {
			text, port = text[:colon], strconv.Itoa(n)
		}
	}
	zone, err := normalize(text)
	if err != nil {
		return nil, "", err
	}
	_, network, err := net.ParseCIDR(text)
	if err != nil {
		return []string{zone}, port, nil
	}
	if text[0] == ':' || text[0] == '0' && strings.Contains(text, ":") {
		return nil, "", fmt.Errorf("invalid CIDR %s", text)
	}
	return reverseZones(network), port, nil
}
