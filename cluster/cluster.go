// Package cluster holds the plain values that every part of Waypost speaks of: what a Kubernetes API server knows of
// Services, EndpointSlices, Pods, Namespaces and ServiceImports, reduced to what DNS and routing need.
//
// Values are immutable once handed over: a source (package watch) makes them, the zone (package records) and the route
// plan (package proxy) keep pointers to them. A change is a new value. The package needs the standard library only.
package cluster

import (
	"net/netip"
	"slices"
)

// Object is one value of the cluster: *Service, *Slice, *Pod, *Namespace, *Import, *Node or *Range.
type Object interface {
	// Key names the object among those of its kind.
	Key() Key
	// Kind says which of the concrete types it is.
	Kind() Kind
	// Equal reports whether o, of the same kind, says the same. A source uses it to drop updates that change nothing.
	Equal(o Object) bool
}

// Kind is the type of an object. The order is the one in which a batch is applied: a Namespace before what lives in it.
type Kind uint8

// The kinds, named as the API names the resources.
const (
	KindNamespace Kind = iota
	KindService
	KindSlice
	KindPod
	KindImport
	KindNode
	KindRange
	Kinds // how many there are
)

var kindNames = [Kinds]string{"namespaces", "services", "endpointslices", "pods", "serviceimports", "nodes", "servicecidrs"}

// String is the API's plural resource name, as in "endpointslices".
func (k Kind) String() string { return kindNames[k] }

// Key is an object's namespace (empty for Namespaces and Nodes) and name.
type Key struct{ Namespace, Name string }

// String is the key as kubectl prints it: "namespace/name", or "name" alone.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Change is one step of an object's life: Old is nil for an add, New for a delete.
type Change struct {
	Old, New Object
}

// Object is the newer of the two values, the one that names the change.
func (c Change) Object() Object {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

// Protocol is a transport protocol's IANA number.
type Protocol uint8

// The protocols a Service port can have.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// ParseProtocol reads the API's spelling; the empty string is TCP, as the API defaults it.
func ParseProtocol(s string) (Protocol, bool) {
	switch s {
	case "TCP", "":
		return TCP, true
	case "UDP":
		return UDP, true
	case "SCTP":
		return SCTP, true
	}
	return 0, false
}

// String is the lower-case name, as in the label of an SRV name without its underscore.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return "unknown"
}

// Port is a named port of a Service, a slice or a ServiceImport.
type Port struct {
	Name     string // may be empty
	Protocol Protocol
	Number   uint16 // 0 in a slice means "all ports"
	NodePort uint16 // 0 where there is none; only of a Service with Routing
}

// ServiceType is how a Service gives its address, which is not quite the API's field: headless is a type here.
type ServiceType uint8

// The types. NodePort and LoadBalancer Services are ClusterIP for DNS; what routes need of them is in Routing.
const (
	ClusterIP ServiceType = iota
	Headless
	ExternalName
)

// Service is a v1 Service.
type Service struct {
	Namespace, Name string
	Type            ServiceType
	ClusterIPs      []netip.Addr // in the order of spec.clusterIPs; empty unless Type is ClusterIP
	ExternalName    string       // spec.externalName as written; empty unless Type is ExternalName
	Ports           []Port       // in the order of spec.ports
	Routing         *Routing     // nil unless the source was asked for routes
}

// Key implements Object.
func (s *Service) Key() Key { return Key{s.Namespace, s.Name} }

// Kind implements Object.
func (s *Service) Kind() Kind { return KindService }

// Equal implements Object.
func (s *Service) Equal(o Object) bool {
	t, ok := o.(*Service)
	return ok && s.Key() == t.Key() && s.Type == t.Type && s.ExternalName == t.ExternalName &&
		slices.Equal(s.ClusterIPs, t.ClusterIPs) && slices.Equal(s.Ports, t.Ports) && s.Routing.equal(t.Routing)
}

