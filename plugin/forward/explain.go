package forward

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
)

// Words are the options that may stand in the braces.
func Words() []string { return slices.Sorted(maps.Keys(parsers)) }

// Lines are all lines of forward in a server block.
type Lines []Options

// Explain says in words what the directive does.
func (l Lines) Explain() []config.Clause {
	var list []config.Clause
	for _, o := range l {
		for _, clause := range o.explain() {
			clause.Pos = o.Pos
			list = append(list, clause)
		}
	}
	return list
}

// Scope are the zones outside of which the directive has nothing to do.
func (l Lines) Scope() config.Zones {
	var zones config.Zones
	for _, o := range l {
		zones = append(zones, o.From)
	}
	return zones
}

// Settles are the names that no directive behind is asked for.
func (l Lines) Settles() []config.Region {
	var list []config.Region
	for _, o := range l {
		list = append(list, config.Region{Zone: o.From, Except: o.Except})
	}
	return list
}

// Leads are the addresses that names under a zone are forwarded to, by what the Corefile and the files it names say.
type Leads struct {
	Zone    string
	Pos     config.Pos
	Servers []netip.AddrPort // those that are asked in plain DNS
	From    string           // the file that names them, "" for the Corefile
}

// Leads are where the lines lead.
func (l Lines) Leads() []Leads {
	var list []Leads
	for _, o := range l {
		for _, to := range o.To {
			leads := Leads{Zone: o.From, Pos: o.Pos, From: to.File}
			switch {
			case to.File != "":
				leads.Servers, _ = relay.ReadResolvConf(to.File) // that it cannot be read was an error before
			case to.Addr.IsValid() && to.Protocol == upstream.Plain:
				leads.Servers = []netip.AddrPort{to.Addr}
			}
			list = append(list, leads)
		}
	}
	return list
}

func (o Options) explain() []config.Clause {
	var to []string
	for _, t := range o.To {
		to = append(to, t.String())
	}
	if o.Policy == relay.Random { // whose order does not matter
		slices.Sort(to)
	}
	text := "asks " + strings.Join(to, ", ") + ", " + o.Policy.InWords()
	if len(o.To) == 1 && o.To[0].File == "" {
		text = "asks " + to[0]
	}
	if o.From != "." {
		text += " for names under " + o.From
	}
	list := config.Clauses(text,
		config.When(len(o.Except) > 0, "but not for names under "+config.Zones(slices.Sorted(slices.Values(o.Except))).List()))
	list = append(list, o.explainWay()...)
	list = append(list, o.explainHealth()...)
	return append(list, o.explainReplies()...)
}

// explainWay says how servers are asked.
func (o Options) explainWay() []config.Clause {
	return config.Clauses(
		config.When(o.ForceTCP, "over TCP always"),
		config.When(o.PreferUDP && !o.ForceTCP, "over UDP first, whatever the client came by"),
		o.explainTLS(),
		config.When(o.TLSServerName != "", "over TLS servers have to have a certificate for "+o.TLSServerName),
		config.When(o.DoHMethod == "GET", "over HTTPS by GET"),
		config.When(o.Source.IsValid(), "sends from "+o.Source.String()),
		config.When(o.Expire != defaultExpire, "keeps idle connections for "+config.Brief(o.Expire)),
		config.When(o.MaxAge > 0, "keeps no connection longer than "+config.Brief(o.MaxAge)),
		config.When(o.MaxIdleConns > 0, fmt.Sprintf("keeps at most %d idle connections to each server", o.MaxIdleConns)),
		config.When(o.ReadTimeout != defaultReadTimeout, "waits "+config.Brief(o.ReadTimeout)+" for a reply"),
		config.When(len(o.Resolver) > 0, "asks "+strings.Join(o.Resolver, ", ")+" for the addresses of host names"),
	)
}

func (o Options) explainTLS() string {
	if len(o.TLSFiles) == 0 {
		return ""
	}
	return "with the TLS files " + strings.Join(o.TLSFiles, ", ")
}

// explainHealth says when a server is out of use.
func (o Options) explainHealth() []config.Clause {
	probes := fmt.Sprintf("a server is out of use after %d failed probes", o.MaxFails)
	switch o.MaxFails {
	case 0:
		probes = "a server is never out of use"
	case defaultMaxFails:
		probes = ""
	}
	attempts := fmt.Sprintf("asks at most %d times for one query", o.MaxConnectAttempts)
	if o.MaxConnectAttempts == 0 {
		attempts = "asks as often as 5s allow for one query"
	}
	return config.Clauses(
		probes,
		config.When(o.HealthCheck != defaultHealthCheck, "probes a server that fails after "+config.Brief(o.HealthCheck)),
		config.When(o.HealthNoRecurse, "probes do not ask for recursion"),
		config.When(o.HealthDomain != message.Root, "probes ask for "+o.HealthDomain.String()),
		config.When(o.MaxConnectAttempts >= 0, attempts),
		config.When(o.FailFast, "SERVFAIL at once while all servers are out of use"),
	)
}

// explainReplies says what becomes of queries and replies.
func (o Options) explainReplies() []config.Clause {
	return config.Clauses(
		config.When(o.MaxConcurrent > 0, fmt.Sprintf("at most %d queries wait at a time, beyond that they are refused", o.MaxConcurrent)),
		config.When(len(o.Next) > 0, "replies "+rcodes(o.Next)+" are left to the next forward"),
		config.When(o.NextOnNoData, "replies without an answer are left to the next forward"),
		config.When(len(o.Failover) > 0, "after "+rcodes(o.Failover)+" the next server is asked"),
	)
}

func rcodes(codes []message.Rcode) string {
	var names []string
	for _, code := range codes {
		names = append(names, dns.RcodeToString[int(code)])
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// String is where it leads, in words.
func (t To) String() string {
	if t.File != "" {
		return "the servers of " + t.File
	}
	host, port := t.Host, t.Port
	if t.Addr.IsValid() {
		host, port = t.Addr.Addr().String(), t.Addr.Port()
	}
	text := host
	if port != ports[t.Protocol] {
		text = net.JoinHostPort(host, fmt.Sprint(port))
	}
	switch t.Protocol {
	case upstream.TLS:
		text += " over TLS"
	case upstream.HTTPS:
		text += " over HTTPS"
	}
	return text + config.When(t.ServerName != "", " as "+t.ServerName)
}
