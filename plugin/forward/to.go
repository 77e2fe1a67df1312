package forward

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
)

// To is where to forward: to a server, to those that a file names, or to those that a host name has.
type To struct {
	Addr     netip.AddrPort    // of a server
	Protocol upstream.Protocol // of a server or a host
	// ServerName is what the certificate of this server or host has to be for.
	ServerName string
	File       string // in the form of resolv.conf(5); its servers speak plain DNS
	Host       string // a name without addresses so far
	Port       uint16 // of a host
}

// ports are those that an upstream without one has.
var ports = map[upstream.Protocol]uint16{upstream.Plain: 53, upstream.TLS: 853, upstream.HTTPS: 443}

// parseTo reads the arguments that say where to forward. An empty file says nothing, but there has to be something.
func (o *Options) parseTo(c *caddyfile.Dispenser, args []string) error {
	found := 0
	for _, arg := range args {
		if scheme, rest := relay.SplitScheme(arg); scheme == "https" && strings.Contains(rest, "/") {
			return fmt.Errorf("paths are not allowed in HTTPS upstream addresses (the /dns-query path is used by default): %s", arg)
		}
	}
	for _, arg := range args {
		to, err := parseTo(c, arg)
		if err != nil {
			return err
		}
		if to.ServerName != "" && o.TLSServerName != "" {
			return fmt.Errorf("both forward ('%s') and proxy level ('%s') TLS servernames are set for upstream proxy '%s'", o.TLSServerName, to.ServerName, arg)
		}
		o.To = append(o.To, to)
		if to.File == "" {
			found++
			continue
		}
		servers, err := relay.ReadResolvConf(to.File)
		if err != nil {
			return err
		}
		found += len(servers)
	}
	switch {
	case found == 0:
		return errors.New("no valid upstream addresses found")
	case found > maxTo:
		return fmt.Errorf("more than %d TOs configured: %d", maxTo, found)
	}
	return nil
}

// parseTo reads [SCHEME://]ADDRESS[%SERVERNAME][:PORT], a path, or [SCHEME://]HOST[:PORT].
func parseTo(c *caddyfile.Dispenser, arg string) (To, error) {
	scheme, rest := relay.SplitScheme(arg)
	to := To{Protocol: upstream.Protocol(scheme)}
	port, known := ports[to.Protocol]
	switch {
	case rest == "":
		return to, fmt.Errorf("invalid address: %q", arg)
	case scheme == "quic":
		return to, c.Errf("%s: forwarding over quic:// is not supported by Waypost yet: use tls:// or https://", arg)
	case !known:
		return to, fmt.Errorf("'%s' is not supported as a destination protocol in forward: %s", scheme, arg)
	}
	host, name, port, err := splitTo(rest, port)
	if err != nil {
		return to, fmt.Errorf("invalid address: %q: %w", arg, err)
	}
	if to.Protocol == upstream.Plain && name != "" { // it is the interface of a link-local address
		host, name = host+"%"+name, ""
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		to.Addr, to.ServerName = netip.AddrPortFrom(addr, port), name
		return to, nil
	}
	if _, err := os.Stat(rest); err == nil {
		return To{File: rest}, nil
	}
	if strings.Contains(rest, "/") {
		return to, fmt.Errorf("not an IP address or file %q: failed to open file: no such file", rest)
	}
	if _, ok := dns.IsDomainName(host); !ok || host == "" {
		return to, fmt.Errorf("not an IP address, file, or valid domain: %q", arg)
	}
	to.Host, to.Port, to.ServerName = host, port, name
	return to, nil
}

// splitTo takes the parts of HOST[%NAME][:PORT] or [HOST%NAME]:PORT apart. An IPv6 address without a port needs no
// brackets.
func splitTo(text string, port uint16) (host, name string, _ uint16, err error) {
	host = text
	if h, p, e := net.SplitHostPort(text); e == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return "", "", 0, fmt.Errorf("port %q is not a number from 0 to 65535", p)
		}
		host, port = h, uint16(n)
	}
	host = strings.Trim(host, "[]")
	if i := strings.LastIndexByte(host, '%'); i >= 0 {
		host, name = host[:i], host[i+1:]
	}
	return host, name, port, nil
}
