package reload

import "github.com/waypost/waypost/config"

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	text := "looks about every " + config.Brief(o.Interval) + " whether the Corefile has changed, and serves what it says then"
	return config.Clauses(text, config.When(o.Jitter > 0, "each process at its own pace, up to "+config.Brief(o.Jitter/2)+" off"))
}
