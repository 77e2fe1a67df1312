package etcd

import (
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string {
	return []string{
		"fallthrough", "path", "endpoint", "credentials", "tls", "no_apex_fallback", "min-lease-ttl", "max-lease-ttl",
		"stubzones", "debug", "upstream",
	}
}

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	missing := "a name under them that does not exist is NXDOMAIN"
	if len(o.Fallthrough) > 0 {
		missing = "a name that does not exist is NXDOMAIN, and goes on if it is under " + o.Fallthrough.List()
	}
	least, most := o.leases()
	return config.Clauses(
		"answers names under "+o.Zones.List()+" with the SkyDNS records under "+root(o.Path)+" in etcd at "+strings.Join(o.Endpoints, ", "),
		missing,
		config.When(o.Username != "" && o.Password != "", "logs in there as "+o.Username),
		config.When(o.TLS != nil, o.explainTLS()),
		config.When(o.NoApexFallback, "has addresses for a zone itself only below apex.dns of the zone"),
		config.When(least != defaultMinLease, "with a TTL of at least "+config.Seconds(least)+" where a lease ends earlier"),
		config.When(most != defaultMaxLease, "with a TTL of at most "+config.Seconds(most)+" where a lease ends later"),
	)
}

func (o Options) explainTLS() string {
	switch f := o.TLSFiles; len(f) {
	case 1:
		return "over TLS, trusting " + f[0]
	case 2:
		return "over TLS, with the certificate " + f[0] + " and the key " + f[1]
	case 3:
		return "over TLS, trusting " + f[2] + ", with the certificate " + f[0] + " and the key " + f[1]
	}
	return "over TLS, trusting the system's authorities"
}

// Scope are the zones outside of which the directive has nothing to do.
func (o Options) Scope() config.Zones { return o.Zones }

// Settles are the names that no directive behind is asked for.
func (o Options) Settles() []config.Region {
	var list []config.Region
	for _, zone := range o.Zones {
		list = append(list, config.Region{Zone: zone, Except: o.Fallthrough})
	}
	return list
}
