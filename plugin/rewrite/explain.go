package rewrite

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
)

// Words are the fields that a rule can begin with.
func Words() []string {
	return []string{"stop", "continue", "name", "class", "type", "edns0", "ttl", "cname", "rcode", "answer"}
}

// Explain says in words what the directives do.
func (o Options) Explain() []config.Clause {
	var list []config.Clause
	for _, r := range o.Rules {
		text := r.Action.explain() + config.When(r.Continue, ", and further rules are looked at")
		list = append(list, config.Clause{Pos: r.Pos, Text: text})
	}
	return list
}

// Renames reports whether the directives behind may be asked for other names than the block is.
func (o Options) Renames() bool {
	return slices.ContainsFunc(o.Rules, func(r Rule) bool {
		_, ok := r.Action.(*Name)
		return ok
	})
}

// String says which names they are.
func (n Names) String() string {
	switch n.Kind {
	case Exact:
		return n.Text
	case Prefix:
		return "names that begin with " + n.Text
	case Suffix:
		return "names that end in " + n.Text
	case Substring:
		return "names with " + n.Text + " in them"
	}
	return fmt.Sprintf("names that match %s", n.Pattern)
}

func (n *Name) explain() string {
	text := fmt.Sprintf("%s: is asked for as %s", n.Names, n.To)
	if n.Names.Kind != Exact {
		text = fmt.Sprintf("%s: that becomes %s", n.Names, n.To)
	}
	text += config.When(n.Auto, ", and the answer has the client's name again")
	for _, a := range n.Answers {
		where := "owners"
		if a.Value {
			where = "targets"
		}
		text += fmt.Sprintf(", %s in the answer that match %s become %s", where, a.Pattern, a.To)
	}
	return text
}

func (c *Class) explain() string {
	return fmt.Sprintf("class %s is asked as %s", dns.Class(c.From), dns.Class(c.To))
}

func (t *Type) explain() string {
	return fmt.Sprintf("type %s is asked as %s", dns.Type(t.From), dns.Type(t.To))
}

func (t *TTL) explain() string {
	return fmt.Sprintf("%s: answers have a TTL from %s to %s", t.Names, config.Seconds(t.Min), config.Seconds(t.Max))
}

func (r *Rcode) explain() string {
	return fmt.Sprintf("%s: a reply %s becomes %s", r.Names, dns.RcodeToString[r.From], dns.RcodeToString[r.To])
}

func (c *CNAME) explain() string {
	return fmt.Sprintf("%s: an alias to that in the answer leads to %s", c.Names, c.To)
}

func (e *EDNS) explain() string {
	text := fmt.Sprintf("EDNS option %s %d: %s", e.Option, e.Code, e.Action)
	switch {
	case e.Action == "unset" || e.Option == "nsid":
	case e.Option == "subnet":
		text += fmt.Sprintf(" %d bits of IPv4 and %d of IPv6", e.V4, e.V6)
	case e.Variable != "":
		text += " the " + e.Variable
	default:
		text += fmt.Sprintf(" %q", e.Data)
	}
	return text + config.When(e.Revert, ", and the reply shows nothing of it")
}
