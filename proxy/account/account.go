// Package account is what is told to people who ask where a Service leads on a node, and why not elsewhere: the plan gives
// an Account of each Service, waypost-proxy serves them as JSON, one a line, and `waypost-proxy routes` prints them beside
// what the kernel has.
package account

import (
	"fmt"
	"net/netip"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// Service is the account of one Service.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Why says why the Service has no routes at all; "" where it has.
	Why     string    `json:"why,omitempty"`
	Ports   []Port    `json:"ports,omitempty"`
	Slices  []Slice   `json:"unusedSlices,omitempty"`
	Refused []Refusal `json:"refused,omitempty"`
}

// Port is a port of a Service in one family.
type Port struct {
	Name      string     `json:"name"`
	Protocol  string     `json:"protocol"`
	Family    string     `json:"family"` // IPv4 or IPv6
	Routes    []Route    `json:"routes"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Route is a proxy.Route in JSON.
type Route struct {
	Address    netip.Addr       `json:"address"` // 0.0.0.0 or :: for a NodePort
	Port       uint16           `json:"port"`
	Protocol   string           `json:"protocol"`
	NodePort   bool             `json:"nodePort,omitempty"`
	Verdict    string           `json:"verdict"`
	Masquerade string           `json:"masquerade,omitempty"` // of the verdict forward only
	Affinity   uint32           `json:"affinitySeconds,omitempty"`
	Sources    []netip.Prefix   `json:"sources,omitempty"`
	Endpoints  []netip.AddrPort `json:"endpoints,omitempty"`
	Local      []netip.AddrPort `json:"local,omitempty"`
	// Kernel is what the kernel has instead, where it differs; "nothing" where it has no such route. Only `waypost-proxy
	// routes` fills it in.
	Kernel string `json:"kernel,omitempty"`
}

// Endpoint is one that a Service port has, used or not.
type Endpoint struct {
	Address netip.AddrPort `json:"address"`
	Node    string         `json:"node,omitempty"`
	State   string         `json:"state"` // ready, leaving (it serves while it is being deleted), unready or dying
	// Cluster and Local say whether it is used where endpoints anywhere, or on this node, are chosen from.
	Cluster bool   `json:"cluster"`
	Local   bool   `json:"local,omitempty"`
	Why     string `json:"why,omitempty"` // why it is not used
}

// Slice is an EndpointSlice of which nothing can be used.
type Slice struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Refusal is a proxy.Refusal in JSON.
type Refusal struct {
	What   string `json:"what"`
	Why    string `json:"why"`
	Reason string `json:"reason"`
}

// RouteOf puts a route into JSON's words.
func RouteOf(r *proxy.Route) Route {
	a := Route{
		Address: r.Address, Port: r.Port, Protocol: r.Protocol.String(), NodePort: r.IsNodePort(), Verdict: r.Verdict.String(),
		Affinity: r.Affinity, Sources: r.Sources, Endpoints: r.Endpoints, Local: r.Local,
	}
	if r.Verdict == proxy.Forward {
		a.Masquerade = r.Masquerade.String()
	}
	return a
}

// Frontend is the route's; it is the zero Frontend where the protocol is none.
func (r *Route) Frontend() proxy.Frontend {
	for _, p := range []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP} {
		if p.String() == r.Protocol {
			return proxy.Frontend{Address: r.Address, Protocol: p, Port: r.Port}
		}
	}
	return proxy.Frontend{}
}

// differs says how the kernel's route k differs from r, as far as a kernel knows; "" where it does not. The slots of
// endpoints do not count: they are no concern of who is served.
func (r *Route) differs(k *proxy.Route) string {
	switch {
	case k == nil:
		return "nothing"
	case k.Verdict.String() != r.Verdict:
		return k.Verdict.String()
	case r.Verdict == proxy.Forward.String() && k.Masquerade.String() != r.Masquerade:
		return "masquerade " + k.Masquerade.String()
	case k.Affinity != r.Affinity:
		return fmt.Sprintf("affinity %ds", k.Affinity)
	case !sameMembers(k.Sources, r.Sources):
		return fmt.Sprintf("sources %v", k.Sources)
	case !sameMembers(k.Endpoints, r.Endpoints):
		return fmt.Sprintf("endpoints %v", k.Endpoints)
	case !sameMembers(k.Local, r.Local):
		return fmt.Sprintf("local %v", k.Local)
	}
	return ""
}

func sameMembers[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	count := make(map[T]int, len(a))
	for _, e := range a {
		count[e]++
	}
	for _, e := range b {
		if count[e]--; count[e] < 0 {
			return false
		}
	}
	return true
}
