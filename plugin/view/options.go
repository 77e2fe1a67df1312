package view

import (
	"reflect"
	"strings"

	"github.com/coredns/caddy/caddyfile"
	"github.com/expr-lang/expr/vm"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/expression"
)

// Options are what a view directive says.
type Options struct {
	// Name is what the metrics call the server block's queries by.
	Name string
	// Exprs have all to be true of a query that the server block is to get. Default: none, it gets all.
	Exprs []Expr

	// Warnings are of what is legal and surely not meant.
	Warnings []config.Warning
}

// Expr is one of the expressions.
type Expr struct {
	Pos     config.Pos // where it stands
	Text    string
	Program *vm.Program
}

// Parse reads the directive:
//
//	view NAME {
//	    expr EXPRESSION
//	}
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	c.Next()
	args := c.RemainingArgs()
	if len(args) != 1 {
		return o, c.ArgErr()
	}
	o.Name = args[0]
	for c.NextBlock() {
		if c.Val() != "expr" {
			return o, c.Errf("unknown property '%s'", c.Val())
		}
		if err := o.expr(c); err != nil {
			return o, err
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}

// expr reads one expression.
func (o *Options) expr(c *caddyfile.Dispenser) error {
	e := Expr{Pos: config.At(c), Text: strings.Join(c.RemainingArgs(), " ")}
	var err error
	if e.Program, err = expression.Compile(e.Text, expression.NewEnv(nil)); err != nil {
		return c.Err(err.Error())
	}
	o.Exprs = append(o.Exprs, e)
	if typ := e.Program.Node().Type(); typ != nil && typ.Kind() != reflect.Bool && typ.Kind() != reflect.Interface {
		o.Warnings = append(o.Warnings, e.Pos.Warningf("%s is never true, so that the server block is never asked: it is a %s", e.Text, typ))
	}
	return nil
}
