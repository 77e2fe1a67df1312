package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/account"
)

// Services returns the names of all that is known as a Service, sorted.
func (p *Plan) Services() []cluster.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]cluster.Key, 0, len(p.services))
	for key, s := range p.services {
		if s.value != nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// Account tells of one Service where its frontends lead and what becomes of each of its endpoints. The routes are those of
// the last Take. It reports false where there is no such Service.
func (p *Plan) Account(key cluster.Key) (account.Service, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[key]
	if s == nil || s.value == nil {
		return account.Service{}, false
	}
	a := account.Service{Namespace: key.Namespace, Name: key.Name, Why: isRouted(s.value)}
	if a.Why != "" {
		return a, true
	}
	for i := range s.groups {
		a.Ports = append(a.Ports, p.accountOf(s, &s.groups[i]))
	}
	a.Slices = unusedSlices(s)
	for _, r := range s.refused {
		a.Refused = append(a.Refused, account.Refusal{What: r.What, Why: r.Why, Reason: r.Reason.String()})
	}
	return a, true
}

func (p *Plan) accountOf(s *service, g *group) account.Port {
	a := account.Port{Name: g.port, Protocol: g.protocol.String(), Family: familyNames[g.family]}
	for _, r := range g.routes {
		a.Routes = append(a.Routes, account.RouteOf(r))
	}
	i := slices.IndexFunc(s.value.Ports, func(port cluster.Port) bool { return port.Name == g.port && port.Protocol == g.protocol })
	if i < 0 { // the Service has changed since the last Take
		return a
	}
	p.scratch.refused = p.scratch.refused[:0]
	p.gather(s, g)
	policy := policyOf(s.value, &s.value.Ports[i], g.family)
	p.leaveOut(s, policy)
	rule := p.ruleFor(policy)
	a.Endpoints = make([]account.Endpoint, 0, len(p.scratch.found))
	for i := range p.scratch.found {
		a.Endpoints = append(a.Endpoints, rule.accountOf(&p.scratch.found[i]))
	}
	return a
}

var familyNames = [2]string{"IPv4", "IPv6"}

func (r *rule) accountOf(c *candidate) account.Endpoint {
	use := r.use(c)
	e := account.Endpoint{Address: c.address, State: c.stateName(), Cluster: use&inCluster != 0, Local: use&inLocal != 0}
	if c.place != nil {
		e.Node = c.place.Node
	}
	if !e.Cluster && !e.Local {
		e.Why = r.whyNot(c)
	}
	return e
}

func (c *candidate) stateName() string {
	switch {
	case c.silent:
		return "silent"
	case c.ready():
		return "ready"
	case c.leaving():
		return "leaving"
	case c.state&cluster.Terminating != 0:
		return "dying"
	}
	return "unready"
}

// whyNot says why c, which is used for nothing, is not.
func (r *rule) whyNot(c *candidate) string {
	switch {
	case c.silent:
		return "it does not answer this node's questions, or has yet to"
	case c.state&(cluster.Ready|cluster.Serving) == 0 && c.state&cluster.Terminating != 0:
		return "it is being deleted and serves no more"
	case !c.ready() && !c.leaving():
		return "it is not ready"
	case !r.usesCluster:
		return "it is not on this node, and the policy is Local"
	case c.leaving():
		return "it is being deleted, and others are ready"
	case r.hints == nodeHints:
		return fmt.Sprintf("its hints leave it to %s", strings.Join(c.place.ForNodes, ", "))
	}
	return fmt.Sprintf("its hints leave it to %s", strings.Join(c.place.ForZones, ", "))
}

// unusedSlices are those of which no port is used, and why.
func unusedSlices(s *service) []account.Slice {
	var unused []account.Slice
	for _, slice := range s.slices {
		why := ""
		switch {
		case slice.HeadlessLabel:
			why = "the label " + headlessLabel + " keeps it from proxies"
		case slice.FQDNs != nil:
			why = "its endpoints are names"
		case !slices.ContainsFunc(slice.Ports, func(port cluster.Port) bool { return hasPort(s.value, port) }):
			why = "none of its ports has the name and protocol of one of the Service's"
		default:
			continue
		}
		unused = append(unused, account.Slice{Name: slice.Name, Why: why})
	}
	return unused
}

const headlessLabel = "service.kubernetes.io/headless"

func hasPort(s *cluster.Service, port cluster.Port) bool {
	return port.Number != 0 && slices.ContainsFunc(s.Ports, func(p cluster.Port) bool {
		return p.Name == port.Name && p.Protocol == port.Protocol
	})
}
