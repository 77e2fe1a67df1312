// Package view is the view directive: a server block gets only those queries of which expressions are true, and others may
// have its zones too.
package view

import (
	"sync"

	"github.com/expr-lang/expr/vm"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/expression"
)

// View decides which queries are those of one server block.
type View struct {
	exprs []Expr
	pool  sync.Pool // of *evaluator
}

// New makes the view.
func New(o Options) *View {
	return &View{exprs: o.Exprs, pool: sync.Pool{New: func() any {
		e := new(evaluator)
		e.env = expression.NewEnv(&e.query)
		return e
	}}}
}

// evaluator computes expressions for one query after the other. Making one takes several times as long as using it
// (BenchmarkTakes).
type evaluator struct {
	query   message.Query // the one that env tells of
	env     expression.Env
	machine vm.VM
}

// Takes reports whether all expressions are true of a query. One that cannot be computed, or whose value is no truth value,
// is not.
func (v *View) Takes(q *message.Query) bool {
	e := v.pool.Get().(*evaluator)
	defer v.pool.Put(e)
	e.query = *q
	for _, x := range v.exprs {
		if value, err := e.machine.Run(x.Program, map[string]any(e.env)); err != nil || value != true {
			return false
		}
	}
	return true
}
