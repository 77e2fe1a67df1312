package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Name changes the question's name, and names in the reply.
type Name struct {
	Names Names
	To    string // the replacement; of a regular expression with {0}, {1} and so on for what its groups matched
	// Auto undoes the change in the reply. Default: true for Exact, false for the others.
	Auto bool
	// Answers change names in the reply. Default: none.
	Answers []Answer
}

// Answer changes a name in each record of a reply, by a regular expression.
type Answer struct {
	Value   bool // the name that the record leads to; else its owner
	Pattern *regexp.Regexp
	To      string
}

// Names says which names a rule is for. All are compared in lower case, with the final dot.
type Names struct {
	Kind    Kind
	Text    string
	Pattern *regexp.Regexp // of Regex
}

// Kind is how a name has to fit.
type Kind string

// The kinds, as the Corefile has them.
const (
	Exact     Kind = "exact"
	Prefix    Kind = "prefix"
	Suffix    Kind = "suffix"
	Substring Kind = "substring"
	Regex     Kind = "regex"
)

// fit reports whether the names have this one.
func (n *Names) fit(name string) bool {
	switch n.Kind {
	case Exact:
		return name == n.Text
	case Prefix:
		return strings.HasPrefix(name, n.Text)
	case Suffix:
		return strings.HasSuffix(name, n.Text)
	case Substring:
		return strings.Contains(name, n.Text)
	}
	return n.Pattern.MatchString(name)
}

// replace returns the name with the part that fits replaced, and whether it fits at all.
func (n *Names) replace(name, by string) (string, bool) {
	switch n.Kind {
	case Exact:
		return by, name == n.Text
	case Prefix:
		rest, ok := strings.CutPrefix(name, n.Text)
		return by + rest, ok
	case Suffix:
		rest, ok := strings.CutSuffix(name, n.Text)
		return rest + by, ok
	case Substring:
		return strings.ReplaceAll(name, n.Text, by), strings.Contains(name, n.Text)
	}
	return expand(n.Pattern, name, by)
}

// expand is the text with {0}, {1} and so on replaced by what the groups of the pattern match in a name.
func expand(pattern *regexp.Regexp, name, text string) (string, bool) {
	groups := pattern.FindStringSubmatch(name)
	for i, group := range groups {
		text = strings.ReplaceAll(text, "{"+strconv.Itoa(i)+"}", group)
	}
	return text, groups != nil
}

// normalize makes a name absolute and lower-case. As in CoreDNS that is also done with what a name begins with or has
// within it, so that such rules only match at the end of a label.
func normalize(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// maxPattern is how long a regular expression may be, in bytes.
const maxPattern = 10000

// parsePattern compiles a regular expression whose groups a replacement may use.
func parsePattern(from, to string) (*regexp.Regexp, error) {
	if len(from) > maxPattern {
		return nil, fmt.Errorf("regex pattern too long: %d > %d", len(from), maxPattern)
	}
	pattern, err := regexp.Compile(from)
	if err != nil {
		return nil, fmt.Errorf("invalid regex matching pattern: %s", from)
	}
	used := 0
	for i := range 101 {
		if strings.Contains(to, "{"+strconv.Itoa(i)+"}") {
			used++
		}
	}
	if used > pattern.NumSubexp() {
		return nil, fmt.Errorf("the rewrite regex pattern (%s) uses more subexpressions than its corresponding matching regex pattern (%s)", to, from)
	}
	return pattern, nil
}

// parseName reads:
//
//	name [exact|prefix|suffix|substring|regex] FROM TO [answer auto] [answer name|value FROM TO]...
func parseName(args []string) (*Name, error) {
	if len(args) < 2 {
		return nil, errors.New("too few arguments for a name rule")
	}
	kind, answers := string(Exact), []string(nil)
	if len(args) > 2 {
		kind, args, answers = strings.ToLower(args[0]), args[1:3], args[3:]
	}
	n := &Name{Names: Names{Kind: Kind(kind), Text: normalize(args[0])}, To: normalize(args[1])}
	if len(answers) > 0 && answers[0] == "metadata" {
		if n.Names.Kind != Regex {
			return nil, errors.New("metadata is only supported for regex name rules")
		}
		return nil, errors.New("metadata is not supported by Waypost yet: leave it out, no directive here has any")
	}
	if len(answers) > 0 {
		if err := n.parseAnswers(answers); err != nil {
			return nil, err
		}
	}
	var err error
	switch n.Names.Kind {
	case Exact:
		n.Auto = true
		_, err = parsePattern(n.To, n.Names.Text) // CoreDNS reads it as one, too
	case Prefix, Suffix, Substring:
	case Regex:
		n.Names.Pattern, err = parsePattern(args[0], args[1])
	default:
		err = fmt.Errorf("name rule supports only exact, prefix, suffix, substring, and regex name matching, received: %s", kind)
	}
	return n, err
}

// parseAnswers reads what begins with "answer". CoreDNS wants that word once, and takes it before each further part.
func (n *Name) parseAnswers(args []string) error {
	kind := n.Names.Kind
	if len(args) < 2 {
		return fmt.Errorf("invalid arguments for %s rule", kind)
	}
	if args[0] != "answer" {
		return fmt.Errorf("exceeded the number of arguments for a non-answer rule argument for %s rule", kind)
	}
	owners := false
	for len(args) > 0 {
		if args[0] == "answer" {
			args = args[1:]
		}
		if len(args) == 0 {
			return fmt.Errorf("type missing for answer rule for %s rule", kind)
		}
		what := args[0]
		args = args[1:]
		switch what {
		case "auto":
			n.Auto = true
			continue
		case "name", "value":
		default:
			return fmt.Errorf("invalid type %q for answer rule for %s rule", what, kind)
		}
		if len(args) < 2 {
			return fmt.Errorf("%s answer rule for %s rule: 2 arguments required", what, kind)
		}
		pattern, err := parsePattern(args[0], args[1])
		if err != nil {
			return fmt.Errorf("%s answer rule for %s rule: %w", what, kind, err)
		}
		n.Answers = append(n.Answers, Answer{Value: what == "value", Pattern: pattern, To: normalize(args[1])})
		owners = owners || what == "name"
		args = args[2:]
	}
	if n.Auto && owners {
		return errors.New("auto name answer rule cannot be combined with explicit name anwer rules")
	}
	return nil
}

// apply changes the question's name.
func (n *Name) apply(c *change) bool {
	before := c.name()
	after, ok := n.Names.replace(before, n.To)
	if !ok {
		return false
	}
	c.rename(after)
	if n.Auto {
		back := backTo(after, before)
		if n.Names.Kind == Suffix {
			back = suffixTo(n.To, n.Names.Text)
		}
		c.answer(ownerChange(back), valueChange(back))
	}
	for _, a := range n.Answers {
		by := func(name string) string {
			if changed, ok := expand(a.Pattern, name, a.To); ok {
				return changed
			}
			return name
		}
		if a.Value {
			c.answer(valueChange(by))
		} else {
			c.answer(ownerChange(by))
		}
	}
	return true
}

// backTo turns a name, and the end of names below it, back into another one.
func backTo(from, to string) func(string) string {
	return func(name string) string {
		if rest, ok := strings.CutSuffix(name, from); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
			return rest + to
		}
		return name
	}
}

// suffixTo turns the end of a name into another one.
func suffixTo(from, to string) func(string) string {
	return func(name string) string {
		if rest, ok := strings.CutSuffix(name, from); ok {
			return rest + to
		}
		return name
	}
}
