package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// special returns what makes an address one that no route may lead to or from, "" for an ordinary one. Whoever may write
// slices could otherwise reach what listens on a node's loopback (CVE-2021-25737).
func special(a netip.Addr) string {
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return "an unspecified address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast():
		return "a multicast address"
	case a == broadcast:
		return "the broadcast address"
	}
	return ""
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// sort is where a Service asks for an external IP.
type sort string

const (
	external sort = "external IP "      // in its spec, which is its owner's to write
	balancer sort = "load balancer IP " // in its status, which is a controller's
)

// allows reports whether a Service may have the external IP a, and notes it where not: whoever may write Services could
// otherwise take connections that are meant for others (CVE-2020-8554). A load balancer that runs in the cluster may have no
// other IPs than its nodes'.
func (p *Plan) allows(s *service, sort sort, a netip.Addr) bool {
	why, reason := special(a), proxy.SpecialAddress
	switch {
	case why != "":
	case p.clusterIPs.has(a):
		why, reason = "it is a ClusterIP", proxy.IsClusterIP
	case p.inRanges(a):
		why, reason = "it is in a range of ClusterIPs", proxy.IsClusterIP
	case sort == external && p.isPodAddress(a):
		why, reason = "it is in a range of Pods", proxy.IsPodAddress
	case slices.Contains(p.options.Protected, a):
		why, reason = "the configuration protects it", proxy.IsProtected
	case sort == external && !p.options.AllowNodeAddresses && p.isNodeAddress(a):
		why, reason = "it is the address of a node", proxy.IsNodeAddress
	default:
		return true
	}
	p.refuse(s, string(sort)+a.String(), why, reason)
	return false
}

func (p *Plan) inRanges(a netip.Addr) bool {
	for _, r := range p.ranges {
		if slices.ContainsFunc(r.Prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) }) {
			return true
		}
	}
	return false
}

// isPodAddress reports whether a is in a range that Pods are recognised by.
func (p *Plan) isPodAddress(a netip.Addr) bool {
	return slices.ContainsFunc(p.pods().Prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) })
}

func (p *Plan) isNodeAddress(a netip.Addr) bool {
	return p.nodes.addresses[a] > 0 || p.nodes.facts.ips[family(a)] == a
}

// maxRefusals bounds what is remembered of one Service: its slices may be made of nothing else.
const maxRefusals = 16

// refuse notes something that s does not get.
func (p *Plan) refuse(s *service, what, why string, reason proxy.Reason) {
	r := proxy.Refusal{Service: s.key, What: what, Why: why, Reason: reason}
	switch n := len(p.scratch.refused); {
	case slices.Contains(p.scratch.refused, r): // a ClusterIP is asked for once a port
	case n < maxRefusals:
		p.scratch.refused = append(p.scratch.refused, r)
	case n == maxRefusals:
		r.What = "more of the kind"
		p.scratch.refused = append(p.scratch.refused, r)
	}
}

// refuseEndpoint notes an endpoint that s does not get.
func (p *Plan) refuseEndpoint(s *service, slice *cluster.Slice, e netip.AddrPort, why string) {
	if len(p.scratch.refused) <= maxRefusals {
		p.refuse(s, fmt.Sprintf("endpoint %s of slice %s", e, slice.Name), why, proxy.SpecialAddress)
	}
}

// refusals are the Services whose refusals may differ from what was told, with those that were.
type refusals struct {
	services []*service // each once
	told     map[*service][]proxy.Refusal
}

// noteRefusals makes what was refused in this recomputation that of s. Another may follow before anything is told of it: what a
// Service gives up is another's only then.
func (p *Plan) noteRefusals(s *service) {
	now := p.scratch.refused
	if slices.Equal(now, s.refused) {
		return
	}
	p.refusals.note(s)
	s.refused = slices.Clone(now)
}

func (r *refusals) note(s *service) {
	if _, noted := r.told[s]; noted {
		return
	}
	if r.told == nil {
		r.told = map[*service][]proxy.Refusal{}
	}
	r.told[s] = s.refused
	r.services = append(r.services, s)
}

// take returns what is refused and was not told.
func (r *refusals) take() (fresh []proxy.Refusal) {
	for _, s := range r.services {
		for _, refusal := range s.refused {
			if !slices.Contains(r.told[s], refusal) {
				fresh = append(fresh, refusal)
			}
		}
	}
	*r = refusals{}
	return fresh
}

// noteHealth makes known what a load balancer is to be told now of s, where that has changed.
func (p *Plan) noteHealth(s *service) {
	h := p.healthOf(s)
	if h == s.health {
		return
	}
	s.health = h
	p.health = append(p.health, h)
}

func (p *Plan) healthOf(s *service) proxy.HealthCheck {
	h := proxy.HealthCheck{Service: s.key}
	if isRouted(s.value) != "" {
		return h
	}
	if r := s.value.Routing; r.LoadBalancer && r.ExternalLocal {
		h.Port = r.HealthCheckNodePort
	}
	if h.Port == 0 {
		return h
	}
	for f := range unspecified {
		h.Local = max(h.Local, p.readyHere(s, f))
	}
	return h
}

// readyHere counts the distinct addresses of one family that s's ready endpoints on this node have.
func (p *Plan) readyHere(s *service, f int) int {
	here := map[netip.Addr]struct{}{}
	for _, slice := range s.slices {
		if slice.HeadlessLabel || slice.FQDNs != nil {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if e.Ready() && e.State&cluster.Further == 0 && family(e.Address) == f && p.isHere(e.Place) {
				here[e.Address] = struct{}{}
			}
		}
	}
	return len(here)
}
