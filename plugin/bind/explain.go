package bind

import (
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"except"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	var list []config.Clause
	for _, l := range o.Lines {
		text := "the server block is asked at " + strings.Join(l.Addresses, ", ")
		if len(l.Except) > 0 {
			text += " except " + strings.Join(l.Except, ", ")
		}
		list = append(list, config.Clause{Pos: l.Pos, Text: text})
	}
	return list
}
