package log

import (
	"strings"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Options are what the log directives of a server block say.
type Options struct {
	// Rules in the order of the file. The first whose zone has the query's name decides alone.
	Rules []Rule

	Warnings []config.Warning // what is legal and surely not meant
}

// Rule says how queries for the names of one zone are printed.
type Rule struct {
	// Zone has the names that the rule is for. Default: the root, every name.
	Zone message.Name
	// Format is the line, with placeholders. Default: Common.
	Format string
	// Classes are the replies that are printed. Default: All.
	Classes Classes
	// Pos is where the rule stands.
	Pos config.Pos
}

// The formats that have a name, {common} and {combined}.
const (
	Common   = `{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}`
	Combined = Common + ` "{>opcode}"`
)

// Classes is a set of classes of replies.
type Classes uint8

// The classes.
const (
	Success Classes = 1 << iota // an answer or a delegation
	Denial                      // no such name, or no data of the type
	Error                       // the rest
	All     = Success | Denial | Error
)

var classNames = map[string]Classes{"all": All, "success": Success, "denial": Denial, "error": Error}

// Parse reads the directive, which may stand in a block several times:
//
//	log [NAMES...] [FORMAT] {
//	    class all|success|denial|error...
//	}
//
// A format is the last of two or more words that has a brace in it. A single word is always a name, as in CoreDNS.
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		pos := config.At(c)
		names, format := split(c.RemainingArgs())
		first := len(o.Rules)
		for _, text := range names {
			zone, err := message.ParseName(text)
			if err != nil {
				return o, c.Err(err.Error())
			}
			o.Rules = append(o.Rules, Rule{Zone: zone, Format: format, Pos: pos})
			o.Warnings = append(o.Warnings, suspect(pos, text)...)
		}
		classes, err := parseClasses(c)
		if err != nil {
			return o, err
		}
		for i := range o.Rules[first:] {
			o.Rules[first+i].Classes = classes
		}
	}
	return o, nil
}

// split tells names from a format.
func split(args []string) (names []string, format string) {
	if len(args) == 0 {
		return []string{"."}, Common
	}
	last := len(args) - 1
	if last == 0 || !strings.Contains(args[last], "{") {
		return args, Common
	}
	return args[:last], strings.NewReplacer("{common}", Common, "{combined}", Combined).Replace(args[last])
}

func parseClasses(c *caddyfile.Dispenser) (Classes, error) {
	var classes Classes
	for c.NextBlock() {
		if c.Val() != "class" {
			return 0, c.Errf("unknown property '%s'", c.Val())
		}
		args := c.RemainingArgs()
		if len(args) == 0 {
			return 0, c.ArgErr()
		}
		for _, arg := range args {
			class, ok := classNames[arg]
			if !ok {
				return 0, c.Errf("invalid Class: %s", arg)
			}
			classes |= class
		}
	}
	if classes == 0 {
		return All, nil
	}
	return classes, nil
}
