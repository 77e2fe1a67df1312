// Package proxy holds the wanted routes of a node: plain values that the plan (package plan) makes of a cluster's Services
// and that the kernel's dialects (package nftables, ...) and the flow table (package conntrack) make true.
//
// A *Route is immutable once handed over: a change is a new value, and whoever applies routes may keep the pointers as the
// record of what was applied. Both families are told alike; the family is the frontend's address's.
package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// Frontend is what a client connects to. It names a Route: no two wanted routes share one.
type Frontend struct {
	// Address is a ClusterIP, an external IP or a load balancer's IP; for a NodePort the unspecified address of its family
	// (0.0.0.0 or ::), which stands for those local addresses that Node.NodePorts allows.
	Address  netip.Addr
	Protocol cluster.Protocol
	Port     uint16
}

// IsNodePort reports whether the frontend is a port of the node rather than of an address.
func (f Frontend) IsNodePort() bool { return f.Address.IsUnspecified() }

// String is the frontend as "10.96.0.10:53/udp"; a NodePort's is "*4:30080/tcp" or "*6:30080/tcp".
func (f Frontend) String() string {
	switch {
	case !f.IsNodePort():
		return fmt.Sprintf("%s/%s", netip.AddrPortFrom(f.Address, f.Port), f.Protocol)
	case f.Address.Is4():
		return fmt.Sprintf("*4:%d/%s", f.Port, f.Protocol)
	}
	return fmt.Sprintf("*6:%d/%s", f.Port, f.Protocol)
}

// ServicePort names a port of a Service. Session affinity is kept per client address and ServicePort (with its protocol),
// whichever frontend the client used.
type ServicePort struct {
	Namespace, Name string
	Port            string // the port's name, "" where it has none
}

// String is the name as kube-proxy prints it: "prod/web:http", or "prod/web" for a port without a name.
func (p ServicePort) String() string {
	if p.Port == "" {
		return p.Namespace + "/" + p.Name
	}
	return p.Namespace + "/" + p.Name + ":" + p.Port
}

// Verdict is what happens to a new connection to a frontend, once Sources let it in.
type Verdict uint8

const (
	// Reject answers "port unreachable": nobody serves the Service port anywhere.
	Reject Verdict = iota
	// Drop is silent: endpoints exist, and the traffic policy lets this frontend use none of them.
	Drop
	// Forward leads to a random one of Endpoints, masqueraded as Masquerade says.
	Forward
	// Split is the external path under externalTrafficPolicy Local. A Pod of the cluster (Node.Pods) goes to one of Endpoints
	// and keeps its address; the node itself goes to one of Endpoints and is masqueraded; everyone else goes to one of Local
	// and keeps its address, or is dropped where Local is empty. Endpoints is never empty.
	Split
	// Verdicts is how many there are.
	Verdicts
)

var verdictNames = [Verdicts]string{"reject", "drop", "forward", "split"}

// String is the verdict's name in lower case.
func (v Verdict) String() string { return verdictNames[v] }

// Masquerade says whose connections leave with the node's address instead of their own. It is said of Forward only;
// hairpin connections (Changes.Hairpins) are masqueraded whatever it says.
type Masquerade uint8

const (
	Never   Masquerade = iota // nobody's
	Foreign                   // all but those of the cluster's Pods (Node.Pods): a client from outside uses a ClusterIP
	Always                    // everybody's
)

var masqueradeNames = [...]string{"never", "foreign", "always"}

// String is the name in lower case.
func (m Masquerade) String() string { return masqueradeNames[m] }

// Route is where a frontend leads.
type Route struct {
	Frontend
	Service    ServicePort
	Verdict    Verdict
	Masquerade Masquerade
	// Affinity is for how many seconds after its last new connection a client goes to the same endpoint again; 0 is off, as it
	// is without Endpoints.
	Affinity uint32
	// Sources are the only ones who may use the frontend, whatever the verdict; others are dropped. Nil lets in everyone.
	// It is masked, sorted and of the frontend's family.
	Sources []netip.Prefix
	// Endpoints are the choices of Forward and Split, by slot. While an endpoint stays, so does its slot, unless slots below
	// it became free and it was the last one: then it moves into the hole. So a change of one endpoint changes one element,
	// or moves one.
	Endpoints []netip.AddrPort
	// Local are the choices of Split for clients from outside, by slot, likewise.
	Local []netip.AddrPort
	// Serving are all endpoints that still serve, whatever the policies: flows to any of them agree with the route, all others
	// do not. The order means nothing; often the same array as Endpoints.
	Serving []netip.AddrPort
}

// Equal reports whether r and s say the same, slot by slot.
func (r *Route) Equal(s *Route) bool {
	return r.Frontend == s.Frontend && r.Service == s.Service && r.Verdict == s.Verdict && r.Masquerade == s.Masquerade &&
		r.Affinity == s.Affinity && slices.Equal(r.Sources, s.Sources) && slices.Equal(r.Endpoints, s.Endpoints) &&
		slices.Equal(r.Local, s.Local) && slices.Equal(r.Serving, s.Serving)
}

// String is the route on one line, as in "10.96.0.1:80/tcp prod/web:http forward 10.1.0.1:8080 10.1.0.2:8080".
func (r *Route) String() string {
	var b strings.Builder
	b.WriteString(r.Frontend.String())
	if r.Service != (ServicePort{}) { // a kernel does not know it
		fmt.Fprintf(&b, " %s", r.Service)
	}
	fmt.Fprintf(&b, " %s", r.Verdict)
	for _, e := range r.Endpoints {
		fmt.Fprintf(&b, " %s", e)
	}
	if r.Verdict == Split {
		b.WriteString(" local")
		for _, e := range r.Local {
			fmt.Fprintf(&b, " %s", e)
		}
	}
	if r.Masquerade != Never {
		fmt.Fprintf(&b, " masquerade %s", r.Masquerade)
	}
	if r.Affinity > 0 {
		fmt.Fprintf(&b, " affinity %ds", r.Affinity)
	}
	if r.Sources != nil {
		b.WriteString(" from")
		for _, s := range r.Sources {
			fmt.Fprintf(&b, " %s", s)
		}
	}
	return b.String()
}
