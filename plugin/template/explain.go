package template

import (
	"fmt"
	"strings"
	gotemplate "text/template"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
)

// words are the options that may stand in the braces.
var words = []string{"match", "answer", "additional", "authority", "var", "expr", "ederror", "rcode", "fallthrough", "upstream"}

// Words are the options that may stand in the braces.
func Words() []string { return words }

// Explain says in words what the directives do.
func (o Options) Explain() []config.Clause {
	var list []config.Clause
	for _, r := range o.Rules {
		list = append(list, config.Clause{Pos: r.Pos, Text: r.question() + ": " + r.reply()})
	}
	return list
}

// question says for which questions the rule is.
func (r *Rule) question() string {
	text := "questions"
	if r.Type != dns.TypeANY {
		text += " for " + dns.Type(r.Type).String()
	}
	if r.Class != dns.ClassINET && r.Class != dns.ClassANY {
		text += " in class " + dns.Class(r.Class).String()
	}
	text += " under " + r.Zones.List()
	var patterns []string
	for _, pattern := range r.Match {
		if pattern != anyName {
			patterns = append(patterns, pattern.String())
		}
	}
	if len(patterns) > 0 {
		text += " that match " + strings.Join(patterns, " or ")
	}
	for _, v := range r.Vars {
		text += fmt.Sprintf(", %s being %s", v.Name, v.Expr.Source())
	}
	for _, expr := range r.Exprs {
		text += fmt.Sprintf(", if %s", expr.Source())
	}
	return text
}

// reply says what they get.
func (r *Rule) reply() string {
	text := dns.RcodeToString[r.Rcode]
	records := 0
	for _, section := range []struct {
		name    string
		records []*gotemplate.Template
	}{{"", r.Answer}, {"authority ", r.Authority}, {"additional ", r.Additional}} {
		for _, t := range section.records {
			text += fmt.Sprintf(", %s%q", section.name, t.Root)
			records++
		}
	}
	if records == 0 {
		text += " without records"
	}
	if r.Error != nil {
		text += fmt.Sprintf(", with extended error %d %q", r.Error.Code, r.Error.Text)
	}
	if len(r.Fallthrough) > 0 {
		text += "; others go on if they are under " + r.Fallthrough.List()
	} else if r.picky() {
		text += "; others are SERVFAIL"
	}
	return text
}

// picky reports whether the rule may leave questions of its class, type and zones to others, or to nobody.
func (r *Rule) picky() bool { return r.Match[0] != anyName || len(r.Exprs) > 0 }

// Scope are the zones outside of which the directives have nothing to do.
func (o Options) Scope() config.Zones {
	var zones config.Zones
	for _, r := range o.Rules {
		zones = append(zones, r.Zones...)
	}
	return zones
}

// Settles are the names that no directive behind is asked for.
func (o Options) Settles() []config.Region {
	var list []config.Region
	for _, r := range o.Rules {
		if r.Type != dns.TypeANY || r.picky() {
			continue
		}
		for _, zone := range r.Zones {
			list = append(list, config.Region{Zone: zone})
		}
	}
	return list
}

// suspect warns of a rule that says more than was meant.
func (r *Rule) suspect() []config.Warning {
	single := r.Type == dns.TypeA || r.Type == dns.TypeAAAA
	if !single || r.Rcode != dns.RcodeNameError || r.picky() {
		return nil
	}
	return []config.Warning{r.Pos.Warningf("NXDOMAIN says that the name has nothing of any type, so that some clients do not look "+
		"for its other addresses either: say rcode NOERROR to turn off %s alone", dns.Type(r.Type))}
}
