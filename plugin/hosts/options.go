package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what a hosts directive says. Parse fills in the defaults.
type Options struct {
	Path        string        // the hosts file; default /etc/hosts
	Zones       config.Zones  // what it answers; default: the zones of its server block
	Inline      []string      // the lines of the Corefile that are hosts lines; default none
	TTL         uint32        // seconds, 1 to 65535; default 3600
	Reload      time.Duration // how often the file is looked at; 0 is once, at the start; default 5 s
	NoReverse   bool          // addresses have no PTR records (no_reverse)
	Fallthrough config.Zones  // names in these go on to the next directive where they do not exist; default none
	Unsupported bool          // and so do types other than A, AAAA and PTR, also at names that exist (fallthrough_unsupported)

	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells directives from each other that do not mean the same. It is empty for one whose file is read at the start
// only, which may mean something else each time.
func (o Options) Meaning() string {
	if o.Reload == 0 {
		return ""
	}
	o.Warnings = nil
	return fmt.Sprintf("%#v", o)
}

const (
	defaultPath   = "/etc/hosts"
	defaultTTL    = 3600
	maxTTL        = 65535
	defaultReload = 5 * time.Second
)

// Parse reads the hosts directive of a block:
//
//	hosts [FILE [ZONES...]] {
//	    ADDRESS NAME...
//	    ttl SECONDS
//	    no_reverse
//	    reload DURATION
//	    fallthrough [ZONES...]
//	    fallthrough_unsupported
//	}
//
// As in CoreDNS each line that is none of its options is a line of hosts, as long as no fallthrough stands before it.
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	o := Options{Path: defaultPath, TTL: defaultTTL, Reload: defaultReload}
	c := d.Dispenser()
	c.Next()
	args := c.RemainingArgs()
	if len(args) > 0 {
		o.Path, args = args[0], args[1:]
		if err := o.look(d.Pos); err != nil {
			return o, c.Errf("unable to access hosts file '%s': %v", o.Path, err)
		}
	}
	var dropped []string
	o.Zones, dropped = block.ZonesOr(args)
	o.Warnings = append(o.Warnings, d.Pos.LeftOut(dropped)...)
	for c.NextBlock() {
		if err := o.option(c); err != nil {
			return o, err
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	if o.Unsupported && len(o.Fallthrough) == 0 {
		return o, c.Err("fallthrough_unsupported requires fallthrough")
	}
	return o, nil
}

// look warns of a file that is not there or cannot be one; it may be later.
func (o *Options) look(pos config.Pos) error {
	info, err := os.Stat(o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.Warnings = append(o.Warnings, pos.Warningf("File does not exist: %s", o.Path))
	case err != nil:
		return err
	case info.IsDir():
		o.Warnings = append(o.Warnings, pos.Warningf("Hosts file %q is a directory", o.Path))
	}
	return nil
}

// option reads one line of the block.
func (o *Options) option(c *caddyfile.Dispenser) error {
	pos, name, args := config.At(c), c.Val(), c.RemainingArgs()
	switch name {
	case "fallthrough":
		zones, dropped := config.ParseFallthrough(args)
		o.Fallthrough = zones
		o.Warnings = append(o.Warnings, pos.LeftOut(dropped)...)
	case "fallthrough_unsupported":
		if len(args) > 0 {
			return c.ArgErr()
		}
		o.Unsupported = true
	case "no_reverse":
		o.NoReverse = true
	case "ttl":
		return o.ttl(c, args)
	case "reload":
		return o.reload(c, args)
	default:
		if len(o.Fallthrough) > 0 {
			return c.Errf("unknown property '%s'", name)
		}
		if !parseAddr([]byte(name)).IsValid() {
			o.Warnings = append(o.Warnings, pos.Warningf("%q is neither an option nor an address, the line has no effect%s", name, config.DidYouMean(name, Words())))
		}
		o.Inline = append(o.Inline, strings.Join(append([]string{name}, args...), " "))
	}
	return nil
}

func (o *Options) ttl(c *caddyfile.Dispenser, args []string) error {
	if len(args) == 0 {
		return c.Errf("ttl needs a time in second")
	}
	ttl, err := strconv.Atoi(args[0])
	if err != nil {
		return c.Errf("ttl needs a number of second")
	}
	if ttl <= 0 || ttl > maxTTL {
		return c.Errf("ttl provided is invalid")
	}
	o.TTL = uint32(ttl)
	return nil
}

func (o *Options) reload(c *caddyfile.Dispenser, args []string) error {
	if len(args) != 1 {
		return c.Errf("reload needs a duration (zero seconds to disable)")
	}
	reload, err := time.ParseDuration(args[0])
	if err != nil {
		return c.Errf("invalid duration for reload '%s'", args[0])
	}
	if reload < 0 {
		return c.Errf("invalid negative duration for reload '%s'", args[0])
	}
	o.Reload = reload
	return nil
}
