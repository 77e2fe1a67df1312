package cache

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what a cache directive says. Parse fills in the defaults.
type Options struct {
	Zones   config.Zones // whose names are kept; default: those of the server block
	Success Class        // answers; default 10,000, 3600 s and 5 s
	Denial  Class        // names and data that do not exist, and failures; default 10,000, 1800 s and 5 s
	// ServFail is how long failures are kept, at most 5 minutes; 0 not at all. Default: 5 s.
	ServFail time.Duration
	Prefetch Prefetch
	Stale    Stale
	KeepTTL  bool // answers do not count down

	Warnings []config.Warning // what is legal and surely not meant
}

// Class says how one kind of replies is kept.
type Class struct {
	Capacity int          // replies
	Most     uint32       // seconds that a reply is kept at most
	Least    uint32       // seconds that it is kept at least, unless that is more than Most
	Except   config.Zones // whose replies of this kind are not kept; default none
}

// Prefetch says which replies are asked for again before they expire.
type Prefetch struct {
	Amount  int           // those that were asked for so often; default 0, none
	Gap     time.Duration // without a pause of this length or more; default 1 minute
	Percent int           // when so much of their time is left; default 10
}

// Stale says what becomes of replies that have expired (RFC 8767).
type Stale struct {
	// UpTo is for how long they are still given, if there is nothing better. Default: 0, not at all.
	UpTo time.Duration
	// Verify asks for a new one first, and has the client wait for that. Otherwise it is given the old one, and then the
	// new one is asked for.
	Verify bool
	// Timeout is how long the client waits at most; 0 is until there is no hope.
	Timeout time.Duration
	TTL     uint32        // that such replies have, in seconds; default 0
	Recheck time.Duration // until the next attempt, after a failed one; default 0
	// PreferPositive gives an old answer rather than a newer denial.
	PreferPositive bool
}

// Defaults, as CoreDNS has them.
const (
	defaultCapacity = 10000
	mostSuccess     = 3600
	mostDenial      = 1800
	leastTTL        = 5
	defaultStale    = time.Hour
	mostServFail    = 5 * time.Minute
	mostRecheck     = 5 * time.Minute
)

// Parse reads a cache directive of a block. Errors are in CoreDNS's words, with file and line where CoreDNS has them.
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	o := Options{
		Success:  Class{Capacity: defaultCapacity, Most: mostSuccess, Least: leastTTL},
		Denial:   Class{Capacity: defaultCapacity, Most: mostDenial, Least: leastTTL},
		ServFail: leastTTL * time.Second,
		Prefetch: Prefetch{Gap: time.Minute, Percent: 10},
	}
	c := d.Dispenser()
	for once := false; c.Next(); once = true {
		if once {
			return o, config.ErrOnce
		}
		if err := o.arguments(block, config.At(c), c.RemainingArgs()); err != nil {
			return o, err
		}
		stale, policy := false, false
		for c.NextBlock() {
			switch name := c.Val(); {
			case name == "serve_stale":
				stale = true
			case name == "serve_stale_policy" && policy:
				return o, errors.New("serve_stale_policy can only be specified once")
			case name == "serve_stale_policy":
				policy = true
			}
			if err := o.option(c); err != nil {
				return o, err
			}
		}
		if policy && !stale {
			return o, errors.New("serve_stale_policy requires serve_stale")
		}
	}
	return o, nil
}

// arguments reads what stands behind the name: a TTL, which is the most for both classes, and zones.
func (o *Options) arguments(block *config.Block, pos config.Pos, args []string) error {
	if len(args) > 0 {
		if ttl, err := strconv.Atoi(args[0]); err == nil {
			if ttl <= 0 {
				return fmt.Errorf("cache TTL can not be zero or negative: %d", ttl)
			}
			o.Success.Most, o.Denial.Most = seconds(ttl), seconds(ttl)
			args = args[1:]
		} else if _, err := time.ParseDuration(args[0]); err == nil {
			o.Warnings = append(o.Warnings, pos.Warningf("%q is taken for a zone: the TTL is a plain number of seconds", args[0]))
		}
	}
	var dropped []string
	o.Zones, dropped = block.ZonesOr(args)
	o.Warnings = append(o.Warnings, pos.LeftOut(dropped)...)
	return nil
}