// Routing is what only the proxy needs of a Service.
type Routing struct {
	ExternalIPs         []netip.Addr
	LoadBalancerIPs     []netip.Addr // status.loadBalancer.ingress with ipMode VIP or none; ipMode Proxy is left out
	SourceRanges        []netip.Prefix
	AffinitySeconds     uint32 // session affinity by client address; 0 is off
	InternalLocal       bool   // internalTrafficPolicy: Local
	ExternalLocal       bool   // externalTrafficPolicy: Local
	HealthCheckNodePort uint16 // 0 where there is none
	Distribution        string // spec.trafficDistribution, "" where unset
	LoadBalancer        bool   // spec.type is LoadBalancer
	AllocatesNodePorts  bool   // spec.allocateLoadBalancerNodePorts is not false
	TopologyMode        string // the annotation service.kubernetes.io/topology-mode, lower case
	PublishNotReady     bool   // spec.publishNotReadyAddresses
	OtherProxy          bool   // the label service.kubernetes.io/service-proxy-name is present: another proxy's Service
	Created             int64  // metadata.creationTimestamp, Unix seconds: who asked first for an address
}

func (r *Routing) equal(t *Routing) bool {
	if r == nil || t == nil {
		return r == t
	}
	a, b := *r, *t
	return slices.Equal(a.ExternalIPs, b.ExternalIPs) && slices.Equal(a.LoadBalancerIPs, b.LoadBalancerIPs) &&
		slices.Equal(a.SourceRanges, b.SourceRanges) && a.AffinitySeconds == b.AffinitySeconds &&
		a.InternalLocal == b.InternalLocal && a.ExternalLocal == b.ExternalLocal &&
		a.HealthCheckNodePort == b.HealthCheckNodePort && a.Distribution == b.Distribution &&
		a.LoadBalancer == b.LoadBalancer && a.AllocatesNodePorts == b.AllocatesNodePorts &&
		a.TopologyMode == b.TopologyMode && a.PublishNotReady == b.PublishNotReady &&
		a.OtherProxy == b.OtherProxy && a.Created == b.Created
}

// Slice is a discovery/v1 EndpointSlice.
type Slice struct {
	Namespace, Name string
	Service         string // the label kubernetes.io/service-name; "" where the slice has none
	Multicluster    string // the label multicluster.kubernetes.io/service-name: the slice of a ServiceImport
	SourceCluster   string // the label multicluster.kubernetes.io/source-cluster, for the above
	Ports           []Port
	Endpoints       []Endpoint
	FQDNs           []string // addressType FQDN: the name of each of Endpoints, whose Address is then the zero Addr
	HeadlessLabel   bool     // the label service.kubernetes.io/headless is present: not for proxies. Kept only for routes
	Triggered       int64    // annotation endpoints.kubernetes.io/last-change-trigger-time, Unix nanoseconds; 0 where absent
}

// Key implements Object.
func (s *Slice) Key() Key { return Key{s.Namespace, s.Name} }

// Kind implements Object.
func (s *Slice) Kind() Kind { return KindSlice }

// Equal implements Object. Triggered does not count: it says when the slice changed, not what it says.
func (s *Slice) Equal(o Object) bool {
	t, ok := o.(*Slice)
	return ok && s.Key() == t.Key() && s.Service == t.Service && s.Multicluster == t.Multicluster &&
		s.SourceCluster == t.SourceCluster && s.HeadlessLabel == t.HeadlessLabel && slices.Equal(s.Ports, t.Ports) &&
		slices.EqualFunc(s.Endpoints, t.Endpoints, Endpoint.equal) && slices.Equal(s.FQDNs, t.FQDNs)
}

// Endpoint is one address of one endpoint of a slice. An endpoint with several addresses becomes several values, of
// which all but the first are marked Further. There may be 100,000 of them: what many have in common is in Place.
type Endpoint struct {
	Address  netip.Addr // zero in a slice of names
	Hostname string     // the endpoint's hostname label, "" where it has none
	Pod      string     // the name of the Pod behind it; kept only where the source was asked for Pod names
	Place    *Place     // shared, often by all endpoints of a node; nil where nothing is known or was asked for
	State    State
}

func (e Endpoint) equal(f Endpoint) bool {
	return e.Address == f.Address && e.Hostname == f.Hostname && e.Pod == f.Pod && e.State == f.State &&
		e.Place.equal(f.Place)
}

// Ready reports whether the endpoint takes new traffic; an unset condition counts as ready.
func (e *Endpoint) Ready() bool { return e.State&Ready != 0 }

// Zone is the zone the endpoint is in, as the API writes it; "" where none is known.
func (e *Endpoint) Zone() string {
	if e.Place == nil {
		return ""
	}
	return e.Place.Zone
}

