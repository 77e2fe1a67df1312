package grpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/plugin/tlsfiles"
)

// Options are what a grpc directive says. Parse fills in the defaults.
type Options struct {
	From string // the zone whose names are passed on
	// To are the servers, 1 to 15: "10.0.0.1:53", or "unix:///run/dns.sock" for a socket of this host.
	To []string
	// Except are zones below From whose names are not passed on. Default: none.
	Except []string

	TLSFiles      []string     // tls: the files that TLS was read from
	TLS           *tls.Config  // tls, tls_servername: how to speak TLS; default nil, not at all
	TLSServerName string       // what certificates have to be for; default the address
	Policy        relay.Policy // default relay.Random
	Fallthrough   config.Zones // names in these go on to the next directive where they do not exist, or nobody replies; default none

	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells directives from each other that do not mean the same, together with what is in TLSFiles.
func (o Options) Meaning() string {
	withTLS := o.TLS != nil
	o.TLS, o.Warnings = nil, nil // which say nothing of how it works
	return fmt.Sprintf("%#v %t", o, withTLS)
}

const (
	maxTo = 15
	port  = 53        // of a server without one
	unix  = "unix://" // before the path of a socket
)

// Parse reads the grpc directive of a block:
//
//	grpc FROM TO... {
//	    except ZONES...
//	    tls [CERT KEY] [CA]
//	    tls_servername NAME
//	    policy random|round_robin|sequential
//	    fallthrough [ZONES...]
//	}
//
// Errors are in CoreDNS's words, with file and line where CoreDNS has them. It reads the files that it names.
func Parse(d *config.Directive) (Options, error) {
	c := d.Dispenser()
	c.Next()
	o, err := parse(c)
	if err == nil && c.Next() {
		err = config.ErrOnce
	}
	if err == nil && len(o.To) > maxTo {
		err = fmt.Errorf("more than %d TOs configured: %d", maxTo, len(o.To))
	}
	return o, err
}

func parse(c *caddyfile.Dispenser) (o Options, err error) {
	var to []string
	if o.From, to, o.Warnings, err = relay.ParseHead(c); err != nil {
		return o, err
	}
	if o.To, err = parseTo(to); err != nil {
		return o, err
	}
	for c.NextBlock() {
		if err := o.option(c); err != nil {
			return o, err
		}
	}
	if o.TLSServerName != "" {
		if o.TLS == nil {
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		o.TLS.ServerName = o.TLSServerName
	}
	return o, nil
}

// option reads one line of the block.
func (o *Options) option(c *caddyfile.Dispenser) (err error) {
	pos, name, args := config.At(c), c.Val(), c.RemainingArgs()
	var dropped []string
	switch name {
	case "except":
		if len(args) == 0 {
			return c.ArgErr()
		}
		var zones config.Zones
		zones, dropped = config.ParseZones(args)
		o.Except = append(o.Except, zones...)
	case "tls":
		if len(args) > 3 {
			return c.ArgErr()
		}
		o.TLSFiles = args
		o.TLS, err = tlsfiles.Load(args)
	case "tls_servername", "policy":
		return o.word(c, name, args)
	case "fallthrough":
		o.Fallthrough, dropped = config.ParseFallthrough(args)
	default:
		return c.Errf("unknown property '%s'", name)
	}
	o.Warnings = append(o.Warnings, pos.LeftOut(dropped)...)
	return err
}

// word reads an option that has one argument.
func (o *Options) word(c *caddyfile.Dispenser, name string, args []string) (err error) {
	switch {
	case len(args) == 0:
		return c.ArgErr()
	case name == "policy":
		o.Policy, err = relay.ParsePolicy(c, args[0])
	default:
		o.TLSServerName = args[0]
	}
	if err == nil && len(args) > 1 { // CoreDNS takes it for the next option
		err = c.Errf("unknown property '%s'", args[1])
	}
	return err
}

// parseTo reads the servers: ADDRESS[:PORT], unix://PATH, or the name of a file like resolv.conf(5).
func parseTo(args []string) (to []string, err error) {
	for _, arg := range args {
		scheme, rest := relay.SplitScheme(arg)
		switch {
		case rest == "", scheme == "unix" && !filepath.IsAbs(rest):
			return to, fmt.Errorf("invalid address: %q", arg)
		case scheme == "unix":
			to = append(to, unix+rest)
			continue
		case scheme != "dns" && scheme != "grpc":
			return to, fmt.Errorf("'%s' is not supported as a destination protocol in grpc: %s: write the address alone, and the option tls where TLS is spoken", scheme, arg)
		}
		if addr, err := relay.ParseAddress(rest, port); err == nil {
			to = append(to, addr.String())
			continue
		}
		if _, err := os.Stat(rest); errors.Is(err, os.ErrNotExist) {
			return to, fmt.Errorf("not an IP address or file %q: failed to open file: no such file", rest)
		}
		servers, err := relay.ReadResolvConf(rest)
		if err != nil {
			return to, err
		}
		for _, addr := range servers {
			to = append(to, addr.String())
		}
	}
	if len(to) == 0 {
		return to, errors.New("no nameservers found")
	}
	return to, nil
}