// seconds is a number that fits into a TTL.
func seconds(n int) uint32 { return uint32(min(n, math.MaxInt32)) }

// option reads one line of the block.
func (o *Options) option(c *caddyfile.Dispenser) error {
	switch name := c.Val(); name {
	case "success":
		return o.Success.parse(c)
	case "denial":
		return o.Denial.parse(c)
	case "prefetch":
		return o.Prefetch.parse(c)
	case "serve_stale":
		return o.Stale.parse(c)
	case "serve_stale_policy":
		args := c.RemainingArgs()
		if len(args) != 1 {
			return c.ArgErr()
		}
		if strings.ToLower(args[0]) != "prefer_positive" {
			return fmt.Errorf("invalid serve_stale_policy: %s", args[0])
		}
		o.Stale.PreferPositive = true
		return nil
	case "servfail":
		return o.servfail(c)
	case "disable":
		return o.disable(c)
	case "keepttl":
		if len(c.RemainingArgs()) != 0 {
			return c.ArgErr()
		}
		o.KeepTTL = true
		return nil
	}
	return c.ArgErr()
}

// parse reads CAPACITY [TTL] [MINTTL].
func (l *Class) parse(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	var err error
	if l.Capacity, err = strconv.Atoi(args[0]); err != nil {
		return err
	}
	if len(args) > 1 {
		most, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if most <= 0 {
			return fmt.Errorf("cache TTL can not be zero or negative: %d", most)
		}
		l.Most = seconds(most)
	}
	if len(args) > 2 {
		least, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		if least < 0 {
			return fmt.Errorf("cache min TTL can not be negative: %d", least)
		}
		l.Least = seconds(least)
	}
	return nil
}

// parse reads AMOUNT [DURATION [PERCENTAGE%]].
func (p *Prefetch) parse(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	if len(args) == 0 || len(args) > 3 {
		return c.ArgErr()
	}
	var err error
	if p.Amount, err = strconv.Atoi(args[0]); err != nil {
		return err
	}
	if p.Amount < 0 {
		return fmt.Errorf("prefetch amount should be positive: %d", p.Amount)
	}
	if len(args) > 1 {
		if p.Gap, err = time.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	if len(args) < 3 {
		return nil
	}
	number, ok := strings.CutSuffix(args[2], "%")
	if !ok {
		return fmt.Errorf("last character of percentage should be `%%`, but is: %q", last(args[2]))
	}
	if p.Percent, err = strconv.Atoi(number); err != nil {
		return err
	}
	if p.Percent < 10 || p.Percent > 90 {
		return fmt.Errorf("percentage should fall in range [10, 90]: %d", p.Percent)
	}
	return nil
}

// last is the last byte of a text.
func last(text string) byte {
	if text == "" {
		return 0
	}
	return text[len(text)-1]
}

func (o *Options) servfail(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	if len(args) != 1 {
		return c.ArgErr()
	}
	d, err := time.ParseDuration(args[0])
	switch {
	case err != nil:
		return err
	case d < 0:
		return errors.New("invalid negative ttl for servfail")
	case d > mostServFail:
		return errors.New("caching SERVFAIL responses over 5 minutes is not permitted")
	}
	o.ServFail = d
	return nil
}

// disable reads success|denial [ZONES...]; without zones it is all of them.
func (o *Options) disable(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	zones := config.Zones{"."}
	if len(args) > 1 {
		var dropped []string
		if zones, dropped = config.ParseZones(args[1:]); len(dropped) > 0 {
			return fmt.Errorf("invalid disabled zone: %s", dropped[0])
		}
	}
	switch args[0] {
	case "success":
		o.Success.Except = zones
	case "denial":
		o.Denial.Except = zones
	default:
		return fmt.Errorf("cache type for disable must be %q or %q", "success", "denial")
	}
	return nil
}
