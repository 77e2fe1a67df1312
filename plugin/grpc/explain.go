package grpc

import (
	"slices"
	"strings"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/relay"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"except", "fallthrough", "policy", "tls", "tls_servername"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	to := slices.Clone(o.To)
	if o.Policy == relay.Random { // whose order does not matter
		slices.Sort(to)
	}
	text := "asks " + strings.Join(to, ", ") + " over gRPC"
	if len(to) > 1 {
		text += ", " + o.Policy.InWords()
	}
	if o.From != "." {
		text += " for names under " + o.From
	}
	return config.Clauses(
		text,
		config.When(len(o.Except) > 0, "but not for names under "+config.Zones(slices.Sorted(slices.Values(o.Except))).List()),
		o.explainTLS(),
		config.When(o.TLSServerName != "", "servers have to have a certificate for "+o.TLSServerName),
		config.When(len(o.Fallthrough) > 0, "a name that does not exist, or that nobody replies to, goes on if it is under "+o.Fallthrough.List()),
	)
}

func (o Options) explainTLS() string {
	switch {
	case o.TLS == nil:
		return "without TLS"
	case len(o.TLSFiles) == 0:
		return "with TLS and the system's authorities"
	}
	return "with the TLS files " + strings.Join(o.TLSFiles, ", ")
}

// Scope are the zones outside of which the directive has nothing to do.
func (o Options) Scope() config.Zones { return config.Zones{o.From} }

// Settles are the names that always have an answer: what falls through has the upstream's where there is nothing behind.
func (o Options) Settles() []config.Region { return []config.Region{{Zone: o.From, Except: o.Except}} }
