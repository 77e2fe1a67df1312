// Package template is the template directive: it answers questions with records that are made from the question, by the
// text/template language.
package template

import (
	"regexp"
	"strconv"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/expression"
)

// Template is the step of one server block: all its template directives.
type Template struct {
	rules   []rule
	view    string // the block's
	metrics *metrics
}

// rule is a Rule made ready for queries.
type rule struct {
	Rule
	zones   []zone
	through []message.Name
	plain   bool // every name of the zones matches, and has no records
}

type zone struct {
	name message.Name
	text string
}

// New makes the step.
func New(o Options, e env.Env) (*Template, error) {
	t := &Template{view: e.View}
	for _, r := range o.Rules {
		names, err := message.ParseNames(r.Zones)
		if err != nil {
			return nil, err
		}
		through, err := message.ParseNames(r.Fallthrough)
		if err != nil {
			return nil, err
		}
		rule := rule{Rule: r, through: through}
		for _, name := range names {
			rule.zones = append(rule.zones, zone{name, name.String()})
		}
		rule.plain = r.Match[0] == anyName && len(r.Vars)+len(r.Exprs)+len(r.Answer)+len(r.Additional)+len(r.Authority) == 0
		t.rules = append(t.rules, rule)
	}
	var err error
	t.metrics, err = newMetrics(e)
	return t, err
}

// Serve implements the step. The first rule whose class, type and zone fit decides: it answers, or, where its patterns do
// not match, the name goes on to the next rule if fallthrough says so and is SERVFAIL if not.
func (t *Template) Serve(q *message.Query, r *message.Reply) message.Verdict {
	name := ""
	for i := range t.rules {
		rule := &t.rules[i]
		zone := rule.zone(q)
		if zone == nil {
			continue
		}
		var values *values
		if !rule.plain {
			if name == "" {
				name = string(message.AppendName(nil, q.Lower()))
			}
			var fits outcome
			if values, fits = rule.match(q, name, zone); fits != matches {
				if fits == differs && q.UnderAny(rule.through) {
					continue
				}
				r.Fail(message.ServFail)
				return message.Done
			}
		}
		return t.answer(q, r, rule, values, zone)
	}
	return message.Next
}

// zone is the closest of the rule's zones, nil where the question does not fit the rule.
func (r *rule) zone(q *message.Query) (closest *zone) {
	if r.Class != dns.ClassANY && r.Class != uint16(q.Class) || r.Type != dns.TypeANY && q.Type != message.TypeANY && r.Type != uint16(q.Type) {
		return nil
	}
	for i := range r.zones {
		zone := &r.zones[i]
		if (closest == nil || len(zone.name) > len(closest.name)) && q.Under(zone.name) {
			closest = zone
		}
	}
	return closest
}

// outcome is what came of holding a name against the patterns and expressions of a rule.
type outcome uint8

const (
	matches outcome = iota
	differs
	fails // an expression cannot be computed
)

// match holds a name against the patterns, the first that fits counts, and then against the expressions.
func (r *rule) match(q *message.Query, name string, zone *zone) (*values, outcome) {
	for _, pattern := range r.Match {
		found := pattern.FindStringSubmatch(name)
		if found == nil {
			continue
		}
		v := r.values(q, name, zone, pattern, found)
		return v, r.compute(q, v)
	}
	return nil, differs
}

// values gathers what records can name.
func (r *rule) values(q *message.Query, name string, zone *zone, pattern *regexp.Regexp, found []string) *values {
	v := &values{
		Zone: zone.text, Name: name, Regex: pattern.String(), Match: found, Group: make(map[string]string),
		Class: dns.ClassToString[uint16(q.Class)], Type: r.typeOf(q), Remote: q.From.Addr().Unmap().String(), query: q,
	}
	names := pattern.SubexpNames()
	for i, text := range found {
		v.Group[strconv.Itoa(i)] = text
	}
	for i, text := range found {
		if names[i] != "" {
			v.Group[names[i]] = text
		}
	}
	return v
}

// typeOf is the question's type, or for ANY the rule's.
func (r *rule) typeOf(q *message.Query) string {
	if q.Type == message.TypeANY {
		return dns.TypeToString[r.Type]
	}
	return dns.TypeToString[uint16(q.Type)]
}

// compute sets the variables and asks the expressions.
func (r *rule) compute(q *message.Query, v *values) outcome {
	if len(r.Vars)+len(r.Exprs) == 0 {
		return matches
	}
	env := expression.NewEnv(q)
	env["group"] = group(v)
	v.Var = make(map[string]any)
	for _, variable := range r.Vars {
		value, err := expression.Run(variable.Expr, env)
		if err != nil {
			return fails
		}
		env[variable.Name], v.Var[variable.Name] = value, value
	}
	for _, program := range r.Exprs {
		value, err := expression.Run(program, env)
		if err != nil {
			return fails
		}
		if value != true {
			return differs
		}
	}
	return matches
}

// group is the function of expressions that gives what a group of the pattern matched, by its number or name.
func group(v *values) func(any) string {
	return func(name any) string {
		switch name := name.(type) {
		case int:
			return v.Group[strconv.Itoa(name)]
		case string:
			return v.Group[name]
		}
		return ""
	}
}
