package relay

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// maxResolvConf is how much of a file in resolv.conf's form is read, in bytes.
const maxResolvConf = 1 << 20

// ReadResolvConf returns the servers that a file names.
func ReadResolvConf(path string) ([]netip.AddrPort, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the servers of %s: %w", path, err)
	}
	if !info.Mode().IsRegular() { // a pipe or a device may never end
		return nil, fmt.Errorf("read the servers of %s: not a plain file", path)
	}
	if info.Size() > maxResolvConf {
		return nil, fmt.Errorf("read the servers of %s: it has more than %d bytes", path, maxResolvConf)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the servers of %s: %w", path, err)
	}
	return parseResolvConf(text), nil
}

// parseResolvConf finds the servers in the text of a file like resolv.conf(5): lines "nameserver ADDRESS". Others, and
// addresses that are none, do not matter, as for the C library.
func parseResolvConf(text []byte) []netip.AddrPort {
	var servers []netip.AddrPort
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxResolvConf+1)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53))
		}
	}
	return servers
}
