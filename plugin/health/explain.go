package health

import "github.com/waypost/waypost/config"

// Words are the options that may stand in the braces.
func Words() []string { return []string{"lameduck"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(
		"/health at "+o.Address+" says OK for as long as the process lives",
		config.When(o.Lameduck > 0, "after SIGTERM all goes on for "+config.Brief(o.Lameduck)+", so that clients can go elsewhere"),
	)
}

// Endpoint is the address that the directive has for itself.
func (o Options) Endpoint() string { return o.Address }
