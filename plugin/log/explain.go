package log

import (
	"strings"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"class"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	var list []config.Clause
	for _, rule := range o.Rules {
		text := "prints a line for each query"
		if rule.Zone != message.Root {
			text += " under " + rule.Zone.String()
		}
		if rule.Classes != All {
			text += " whose reply is of class " + rule.Classes.String()
		}
		switch rule.Format {
		case Common:
		case Combined:
			text += ", with its opcode"
		default:
			text += ", as " + rule.Format
		}
		list = append(list, config.Clause{Pos: rule.Pos, Text: text})
	}
	return list
}

// String lists the classes as the Corefile has them.
func (c Classes) String() string {
	var names []string
	for _, name := range []string{"success", "denial", "error"} {
		if c&classNames[name] != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// Scope are the zones outside of which the directive has nothing to do.
func (o Options) Scope() config.Zones {
	var zones config.Zones
	for _, rule := range o.Rules {
		zones = append(zones, rule.Zone.String())
	}
	return zones
}

// streams are words that are meant as where to print, as other directives take them.
var streams = map[string]bool{"stdout": true, "stderr": true, "stdin": true}

// suspect warns of a name that nobody would log only the queries under.
func suspect(pos config.Pos, name string) []config.Warning {
	if !streams[strings.ToLower(name)] && !strings.HasPrefix(name, "/") {
		return nil
	}
	return []config.Warning{pos.Warningf("%q is taken for a name: only queries under it are printed, on standard output in any case; write log alone", name)}
}
