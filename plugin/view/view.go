// Package view is the view directive: a server block gets only those queries of which expressions are true, and others may
// have its zones too.
package view

import (
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/expression"
)

// Takes reports whether all expressions are true of a query. One that cannot be computed, or whose value is no truth value,
// is not.
func (o Options) Takes(q *message.Query) bool {
	env := expression.NewEnv(q)
	for _, e := range o.Exprs {
		if value, err := expression.Run(e.Program, env); err != nil || value != true {
			return false
		}
	}
	return true
}
