package loadbalance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/waypost/waypost/message"
)

// weights are what a weight file says: how often, beside the other addresses of a name, one of them comes first.
type weights map[message.Name]map[netip.Addr]uint8

// parseWeights reads the text of a weight file: names, each in a line of its own, and below a name its addresses, each with
// its weight, 1 to 255. What is said first of an address counts. A line that begins with # is a comment. The error names
// file and line.
func parseWeights(path string, text []byte) (weights, error) {
	w := weights{}
	var addresses map[netip.Addr]uint8 // of the name that was read last
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields, err := strings.Fields(line), error(nil)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) == 1:
			addresses, err = w.addresses(fields[0])
		case len(fields) == 2:
			err = addWeight(addresses, fields[0], fields[1])
		default:
			err = fmt.Errorf("could not parse weight line:%q", strings.TrimSpace(line))
		}
		if err != nil {
			return nil, fmt.Errorf("weight file %s:%d: %w", path, number, err)
		}
	}
	return w, nil
}

// addresses are those of a name. A word that can be no name is one that no record has.
func (w weights) addresses(text string) (map[netip.Addr]uint8, error) {
	if net.ParseIP(text) != nil {
		return nil, fmt.Errorf("wrong domain name:%q (maybe a missing weight value?)", text)
	}
	name, err := message.ParseName(text)
	if err != nil {
		return map[netip.Addr]uint8{}, nil
	}
	if w[name] == nil {
		w[name] = map[netip.Addr]uint8{}
	}
	return w[name], nil
}

// addWeight reads a line about an address. addresses are nil where no name stands before it.
func addWeight(addresses map[netip.Addr]uint8, address, weight string) error {
	addr, ok := netip.AddrFromSlice(net.ParseIP(address))
	if !ok {
		return fmt.Errorf("wrong IP address:%q", address)
	}
	n, err := strconv.ParseUint(weight, 10, 8)
	if err != nil || n == 0 {
		return fmt.Errorf("wrong weight value:%q", weight)
	}
	if addresses == nil {
		return errors.New("missing domain name")
	}
	if addr = addr.Unmap(); addresses[addr] == 0 {
		addresses[addr] = uint8(n)
	}
	return nil
}
