package cluster

import "context"

// Source tells of a cluster: first all that is there, then what changes. An API server, a folder of manifests and a
// saved snapshot are sources; whoever listens cannot tell them apart.
type Source interface {
	// Run reports to sink until ctx ends, and only then returns. Whatever goes wrong meanwhile is the source's to log
	// and to try again: the sink keeps the last state it was told. Calls to the sink come one at a time.
	Run(ctx context.Context, sink Sink)
}

// Sink takes what a source tells.
type Sink interface {
	// Apply takes changes in the order they happened. For one object the Old of a change is the New of the one before.
	// The slice is the caller's again after the call; the objects are the sink's to keep.
	Apply(changes []Change)
	// Synced says that everything of the kind that existed at the start has been applied. It is said once per kind that
	// the source was asked for; a kind never asked for is never reported.
	Synced(kind Kind)
}

// Needs says what a listener wants to know, so that a source neither asks for nor keeps the rest. The zero value asks
// for Services, EndpointSlices and Namespaces, as plain DNS does.
type Needs struct {
	NoNamespaces bool // leave Namespaces out, which a proxy may not even be allowed to read
	NoSlices     bool // leave EndpointSlices out
	Pods         bool // Pods too
	PodNames     bool // keep Endpoint.Pod
	Zones        bool // keep the endpoints' zones (Endpoint.Place)
	Imports      bool // ServiceImports, and the slices that belong to them
	Routes       bool // what the proxy needs: Service.Routing, all of Endpoint.Place, Nodes, Ranges
	// The rest narrows what is asked for.
	Labels          string // a label selector for Services, slices and Pods; "" takes all
	NamespaceLabels string // a label selector for Namespaces and ServiceImports; "" takes all
	Routed          bool   // of an API server, only what proxies route: no headless Services, nor their slices
	NodeName        string // with Routes: watch only this Node; "" watches all
	NodeAddresses   bool   // with NodeName: the other Nodes too, but of them no more than their addresses
}

// Kinds lists the kinds that are asked for, in the order of their numbers.
func (n Needs) Kinds() []Kind {
	var kinds []Kind
	if !n.NoNamespaces {
		kinds = append(kinds, KindNamespace)
	}
	kinds = append(kinds, KindService)
	if !n.NoSlices {
		kinds = append(kinds, KindSlice)
	}
	if n.Pods {
		kinds = append(kinds, KindPod)
	}
	if n.Imports {
		kinds = append(kinds, KindImport)
	}
	if n.Routes {
		kinds = append(kinds, KindNode, KindRange)
	}
	return kinds
}
