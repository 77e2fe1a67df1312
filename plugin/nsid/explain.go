package nsid

import (
	"fmt"
	"os"

	"github.com/waypost/waypost/config"
)

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	name := fmt.Sprintf("%q", o.Name)
	if host, err := os.Hostname(); err == nil && host == o.Name {
		name = "the host's name"
	}
	return config.Clauses("clients that ask who answers (dig +nsid) are told " + name)
}
