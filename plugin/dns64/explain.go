package dns64

import (
	"fmt"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string { return []string{"prefix", "translate_all", "allow_ipv4"} }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	return config.Clauses(
		fmt.Sprintf("gives clients that ask over IPv6 the IPv4 addresses of names without IPv6 ones, under %s", o.Prefix),
		config.When(o.TranslateAll, "also where there are IPv6 addresses"),
		config.When(o.AllowIPv4, "also clients that ask over IPv4"),
	)
}
