package pprof

import (
	"fmt"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"block"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(
		Path+" at "+o.Address+" shows what the process spends time and memory on",
		config.When(o.Block == 1, "records every wait of a goroutine"),
		config.When(o.Block > 1, fmt.Sprintf("records one wait of a goroutine for every %d ns of waiting", o.Block)),
	)
}

// Endpoint is the address that the directive has for itself.
func (o Options) Endpoint() string { return o.Address }
