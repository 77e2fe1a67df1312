package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// TTL bounds the TTLs of replies.
type TTL struct {
	Names    Names
	Min, Max uint32 // seconds
}

// Rcode turns one response code into another.
type Rcode struct {
	Names    Names
	From, To int
}

// parseTTL reads:
//
//	ttl [exact|prefix|suffix|substring|regex] NAME SECONDS|MIN-MAX|MIN-|-MAX
func parseTTL(args []string) (*TTL, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("too few (%d) arguments for a ttl rule", len(args))
	}
	text := ""
	if len(args) < 4 {
		text = args[len(args)-1]
	}
	t := new(TTL)
	var ok bool
	if t.Min, t.Max, ok = parseBounds(text); !ok {
		return nil, fmt.Errorf("invalid TTL '%s' for a ttl rule", text)
	}
	var err error
	t.Names, err = parseNames("ttl", args[:len(args)-1])
	return t, err
}

// parseBounds reads the two bounds of a TTL, of which one may be left out.
func parseBounds(text string) (low, high uint32, ok bool) {
	const unbounded = "2147483647"
	from, to, ranged := strings.Cut(text, "-")
	switch {
	case !ranged:
		to = from
	case from == "" && to == "":
		return 0, 0, false
	case from == "":
		from = "0"
	case to == "":
		to = unbounded
	}
	lowest, err := strconv.ParseUint(from, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	highest, err := strconv.ParseUint(to, 10, 32)
	return uint32(lowest), uint32(highest), err == nil && lowest <= highest
}

// parseRcode reads, each code by number or name:
//
//	rcode [exact|prefix|suffix|substring|regex] NAME FROM TO
func parseRcode(args []string) (*Rcode, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("too few (%d) arguments for a rcode rule", len(args))
	}
	from, to := "", ""
	if len(args) < 5 {
		from, to = args[len(args)-2], args[len(args)-1]
	}
	r := new(Rcode)
	var ok bool
	if r.From, ok = parseCode(from); !ok {
		return nil, fmt.Errorf("invalid matching RCODE '%s' for a rcode rule", from)
	}
	if r.To, ok = parseCode(to); !ok {
		return nil, fmt.Errorf("invalid replacement RCODE '%s' for a rcode rule", to)
	}
	var err error
	r.Names, err = parseNames("rcode", args[:len(args)-2])
	return r, err
}

func parseCode(text string) (int, bool) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil && n <= 23 {
		return int(n), true
	}
	code, ok := dns.StringToRcode[strings.ToUpper(text)]
	return code, ok
}

// parseNames reads the names of a ttl or rcode rule: one or two words.
func parseNames(rule string, args []string) (Names, error) {
	if len(args) == 1 {
		return Names{Kind: Exact, Text: normalize(args[0])}, nil
	}
	n := Names{Kind: Kind(strings.ToLower(args[0])), Text: normalize(args[1])}
	var err error
	switch n.Kind {
	case Exact, Prefix, Suffix, Substring:
	case Regex:
		if len(args[1]) > maxPattern {
			return n, fmt.Errorf("regex pattern too long in a %s rule: %d > %d", rule, len(args[1]), maxPattern)
		}
		if n.Pattern, err = regexp.Compile(args[1]); err != nil {
			return n, fmt.Errorf("invalid regex pattern in a %s rule: %s", rule, args[1])
		}
	default:
		return n, fmt.Errorf("%s rule supports only exact, prefix, suffix, substring, and regex name matching", rule)
	}
	return n, nil
}

func (t *TTL) apply(c *change) bool {
	if !t.Names.fit(c.name()) {
		return false
	}
	c.answer(t)
	return true
}

func (r *Rcode) apply(c *change) bool {
	if !r.Names.fit(c.name()) {
		return false
	}
	c.answer(r)
	return true
}

// CNAME changes the target of an alias in replies, and looks up what the new one has.
type CNAME struct {
	Names Names
	To    string
}

// parseCNAME reads:
//
//	cname [exact|prefix|suffix|substring|regex] FROM TO
func parseCNAME(args []string) (*CNAME, error) {
	kind := string(Exact)
	switch len(args) {
	case 2:
	case 3:
		kind, args = strings.ToLower(args[0]), args[1:]
	default:
		return nil, fmt.Errorf("too few (%d) arguments for a cname rule", len(args))
	}
	c := &CNAME{Names: Names{Kind: Kind(kind), Text: strings.ToLower(args[0])}, To: strings.ToLower(args[1])}
	switch c.Names.Kind {
	case Exact:
		c.Names.Text, c.To = normalize(args[0]), normalize(args[1])
	case Prefix, Suffix, Substring:
	case Regex:
		if len(args[0]) > maxPattern {
			return nil, fmt.Errorf("regex pattern too long in a cname rule: %d > %d", len(args[0]), maxPattern)
		}
		var err error
		if c.Names.Pattern, err = regexp.Compile(c.Names.Text); err != nil {
			return nil, fmt.Errorf("invalid cname rewrite regex pattern: %w", err)
		}
	default:
		return nil, errors.New("unknown cname rewrite type: " + kind)
	}
	return c, nil
}

// apply has the reply looked at: which aliases it has is not known yet.
func (c *CNAME) apply(change *change) bool {
	if c.Names.Text == "" || c.To == "" {
		return false
	}
	change.answer(c)
	return true
}
