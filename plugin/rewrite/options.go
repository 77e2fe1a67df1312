package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
)

// Options are what the rewrite directives of a server block say.
type Options struct {
	Rules []Rule // in the order of the Corefile
}

// Rule is one rewrite directive.
type Rule struct {
	// Continue has further rules look at what this one has made of the query. Default: false, the first that fits is the
	// last.
	Continue bool
	// Action is a *Name, *Class, *Type, *EDNS, *TTL, *CNAME or *Rcode.
	Action Action
	// Pos is where it stands.
	Pos config.Pos
}

// Action is what a rule does with a query.
type Action interface {
	// apply changes the query and says what is to be done with the reply. It reports whether the rule fits the query.
	apply(c *change) bool
	// explain says in words what is done.
	explain() string
}

// Parse reads the rewrite directives of a block. What stands in braces belongs to the line:
//
//	rewrite [continue|stop] FIELD ... [answer ...]
//	rewrite [continue|stop] {
//	    FIELD ...
//	    answer ...
//	}
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	for c.Next() {
		pos := config.At(c)
		args := c.RemainingArgs()
		if len(args) < 2 {
			for c.NextBlock() {
				args = append(args, c.Val())
			}
		}
		rule, err := parseRule(args)
		if err != nil {
			return o, pos.Errorf("%w", err)
		}
		rule.Pos = pos
		o.Rules = append(o.Rules, rule)
	}
	return o, nil
}

func parseRule(args []string) (Rule, error) {
	var r Rule
	if len(args) == 0 {
		return r, errors.New("no rule type specified for rewrite")
	}
	first := args[0]
	switch mode := strings.ToLower(first); mode {
	case "continue", "stop":
		if len(args) < 2 {
			return r, fmt.Errorf("%s rule must begin with a rule type", mode)
		}
		r.Continue = mode == "continue"
		args = args[1:]
	}
	field, args := strings.ToLower(args[0]), args[1:]
	var err error
	switch field {
	case "answer":
		err = errors.New("response rewrites must begin with a name rule")
	case "name":
		r.Action, err = parseName(args)
	case "class":
		r.Action, err = parseClass(args)
	case "type":
		r.Action, err = parseType(args)
	case "edns0":
		r.Action, err = parseEDNS(args)
	case "ttl":
		r.Action, err = parseTTL(args)
	case "cname":
		r.Action, err = parseCNAME(args)
	case "rcode":
		r.Action, err = parseRcode(args)
	default:
		err = fmt.Errorf("invalid rule type %q", first)
	}
	return r, err
}

// Class changes the question's class.
type Class struct{ From, To uint16 }

func parseClass(args []string) (*Class, error) {
	if len(args) != 2 {
		return nil, errors.New("class rules must have exactly two arguments")
	}
	codes, err := parseCodes("class", args, dns.StringToClass)
	return &Class{codes[0], codes[1]}, err
}

// Type changes the question's type.
type Type struct{ From, To uint16 }

func parseType(args []string) (*Type, error) {
	if len(args) != 2 {
		return nil, errors.New("type rules must have exactly two arguments")
	}
	codes, err := parseCodes("type", args, dns.StringToType)
	return &Type{codes[0], codes[1]}, err
}

func parseCodes(what string, args []string, known map[string]uint16) (codes [2]uint16, err error) {
	for i, arg := range args {
		code, ok := known[strings.ToUpper(arg)]
		if !ok {
			return codes, fmt.Errorf("invalid %s %q", what, strings.ToUpper(arg))
		}
		codes[i] = code
	}
	return codes, nil
}
