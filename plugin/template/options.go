package template

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	gotemplate "text/template"

	"github.com/coredns/caddy/caddyfile"
	"github.com/expr-lang/expr/vm"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/expression"
)

// Options are what the template directives of a server block say.
type Options struct {
	Rules []Rule // in the order of the Corefile

	Warnings []config.Warning // what is legal and surely not meant
}

// Rule is one template directive.
type Rule struct {
	Class uint16           // of the question; dns.ClassANY is any
	Type  uint16           // of the question; dns.TypeANY is any
	Zones config.Zones     // of the question's name; default: those of the server block
	Match []*regexp.Regexp // one of them has to match the name, in lower case and absolute; default .*
	Vars  []Var            // default none
	Exprs []*vm.Program    // each has to be true; default none

	// What is answered: records as text, default none.
	Answer, Additional, Authority []*gotemplate.Template
	// Rcode is the response code. Default: NOERROR. With SERVFAIL nothing else is sent.
	Rcode int
	// Error is an extended DNS error (RFC 8914). Default: nil for none.
	Error *Error
	// Fallthrough are the zones in which names that do not match go on to the next rule. Default: none, they are SERVFAIL.
	Fallthrough config.Zones

	Pos config.Pos // where it stands
}

// Var is a value that expressions and records can name.
type Var struct {
	Name string
	Expr *vm.Program
}

// Error is an extended DNS error.
type Error struct {
	Code uint16
	Text string
}

// maxPattern is how long a regular expression may be, in bytes.
const maxPattern = 10000

// Parse reads the template directives of a block:
//
//	template CLASS TYPE [ZONES...] {
//	    match REGEXP...
//	    var NAME EXPRESSION
//	    expr EXPRESSION
//	    answer RECORD...
//	    additional RECORD...
//	    authority RECORD...
//	    rcode CODE
//	    ederror CODE [TEXT]
//	    fallthrough [ZONES...]
//	}
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		p := parser{c: c, env: expression.NewEnv(nil), options: &o}
		p.env["group"] = group(nil)
		p.rule.Pos = config.At(c)
		if err := p.head(block); err != nil {
			return o, err
		}
		for c.NextBlock() {
			if err := p.option(c.Val()); err != nil {
				return o, err
			}
		}
		if p.rule.Match == nil {
			p.rule.Match = []*regexp.Regexp{anyName}
		}
		o.Rules = append(o.Rules, p.rule)
		o.Warnings = append(o.Warnings, p.rule.suspect()...)
	}
	return o, nil
}

// anyName matches every name.
var anyName = regexp.MustCompile(".*")

// parser reads one directive.
type parser struct {
	c       *caddyfile.Dispenser
	rule    Rule
	env     expression.Env // what expressions can name
	options *Options
}

// head reads what stands before the brace.
func (p *parser) head(block *config.Block) error {
	var ok bool
	if !p.c.NextArg() {
		return p.c.ArgErr()
	}
	if p.rule.Class, ok = dns.StringToClass[p.c.Val()]; !ok {
		return p.c.Errf("invalid query class %s", p.c.Val())
	}
	if !p.c.NextArg() {
		return p.c.ArgErr()
	}
	if p.rule.Type, ok = dns.StringToType[p.c.Val()]; !ok {
		return p.c.Errf("invalid RR class %s", p.c.Val())
	}
	zones, dropped := block.ZonesOr(p.c.RemainingArgs())
	p.rule.Zones = zones
	p.options.Warnings = append(p.options.Warnings, config.At(p.c).LeftOut(dropped)...)
	return nil
}

// option reads one line of the block.
func (p *parser) option(name string) error {
	c, rule := p.c, &p.rule
	switch name {
	case "fallthrough":
		zones, dropped := config.ParseFallthrough(c.RemainingArgs())
		rule.Fallthrough = zones
		p.options.Warnings = append(p.options.Warnings, config.At(p.c).LeftOut(dropped)...)
		return nil
	case "upstream": // an option of earlier releases
		c.RemainingArgs()
		return nil
	case "rcode":
		return p.rcode()
	}
	if !slices.Contains([]string{"match", "answer", "additional", "authority", "var", "expr", "ederror"}, name) {
		return c.ArgErr()
	}
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	switch name {
	case "match":
		return p.match(args)
	case "answer":
		return p.records(name, args, &rule.Answer)
	case "additional":
		return p.records(name, args, &rule.Additional)
	case "authority":
		return p.records(name, args, &rule.Authority)
	case "var":
		return p.variable(args)
	case "expr":
		program, err := expression.Compile(strings.Join(args, " "), p.env)
		if err != nil {
			return c.Errf("could not compile expression: %v", err)
		}
		rule.Exprs = append(rule.Exprs, program)
		return nil
	}
	return p.extendedError(args)
}

func (p *parser) rcode() error {
	if !p.c.NextArg() {
		return p.c.ArgErr()
	}
	rcode, ok := dns.StringToRcode[p.c.Val()]
	if !ok {
		return p.c.Errf("unknown rcode %s", p.c.Val())
	}
	p.rule.Rcode = rcode
	return nil
}

func (p *parser) match(args []string) error {
	for _, arg := range args {
		if len(arg) > maxPattern {
			return p.c.Errf("regex pattern too long: %d > %d", len(arg), maxPattern)
		}
		pattern, err := regexp.Compile(arg)
		if err != nil {
			return p.c.Errf("could not parse regex: %s, %v", arg, err)
		}
		p.rule.Match = append(p.rule.Match, pattern)
	}
	return nil
}

// records compiles the templates of records.
func (p *parser) records(section string, args []string, to *[]*gotemplate.Template) error {
	for _, arg := range args {
		t, err := gotemplate.New(section).Funcs(gotemplate.FuncMap{"parseInt": strconv.ParseUint}).Parse(arg)
		if err != nil {
			return p.c.Errf("could not compile template: %s, %v", arg, err)
		}
		*to = append(*to, t)
	}
	return nil
}

var varName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (p *parser) variable(args []string) error {
	if len(args) < 2 {
		return p.c.ArgErr()
	}
	name := args[0]
	switch {
	case !varName.MatchString(name):
		return p.c.Errf("invalid variable name %q", name)
	case !p.env.Free(name):
		return p.c.Errf("variable name %q is reserved", name)
	}
	program, err := expression.Compile(strings.Join(args[1:], " "), p.env)
	if err != nil {
		return p.c.Errf("could not compile expression: %s, %v", name, err)
	}
	p.env.Declare(name, program)
	p.rule.Vars = append(p.rule.Vars, Var{name, program})
	return nil
}

func (p *parser) extendedError(args []string) error {
	if len(args) > 2 {
		return p.c.ArgErr()
	}
	code, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return p.c.Errf("error parsing extended DNS error code %s, %v", args[0], err)
	}
	p.rule.Error = &Error{Code: uint16(code), Text: strings.Join(args[1:], "")}
	return nil
}
