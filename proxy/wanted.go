package proxy

import (
	"net/netip"
	"slices"

	"github.com/waypost/waypost/cluster"
)

// Kernel makes the kernel do what is wanted. Calls come one at a time.
type Kernel interface {
	// Sync makes the kernel's state that of wanted, whatever it was before: at the start, after an error of either method, and
	// when somebody else has touched what is ours. What is right already is left alone.
	Sync(wanted *Wanted) error
	// Apply brings changes to what the last Sync or Apply made, all at once. After an error nothing is known about the kernel,
	// and Sync comes next.
	Apply(changes *Changes) error
	// Read tells the routes that are installed now, in any order, as far as the kernel knows them: Service, Serving and the
	// order of Sources may be missing. A plan that begins anew keeps endpoints in the slots it finds them in, so that a
	// restart changes nothing; and people are shown where the kernel and the plan differ. It is for rare use.
	Read() ([]*Route, error)
}

// Wanted is all that is wanted.
type Wanted struct {
	Node Node
	// Routes come in the order in which a start in pieces should install them: the cluster's DNS first.
	Routes     []*Route
	Hairpins   []Hairpin
	ClusterIPs []netip.Addr
}

// Changes is the difference between two states of Wanted. Each list names a thing once; a list is nil where nothing differs.
type Changes struct {
	Node       *Node // the new one; nil where it is as before
	Routes     []RouteChange
	Hairpins   []HairpinChange
	ClusterIPs []AddressChange
	// Health are the Services whose answer to a load balancer's health check differs. No concern of a Kernel.
	Health []HealthCheck
	// Refused are what newly was left out for safety's sake. No concern of a Kernel.
	Refused []Refusal
	// Triggered are the times at which what caused the changes was written, as far as the slices tell. No concern of a Kernel.
	Triggered []Trigger
}

// Trigger is when something was written that caused a change of a family's routes.
type Trigger struct {
	Family string // "IPv4" or "IPv6"
	At     int64  // in Unix nanoseconds
}

// Empty reports whether there is nothing for a Kernel to do.
func (c *Changes) Empty() bool {
	return c.Node == nil && len(c.Routes) == 0 && len(c.Hairpins) == 0 && len(c.ClusterIPs) == 0
}

// Refusal is something a Service asked for and does not get, so that it cannot take the traffic of others.
type Refusal struct {
	Service cluster.Key
	What    string // as in "endpoint 127.0.0.1:80" or "external IP 10.96.0.10"
	Why     string // as in "a loopback address"
	Reason  Reason
}

// Reason is a refusal's, for counting.
type Reason uint8

// The reasons.
const (
	SpecialAddress Reason = iota // loopback, link-local, multicast or unspecified
	IsClusterIP                  // the external IP is a ClusterIP, or in the ranges they are taken from
	IsNodeAddress                // the external IP is a node's
	IsPodAddress                 // the external IP is in a range of Pods
	IsProtected                  // the external IP is one that the configuration protects
	IsTaken                      // another Service had the frontend first
	Reasons                      // how many there are
)

var reasonNames = [Reasons]string{"special_address", "cluster_ip", "node_address", "pod_address", "protected_address", "taken"}

// String is the reason as metrics spell it.
func (r Reason) String() string { return reasonNames[r] }

// RouteChange is one route's: Old is nil for one that begins, New for one that ends. Both have the same frontend.
type RouteChange struct{ Old, New *Route }

// Hairpin is an endpoint on this node that may be chosen for its own connections: those leave masqueraded, so that the
// answers come back through the node. A kernel finds them by source address = destination address = Address.
type Hairpin struct {
	Endpoint netip.AddrPort
	Protocol cluster.Protocol
}

// HairpinChange adds or removes one.
type HairpinChange struct {
	Hairpin
	Gone bool
}

// AddressChange adds an address to a set or removes it.
type AddressChange struct {
	Address netip.Addr
	Gone    bool
}

// HealthCheck is what a load balancer is told on Port about a Service with externalTrafficPolicy Local.
type HealthCheck struct {
	Service cluster.Key
	Port    uint16 // healthCheckNodePort; 0 where there is no check any more
	Local   int    // how many distinct addresses of ready endpoints there are on this node
}

// Node is what all routes of a node have in common.
type Node struct {
	// Pods tells connections of the cluster's Pods on this node from others.
	Pods Detector
	// NodePorts are the ranges of local addresses on which NodePorts are open, of both families; 0.0.0.0/0 or ::/0 is all of
	// the family's. Loopback addresses never are among them, even where a range contains them. An address counts from when an
	// interface has it.
	NodePorts []netip.Prefix
	// ServiceRanges are those that ClusterIPs are taken from. New connections to an address in them that is not in
	// Wanted.ClusterIPs are dropped; those to one in Wanted.ClusterIPs, but to a port that no route has, are rejected.
	ServiceRanges []netip.Prefix
}

// Equal reports whether n and m say the same.
func (n *Node) Equal(m *Node) bool {
	return n.Pods.Interface == m.Pods.Interface && n.Pods.InterfacePrefix == m.Pods.InterfacePrefix &&
		slices.Equal(n.Pods.Prefixes, m.Pods.Prefixes) && slices.Equal(n.NodePorts, m.NodePorts) &&
		slices.Equal(n.ServiceRanges, m.ServiceRanges)
}

// Detector recognises connections of Pods. At most one of its fields is set; with none, everyone is taken for a Pod where
// it saves masquerading (Foreign is never used then), and nobody is by Split.
type Detector struct {
	Prefixes        []netip.Prefix // by source address; one a family at most. Of a family without one, nobody is recognised
	Interface       string         // by the interface, a bridge, that packets come in on
	InterfacePrefix string         // by the beginning of that interface's name
}

// Knows reports whether the detector can recognise Pods with addresses of a's family.
func (d *Detector) Knows(a netip.Addr) bool {
	if d.Interface != "" || d.InterfacePrefix != "" {
		return true
	}
	for _, p := range d.Prefixes {
		if p.Addr().Is4() == a.Is4() {
			return true
		}
	}
	return false
}
