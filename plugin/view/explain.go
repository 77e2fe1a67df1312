package view

import "github.com/waypost/waypost/config"

// Words are the options that may stand in the braces.
func Words() []string { return []string{"expr"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	var clauses []config.Clause
	for _, e := range o.Exprs {
		clauses = append(clauses, config.Clause{Pos: e.Pos, Text: "takes only queries of which this is true: " + e.Text})
	}
	if len(clauses) == 0 {
		clauses = config.Clauses("takes all queries")
	}
	return append(clauses, config.Clause{Text: "they are counted as those of view " + o.Name})
}
