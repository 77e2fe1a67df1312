package bufsize

import (
	"fmt"

	"github.com/waypost/waypost/config"
)

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(fmt.Sprintf("a reply over UDP has at most %d bytes", o.Size))
}
