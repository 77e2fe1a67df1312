// Package expression has the names that expressions in a Corefile may use of a query, the same as in CoreDNS. The language
// is that of github.com/expr-lang/expr.
package expression

import (
	"errors"
	"net"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// Env are the functions and values that an expression can name.
type Env map[string]any

// NewEnv makes the functions that tell of a query. To compile against, q may be nil.
func NewEnv(q *message.Query) Env {
	return Env{
		"type":        func() string { return dns.Type(q.Type).String() },
		"name":        func() string { return string(message.AppendName(nil, q.Lower())) },
		"class":       func() string { return dns.Class(q.Class).String() },
		"proto":       func() string { return q.Transport.String() },
		"size":        func() int { return q.Size },
		"client_ip":   func() string { return q.From.Addr().Unmap().WithZone("").String() },
		"port":        func() string { return strconv.Itoa(int(q.From.Port())) },
		"id":          func() int { return int(q.ID) },
		"opcode":      func() int { return 0 }, // others are not served
		"do":          func() bool { return q.EDNS.DO },
		"bufsize":     func() int { return bufsize(q) },
		"server_ip":   func() string { return q.Local.Addr().Unmap().WithZone("").String() },
		"server_port": func() string { return strconv.Itoa(int(q.Local.Port())) },
		"metadata":    func(string) string { return "" }, // no directive here has any
		"incidr":      inCIDR,
	}
}

// bufsize is what the client says it can take.
func bufsize(q *message.Query) int {
	if q.Transport != message.UDP {
		return message.MaxLen
	}
	return max(message.MinUDPSize, int(q.EDNS.UDPSize))
}

// inCIDR reports whether an address is in a network. It returns an error for what is neither.
func inCIDR(address, network string) (bool, error) {
	ip := net.ParseIP(address)
	if ip == nil {
		return false, errors.New("first argument is not an IP address")
	}
	_, cidr, err := net.ParseCIDR(network)
	if err != nil {
		return false, err
	}
	return cidr.Contains(ip), nil
}

// Compile checks an expression against the names of env.
func Compile(text string, env Env) (*vm.Program, error) {
	return expr.Compile(text, expr.Env(map[string]any(env)), expr.DisableBuiltin("type"))
}

// Run is the value of a compiled expression. An expression can fail on some queries and not on others.
func Run(program *vm.Program, env Env) (any, error) { return expr.Run(program, map[string]any(env)) }

// Declare adds a variable that will have the program's value, so that further expressions are checked with its type.
func (env Env) Declare(name string, program *vm.Program) {
	typ := program.Node().Type()
	if typ == nil || typ.Kind() == reflect.Interface {
		env[name] = new(any)
		return
	}
	env[name] = reflect.Zero(typ).Interface()
}

// Free reports whether a variable may have the name: it is an identifier to the language, and means nothing yet.
func (env Env) Free(name string) bool {
	if _, taken := env[name]; taken {
		return false
	}
	if _, taken := builtin.Index[name]; taken || strings.TrimSpace(name) != name {
		return false
	}
	tree, err := parser.Parse(name)
	if err != nil {
		return false
	}
	identifier, ok := tree.Node.(*ast.IdentifierNode)
	return ok && identifier.Value == name
}
