package loadbalance

import "github.com/waypost/waypost/config"

// Words are the options that may stand in the braces.
func Words() []string { return []string{"prefer"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses("the addresses of an answer come in a new order each time")
}
