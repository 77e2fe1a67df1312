package ready

import "github.com/waypost/waypost/config"

// Words are the options that may stand in the braces.
func Words() []string { return []string{"monitor"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(
		"/ready at "+o.Address+" says whether all is ready to serve",
		config.When(o.Continuously, "what was ready once is asked again each time"),
	)
}

// Endpoint is the address that the directive has for itself.
func (o Options) Endpoint() string { return o.Address }
