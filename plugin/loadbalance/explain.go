package loadbalance

import (
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"prefer", "reload"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	if o.WeightFile != "" {
		every := "looks every " + config.Brief(o.Reload) + " whether the file has changed"
		if o.Reload == 0 {
			every = "reads the file once, at the start"
		}
		return config.Clauses("the first address of an answer is drawn each time, by the weights in "+o.WeightFile, every)
	}
	var networks []string
	for _, n := range o.Prefer {
		networks = append(networks, n.String())
	}
	return config.Clauses(
		"the addresses of an answer come in a new order each time",
		config.When(len(networks) > 0, "those in "+strings.Join(networks, ", then in ")+" before others"),
	)
}
