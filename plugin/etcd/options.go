package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/tlsfiles"
)

// Options are what an etcd directive says. Parse fills in the defaults.
type Options struct {
	Zones       config.Zones // the zones it answers; default: those of its server block
	Fallthrough config.Zones // names in these go on to the next directive where they do not exist; default none

	Path      string      // what keys begin with; default skydns
	Endpoints []string    // where etcd is; default http://localhost:2379
	Username  string      // credentials; default none, as where one of the two is empty
	Password  string      // the same
	TLSFiles  []string    // tls: the files that TLS was read from
	TLS       *tls.Config // tls: the authorities to trust, and the own certificate; default nil for no tls option

	// The TTL of a record with a lease is what is left of that, within these seconds; 0 is the default: 30 and 86400.
	MinLease, MaxLease uint32
	// NoApexFallback says that a zone's own addresses are those below apex.dns of the zone alone, not all of the zone's
	// where that has none.
	NoApexFallback bool

	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells directives from each other that do not mean the same, together with what is in TLSFiles.
func (o Options) Meaning() string {
	withTLS := o.TLS != nil
	o.TLS, o.Warnings = nil, nil
	return fmt.Sprintf("%#v %t", o, withTLS)
}

// Defaults, as CoreDNS has them.
const (
	defaultPath     = "skydns"
	defaultEndpoint = "http://localhost:2379"
	defaultMinLease = 30
	defaultMaxLease = 24 * 60 * 60
)

// Parse reads the etcd directive of a block:
//
//	etcd [ZONES...] {
//	    fallthrough [ZONES...]
//	    path PATH
//	    endpoint URL...
//	    credentials USERNAME PASSWORD
//	    tls [CERT KEY] [CA]
//	    no_apex_fallback
//	    min-lease-ttl DURATION
//	    max-lease-ttl DURATION
//	}
//
// Of several the first counts, as in CoreDNS.
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	o := Options{
		Path: defaultPath, Endpoints: []string{defaultEndpoint}, MinLease: defaultMinLease, MaxLease: defaultMaxLease,
		Warnings: d.OnlyFirst(),
	}
	c := d.Dispenser()
	c.Next()
	zones, dropped := block.ZonesOr(c.RemainingArgs())
	o.Zones = zones
	o.Warnings = append(o.Warnings, d.Pos.LeftOut(dropped)...)
	for c.NextBlock() {
		if err := o.option(c); err != nil {
			return o, err
		}
	}
	return o, nil
}

// option reads one line of the block. What stands behind the last argument of an option that takes just so many is read as
// the next one.
func (o *Options) option(c *caddyfile.Dispenser) error {
	switch name := c.Val(); name {
	case "stubzones", "debug": // options of earlier releases
	case "upstream": // another one
		c.RemainingArgs()
	case "fallthrough":
		pos := config.At(c)
		zones, dropped := config.ParseFallthrough(c.RemainingArgs())
		o.Fallthrough = zones
		o.Warnings = append(o.Warnings, pos.LeftOut(dropped)...)
	case "no_apex_fallback":
		if len(c.RemainingArgs()) > 0 {
			return c.ArgErr()
		}
		o.NoApexFallback = true
	case "path":
		if !c.NextArg() {
			return c.ArgErr()
		}
		o.Path = c.Val()
	case "endpoint":
		if o.Endpoints = c.RemainingArgs(); len(o.Endpoints) == 0 {
			return c.ArgErr()
		}
	case "credentials":
		return o.credentials(c)
	case "tls":
		return o.tls(c.RemainingArgs())
	case "min-lease-ttl":
		return parseLease(c, name, &o.MinLease)
	case "max-lease-ttl":
		return parseLease(c, name, &o.MaxLease)
	default:
		return c.Errf("unknown property '%s'", name)
	}
	return nil
}

func (o *Options) credentials(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	switch len(args) {
	case 0:
		return c.ArgErr()
	case 2:
		o.Username, o.Password = args[0], args[1]
		return nil
	}
	return c.Errf("credentials requires 2 arguments, username and password")
}

func (o *Options) tls(files []string) error {
	if len(files) > 3 {
		return fmt.Errorf("maximum of three arguments allowed for TLS config, found %d", len(files))
	}
	var err error
	o.TLSFiles = files
	o.TLS, err = tlsfiles.Load(files)
	return err
}

// parseLease reads a bound of TTLs: a duration, or a number of seconds.
func parseLease(c *caddyfile.Dispenser, name string, to *uint32) error {
	if !c.NextArg() {
		return c.ArgErr()
	}
	seconds, err := parseSeconds(strings.TrimSpace(c.Val()))
	if err != nil {
		return c.Errf("invalid %s value: %v", name, err)
	}
	*to = seconds
	return nil
}

func parseSeconds(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errors.New("invalid TTL format, use format like '30', '30s', '5m', '1h', or '2h30m'")
	case d < 0:
		return 0, errors.New("TTL must be non-negative")
	case d.Seconds() > math.MaxUint32:
		return 0, fmt.Errorf("TTL too large, maximum is %d seconds", uint32(math.MaxUint32))
	}
	return uint32(d / time.Second), nil
}
