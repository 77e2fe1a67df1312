package autopath

import (
	"strings"

	"github.com/waypost/waypost/config"
)

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	var own []string
	for _, name := range o.Search {
		own = append(own, name.String())
	}
	if o.From != "" {
		return config.Clauses("goes through the search domains of the asking Pod, as " + o.From + " knows them, for names under " +
			o.Zones.List() + ", then through the host's own")
	}
	return config.Clauses("goes through the search domains " + strings.Join(own, ", ") + " for names under " + o.Zones.List())
}

// Scope are the zones outside of which the directive has nothing to do.
func (o Options) Scope() config.Zones { return o.Zones }

// Renames reports whether the directives behind may be asked for other names than the block is.
func (o Options) Renames() bool { return true }
