package loadbalance

import (
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"prefer"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	var networks []string
	for _, n := range o.Prefer {
		networks = append(networks, n.String())
	}
	return config.Clauses(
		"the addresses of an answer come in a new order each time",
		config.When(len(networks) > 0, "those in "+strings.Join(networks, ", then in ")+" before others"),
	)
}
