package loop

import "github.com/waypost/waypost/config"

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	if o.Exit {
		return config.Clauses("ends the process if a server of forward leads back here")
	}
	return config.Clauses("takes a server of forward that leads back here out of use")
}
