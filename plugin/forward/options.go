package forward

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/plugin/tlsfiles"
)

// Options are what one line of forward, with its block, says. Parse fills in the defaults.
type Options struct {
	From string // the zone whose names are forwarded
	To   []To   // at least one
	// Except are zones below From whose names are not forwarded. Default: none.
	Except []string

	ForceTCP  bool // ask over TCP, however the client asked
	PreferUDP bool // ask over UDP, however the client asked, and over TCP again what comes truncated

	Policy relay.Policy
	// MaxFails is how many probes in a row fail before a server is out of use; 0 keeps it in use and sends no probes.
	// Default: 2.
	MaxFails uint32
	// MaxConnectAttempts is how often servers are asked for one question; 0 is as often as 5 seconds allow. Default: -1,
	// twice as often as there are servers.
	MaxConnectAttempts int
	HealthCheck        time.Duration // between the first probes; default 500 ms
	HealthNoRecurse    bool          // probes do not ask for recursion
	HealthDomain       message.Name  // what probes ask for; default the root

	TLSFiles      []string    // tls: the files that TLS was read from
	TLS           *tls.Config // tls: the authorities to trust, and the own certificate; default the system's, and none
	TLSServerName string      // what certificates have to be for; default the address
	DoHMethod     string      // http.MethodPost or http.MethodGet; default POST

	Expire       time.Duration // how long to keep connections that nobody uses, and UDP ports; default 10 s
	MaxAge       time.Duration // how long to keep connections at all; default 0, without a limit
	MaxIdleConns int           // how many idle connections to keep to each server; default 0, without a limit
	ReadTimeout  time.Duration // how long to wait for a reply; default 2 s
	Source       netip.Addr    // the address to send from; default as the kernel routes

	MaxConcurrent int64           // questions that wait at a time, beyond which they are refused; default 0, without a limit
	Next          []message.Rcode // replies that are left to the next forward
	NextOnNoData  bool            // so are replies without an answer
	Failover      []message.Rcode // replies after which the next server is asked
	FailFast      bool            // SERVFAIL at once while all servers are out of use
	Resolver      []string        // who is asked for the addresses of host names in To; default the system's

	Pos      config.Pos       // where the line stands
	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells lines of forward from each other that do not mean the same, together with what is in TLSFiles. It is empty
// where the line may mean something else each time: the addresses of host names are looked up at the start.
func (o Options) Meaning() string {
	for _, to := range o.To {
		if to.Host != "" {
			return ""
		}
	}
	withTLS := o.TLS != nil
	o.TLS, o.Warnings, o.Pos = nil, nil, config.Pos{} // which say nothing of how it works
	return fmt.Sprintf("%#v %t", o, withTLS)
}

// Defaults, as CoreDNS has them.
const (
	defaultMaxFails    = 2
	defaultHealthCheck = 500 * time.Millisecond
	defaultExpire      = 10 * time.Second
	defaultReadTimeout = 2 * time.Second
	attemptsPerServer  = 2
	maxTo              = 15
)

// Parse reads a forward directive, one Options for each of its lines. Errors are in CoreDNS's words, with file and line
// where CoreDNS has them. It reads the files that it names.
func Parse(d *config.Directive) ([]Options, error) {
	var all []Options
	c := d.Dispenser()
	for c.Next() {
		o, err := parseLine(c)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func parseLine(c *caddyfile.Dispenser) (Options, error) {
	o := Options{
		MaxFails: defaultMaxFails, MaxConnectAttempts: -1, HealthCheck: defaultHealthCheck, HealthDomain: message.Root,
		DoHMethod: http.MethodPost, Expire: defaultExpire, ReadTimeout: defaultReadTimeout, Pos: config.At(c),
	}
	from, to, warnings, err := relay.ParseHead(c)
	if err != nil {
		return o, err
	}
	o.From, o.Warnings = from, warnings
	for c.NextBlock() {
		if err := o.option(c); err != nil {
			return o, err
		}
	}
	if o.MaxAge > 0 && o.MaxAge < o.Expire {
		return o, fmt.Errorf("max_age (%s) must not be less than expire (%s)", o.MaxAge, o.Expire)
	}
	return o, o.parseTo(c, to)
}

// option reads one line of the block.
func (o *Options) option(c *caddyfile.Dispenser) error {
	name, args := c.Val(), c.RemainingArgs()
	parse, known := parsers[name]
	switch {
	case !known:
		return c.Errf("unknown property '%s'", name)
	case len(args) < parse.least, parse.most == none && len(args) > 0:
		return c.ArgErr()
	case parse.most == one && len(args) > 1: // CoreDNS takes it for the next option
		return c.Errf("unknown property '%s'", args[1])
	}
	return parse.take(o, c, args)
}

// parser reads the arguments of an option.
type parser struct {
	least int
	most  arity
	take  func(o *Options, c *caddyfile.Dispenser, args []string) error
}

// arity is how many arguments an option may have.
type arity uint8

const (
	several arity = iota
	none
	one
)

var parsers = map[string]parser{
	"force_tcp":                        flag(func(o *Options) *bool { return &o.ForceTCP }),
	"prefer_udp":                       flag(func(o *Options) *bool { return &o.PreferUDP }),
	"next_on_nodata":                   flag(func(o *Options) *bool { return &o.NextOnNoData }),
	"failfast_all_unhealthy_upstreams": flag(func(o *Options) *bool { return &o.FailFast }),
	"expire":                           duration("expire", func(o *Options) *time.Duration { return &o.Expire }),
	"max_age":                          duration("max_age", func(o *Options) *time.Duration { return &o.MaxAge }),
	"max_fails":                        {1, one, (*Options).takeMaxFails},
	"max_connect_attempts":             {1, one, (*Options).takeAttempts},
	"max_idle_conns":                   {1, one, (*Options).takeMaxIdle},
	"max_concurrent":                   {1, one, (*Options).takeMaxConcurrent},
	"read_timeout":                     {1, one, (*Options).takeReadTimeout},
	"tls_servername":                   {1, one, (*Options).takeServerName},
	"doh_method":                       {1, one, (*Options).takeMethod},
	"policy":                           {1, one, (*Options).takePolicy},
	"source_address":                   {1, one, (*Options).takeSource},
	"health_check":                     {1, several, (*Options).takeHealthCheck},
	"except":                           {1, several, (*Options).takeExcept},
	"next":                             {1, several, (*Options).takeNext},
	"failover":                         {1, several, (*Options).takeFailover},
	"resolver":                         {1, several, (*Options).takeResolver},
	"tls":                              {0, several, (*Options).takeTLS},
}

func flag(field func(*Options) *bool) parser {
	return parser{most: none, take: func(o *Options, _ *caddyfile.Dispenser, _ []string) error {
		*field(o) = true
		return nil
	}}
}

func duration(name string, field func(*Options) *time.Duration) parser {
	return parser{least: 1, most: one, take: func(o *Options, _ *caddyfile.Dispenser, args []string) error {
		d, err := time.ParseDuration(args[0])
		if err == nil && d < 0 {
			err = fmt.Errorf("%s can't be negative: %s", name, d)
		}
		*field(o) = d
		return err
	}}
}

func (o *Options) takeExcept(c *caddyfile.Dispenser, args []string) error {
	zones, dropped := config.ParseZones(args)
	o.Except = append(o.Except, zones...)
	o.Warnings = append(o.Warnings, config.At(c).LeftOut(dropped)...)
	return nil
}

func (o *Options) takeMaxFails(_ *caddyfile.Dispenser, args []string) error {
	n, err := strconv.ParseUint(args[0], 10, 32)
	o.MaxFails = uint32(n)
	return err
}

func (o *Options) takeAttempts(_ *caddyfile.Dispenser, args []string) error {
	n, err := strconv.ParseUint(args[0], 10, 32)
	o.MaxConnectAttempts = int(n)
	return err
}

func (o *Options) takeMaxIdle(_ *caddyfile.Dispenser, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err == nil && n < 0 {
		err = fmt.Errorf("max_idle_conns can't be negative: %d", n)
	}
	o.MaxIdleConns = n
	return err
}

func (o *Options) takeMaxConcurrent(_ *caddyfile.Dispenser, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err == nil && n < 0 {
		err = fmt.Errorf("max_concurrent can't be negative: %d", n)
	}
	o.MaxConcurrent = int64(n)
	return err
}

func (o *Options) takeReadTimeout(_ *caddyfile.Dispenser, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err == nil && d <= 0 {
		err = fmt.Errorf("read_timeout must be positive: %s", d)
	}
	o.ReadTimeout = d
	return err
}

func (o *Options) takeHealthCheck(c *caddyfile.Dispenser, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("health_check can't be negative: %d", d)
	}
	o.HealthCheck, o.HealthDomain = d, message.Root
	for args = args[1:]; len(args) > 0; args = args[1:] {
		switch {
		case args[0] == "no_rec":
			o.HealthNoRecurse = true
		case args[0] != "domain":
			return fmt.Errorf("health_check: unknown option %s", args[0])
		case len(args) == 1:
			return c.ArgErr()
		default:
			args = args[1:]
			if o.HealthDomain, err = message.ParseName(args[0]); err != nil {
				return fmt.Errorf("health_check: invalid domain name %s", args[0])
			}
		}
	}
	return nil
}

func (o *Options) takeTLS(c *caddyfile.Dispenser, args []string) error {
	if len(args) > 3 {
		return c.ArgErr()
	}
	var err error
	o.TLSFiles = args
	o.TLS, err = tlsfiles.Load(args)
	return err
}

func (o *Options) takeServerName(_ *caddyfile.Dispenser, args []string) error {
	o.TLSServerName = args[0]
	return nil
}

func (o *Options) takeMethod(_ *caddyfile.Dispenser, args []string) error {
	if args[0] != http.MethodPost && args[0] != http.MethodGet {
		return fmt.Errorf("doh_method must be either %s or %s", http.MethodPost, http.MethodGet)
	}
	o.DoHMethod = args[0]
	return nil
}

func (o *Options) takePolicy(c *caddyfile.Dispenser, args []string) error {
	var err error
	o.Policy, err = relay.ParsePolicy(c, args[0])
	return err
}

func (o *Options) takeNext(_ *caddyfile.Dispenser, args []string) error {
	rcodes, err := parseRcodes(args)
	o.Next = append(o.Next, rcodes...)
	return err
}

func (o *Options) takeFailover(_ *caddyfile.Dispenser, args []string) error {
	rcodes, err := parseRcodes(args)
	for _, rcode := range rcodes {
		if rcode == message.NoError {
			return errors.New("NoError cannot be used in failover")
		}
	}
	o.Failover = append(o.Failover, rcodes...)
	return err
}

// parseRcodes reads names of response codes. Those before one that is none are returned too.
func parseRcodes(args []string) (rcodes []message.Rcode, err error) {
	for _, arg := range args {
		rcode, ok := dns.StringToRcode[strings.ToUpper(arg)]
		if !ok {
			return rcodes, fmt.Errorf("%s is not a valid rcode", arg)
		}
		rcodes = append(rcodes, message.Rcode(rcode))
	}
	return rcodes, nil
}

func (o *Options) takeResolver(_ *caddyfile.Dispenser, args []string) error {
	for _, arg := range args {
		if _, err := relay.ParseAddress(arg, 53); err != nil {
			return fmt.Errorf("resolver must be an IP address or IP:port: %q", arg)
		}
	}
	o.Resolver = args
	return nil
}

func (o *Options) takeSource(c *caddyfile.Dispenser, args []string) error {
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return c.Errf("invalid IP address: %s", args[0])
	}
	o.Source = addr
	return nil
}
