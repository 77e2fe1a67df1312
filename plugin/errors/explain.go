package errors

import (
	"fmt"
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"stacktrace", "consolidate"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	list := config.Clauses("prints why a query could not be answered")
	for _, rule := range o.Consolidate {
		text := fmt.Sprintf("errors like %q are counted, and their number printed every %s as %s",
			rule.Pattern, config.Brief(rule.Period), strings.ToLower(rule.Level.String()))
		list = append(list, config.Clauses(text+config.When(rule.ShowFirst, ", the first one at once"))...)
	}
	return append(list, config.Clauses(config.When(o.Stacktrace, "prints the stack of a panic"))...)
}
