package prometheus

import "github.com/waypost/waypost/config"

// Words are the options that may stand in the braces.
func Words() []string { return []string{"runtime_metrics", "tls"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(
		"counts queries and replies, for /metrics at "+o.Address,
		config.When(o.TLS != "", "over TLS and to users as "+o.TLS+" says"),
		config.When(o.RuntimeMetrics, "with all metrics of the Go runtime"),
	)
}

// Endpoint is the address that the directive has for itself.
func (o Options) Endpoint() string { return o.Address }
