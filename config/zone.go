package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Zones is a list of zones: absolute names in lower case, in presentation format.
type Zones []string

// ParseZones reads a directive's list of zones, such as `cluster.local 10.0.0.0/8`: names are made absolute and
// lower-case, CIDRs become reverse zones, a scheme or a port is dropped. What is no zone is left out, as CoreDNS does,
// and returned for the directive to warn of.
func ParseZones(args []string) (zones Zones, dropped []string) {
	for _, arg := range args {
		_, text := splitScheme(arg)
		parsed, _, err := splitPort(text)
		if err != nil {
			dropped = append(dropped, arg)
		}
		zones = append(zones, parsed...)
	}
	return zones, dropped
}

// ZonesOr reads a directive's list of zones, or takes those of its block where it gives none.
func (b *Block) ZonesOr(args []string) (zones Zones, dropped []string) {
	if len(args) == 0 {
		return b.Zones(), nil
	}
	return ParseZones(args)
}

// ParseFallthrough reads the arguments of `fallthrough [ZONES...]`: the zones whose names may be passed on to the next
// directive. Without arguments that is every name. A directive without a fallthrough line has the nil list.
func ParseFallthrough(args []string) (zones Zones, dropped []string) {
	if len(args) == 0 {
		return Zones{"."}, nil
	}
	return ParseZones(args)
}

// Reverse reports whether zone lies below in-addr.arpa or ip6.arpa. Those two themselves do not count: CoreDNS takes
// them for forward zones, and `kubernetes in-addr.arpa` starts.
func Reverse(zone string) bool {
	return strings.HasSuffix(zone, ".in-addr.arpa.") || strings.HasSuffix(zone, ".ip6.arpa.")
}

var preferredSyntax = regexp.MustCompile(`^(([A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?)\.)+$`)

// ZoneWarning is the line to print at the start about a zone whose name is not of the preferred syntax (RFC 1035
// section 2.3.1), as one with an underscore; it is empty for all others, the root and the reverse zones.
func ZoneWarning(zone string) string {
	if zone == "." || Reverse(zone) || preferredSyntax.MatchString(zone) {
		return ""
	}
	return fmt.Sprintf("Warning: Domain %q does not follow RFC1035 preferred syntax", zone)
}

// normalize makes a name absolute and lower-case, and checks that it can be a name at all.
func normalize(text string) (string, error) {
	if len(text) > 255 {
		return "", fmt.Errorf("specified zone is too long: %d > 255", len(text))
	}
	name := []byte(text)
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	absolute, ok := qualify(string(name))
	if !ok {
		return "", fmt.Errorf("zone is not a valid domain name: %s", text)
	}
	return absolute, nil
}

// qualify adds the final dot where there is none, and reports whether the labels are 1 to 63 octets long and the name
// at most 255 (RFC 1035 section 2.3.4), counting an escape (\X, \DDD) as the one octet it stands for.
func qualify(name string) (string, bool) {
	if name == "." {
		return name, true
	}
	octets, label, absolute := 1, 0, false
	for i := 0; i < len(name); i++ {
		absolute = name[i] == '.'
		if absolute {
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		}
		if name[i] == '\\' {
			skip := escape(name[i+1:])
			if skip == 0 {
				return "", false
			}
			i += skip
		}
		if label++; label > 63 {
			return "", false
		}
		if octets++; label == 1 {
			octets++
		}
	}
	if !absolute {
		name += "."
	}
	return name, octets > 1 && octets <= 255
}

// escape is the number of bytes after a backslash that belong to it, 0 where it is broken: three digits are an octet's
// value, anything else is one byte to be taken as it is.
func escape(rest string) int {
	if len(rest) == 0 {
		return 0
	}
	if len(rest) < 3 || strings.Trim(rest[:3], "0123456789") != "" {
		return 1
	}
	if _, err := strconv.ParseUint(rest[:3], 10, 8); err != nil {
		return 0
	}
	return 3
}

// reverseZones are the zones whose names are the addresses of network. A zone cut can only lie between labels, which
// are octets for IPv4 and nibbles for IPv6; a mask between two cuts gives all zones at the next one.
func reverseZones(network *net.IPNet) []string {
	step, digits, base, apex := 8, octetLabels, 10, "in-addr.arpa."
	if len(network.IP) == net.IPv6len {
		step, digits, base, apex = 4, nibbleLabels, 16, "ip6.arpa."
	}
	ones, _ := network.Mask.Size()
	labels := digits(network.IP)[:(ones+step-1)/step]
	suffix := apex
	for _, l := range labels[:ones/step] {
		suffix = strconv.FormatInt(int64(l), base) + "." + suffix
	}
	if ones%step == 0 {
		return []string{suffix}
	}
	first := int(labels[len(labels)-1])
	zones := make([]string, 1<<(step-ones%step))
	for i := range zones {
		zones[i] = strconv.FormatInt(int64(first+i), base) + "." + suffix
	}
	return zones
}

func octetLabels(ip net.IP) []byte { return ip }

func nibbleLabels(ip net.IP) []byte {
	nibbles := make([]byte, 0, 2*len(ip))
	for _, b := range ip {
		nibbles = append(nibbles, b>>4, b&0xf)
	}
	return nibbles
}
