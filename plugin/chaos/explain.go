package chaos

import (
	"cmp"
	"strings"

	"github.com/waypost/waypost/config"
)

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses("tells in class CH its version (" + cmp.Or(o.Version, "Waypost's own") + "), its authors (" +
		strings.Join(o.Authors, ", ") + ") and the host's name")
}
