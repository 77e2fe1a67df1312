package whoami

import "github.com/waypost/waypost/config"

// Options are what a whoami directive says: nothing.
type Options struct{}

// Explain says in words what the directive does.
func (Options) Explain() []config.Clause {
	return config.Clauses("tells a client its own address, whatever it asks")
}

// Settles are the names that no directive behind is asked for.
func (Options) Settles() []config.Region { return []config.Region{{Zone: "."}} }