// Place says where an endpoint is, and who is near.
type Place struct {
	Zone string // kept only where the source was asked for zones or routes
	// The rest is kept only where the source was asked for routes.
	Node     string
	ForZones []string // the zone hints: who should use the endpoint; empty where there are none
	ForNodes []string // the node hints, likewise
}

func (p *Place) equal(q *Place) bool {
	if p == q || p == nil || q == nil {
		return p == q
	}
	return p.Zone == q.Zone && p.Node == q.Node &&
		slices.Equal(p.ForZones, q.ForZones) && slices.Equal(p.ForNodes, q.ForNodes)
}

// State is the set of an endpoint's conditions.
type State uint8

// The conditions as the API means them: an unset "ready" or "serving" is true, an unset "terminating" false.
const (
	Ready       State = 1 << iota
	Serving           // ready, whether or not it is terminating
	Terminating       // being deleted
	Further           // not the first address of its endpoint; a proxy uses the first only
)

// Pod is a v1 Pod that runs or waits to: finished ones are no part of the cluster here.
type Pod struct {
	Namespace, Name string
	IPs             []netip.Addr // status.podIPs
}

// Key implements Object.
func (p *Pod) Key() Key { return Key{p.Namespace, p.Name} }

// Kind implements Object.
func (p *Pod) Kind() Kind { return KindPod }

// Equal implements Object.
func (p *Pod) Equal(o Object) bool {
	t, ok := o.(*Pod)
	return ok && p.Key() == t.Key() && slices.Equal(p.IPs, t.IPs)
}

// Namespace is a v1 Namespace.
type Namespace struct{ Name string }

// Key implements Object.
func (n *Namespace) Key() Key { return Key{Name: n.Name} }

// Kind implements Object.
func (n *Namespace) Kind() Kind { return KindNamespace }

// Equal implements Object.
func (n *Namespace) Equal(o Object) bool {
	t, ok := o.(*Namespace)
	return ok && n.Name == t.Name
}

// Import is a ServiceImport of the Multi-Cluster Services API (multicluster.x-k8s.io/v1alpha1).
type Import struct {
	Namespace, Name string
	Headless        bool
	IPs             []netip.Addr // spec.ips
	Ports           []Port
}

// Key implements Object.
func (i *Import) Key() Key { return Key{i.Namespace, i.Name} }

// Kind implements Object.
func (i *Import) Kind() Kind { return KindImport }

// Equal implements Object.
func (i *Import) Equal(o Object) bool {
	t, ok := o.(*Import)
	return ok && i.Key() == t.Key() && i.Headless == t.Headless && slices.Equal(i.IPs, t.IPs) && slices.Equal(i.Ports, t.Ports)
}

// Node is a v1 Node, for the proxy.
type Node struct {
	Name      string
	Addresses []netip.Addr   // status.addresses: of type InternalIP, then ExternalIP
	PodCIDRs  []netip.Prefix // spec.podCIDRs
	Zone      string         // the label topology.kubernetes.io/zone
	Leaving   bool           // being deleted, or tainted ToBeDeletedByClusterAutoscaler
	Excluded  bool           // the label node.kubernetes.io/exclude-from-external-load-balancers is present
}

// Key implements Object.
func (n *Node) Key() Key { return Key{Name: n.Name} }

// Kind implements Object.
func (n *Node) Kind() Kind { return KindNode }

// Equal implements Object.
func (n *Node) Equal(o Object) bool {
	t, ok := o.(*Node)
	return ok && n.Name == t.Name && n.Zone == t.Zone && n.Leaving == t.Leaving && n.Excluded == t.Excluded &&
		slices.Equal(n.Addresses, t.Addresses) && slices.Equal(n.PodCIDRs, t.PodCIDRs)
}

// Range is a networking.k8s.io/v1 ServiceCIDR, for the proxy: where the API server takes ClusterIPs from.
type Range struct {
	Name     string
	Prefixes []netip.Prefix // spec.cidrs, one a family at most
}

// Key implements Object.
func (r *Range) Key() Key { return Key{Name: r.Name} }

// Kind implements Object.
func (r *Range) Kind() Kind { return KindRange }

// Equal implements Object.
func (r *Range) Equal(o Object) bool {
	t, ok := o.(*Range)
	return ok && r.Name == t.Name && slices.Equal(r.Prefixes, t.Prefixes)
}
