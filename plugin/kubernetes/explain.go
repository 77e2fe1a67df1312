package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/records"
)

// Words are the options that may stand in the braces.
func Words() []string { return slices.Sorted(maps.Keys(arities)) }

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	missing := "a name under them that does not exist is NXDOMAIN"
	if len(o.Fallthrough) > 0 {
		missing = "a name that does not exist is NXDOMAIN, and goes on if it is under " + o.Fallthrough.List()
	}
	return config.Clauses(
		"answers names under "+o.Zones.List()+" as they are in the cluster, read from "+o.where(),
		missing,
		"with a TTL of "+config.Seconds(o.TTL),
		pods[o.Pods],
		config.When(len(o.Multicluster) > 0, "those under "+o.Multicluster.List()+" are of ServiceImports"),
		config.When(o.PodNames, "endpoints without a hostname are called as their Pods"),
		config.When(o.NoEndpoints, "headless Services have no addresses (noendpoints)"),
		config.When(o.IgnoreEmpty, "a Service without ready endpoints does not exist"),
		config.When(o.Zonal, "clients are given endpoints of their own zone first"),
		config.When(len(o.Namespaces) > 0, "only of the namespaces "+strings.Join(slices.Sorted(slices.Values(o.Namespaces)), ", ")),
		config.When(o.NamespaceLabels != "", "only of namespaces with the labels "+o.NamespaceLabels),
		config.When(o.Labels != "", "only of objects with the labels "+o.Labels),
		o.start(),
		config.When(o.QPS > 0, fmt.Sprintf("asks the API server at most %g times a second", o.QPS)),
		config.When(o.Burst > 0, fmt.Sprintf("asks the API server at most %d times at once beyond that", o.Burst)),
		config.When(o.MaxInflight > 0, fmt.Sprintf("has at most %d requests to the API server in flight", o.MaxInflight)),
	)
}

var pods = map[records.PodMode]string{
	records.PodsDisabled: "",
	records.PodsInsecure: "gives any Pod name its address, without knowing whether there is such a Pod",
	records.PodsVerified: "answers the names of Pods that exist",
}

func (o Options) start() string {
	if o.StartupTimeout == 0 {
		return "serves at once, before the cluster is known"
	}
	return "waits at most " + config.Brief(o.StartupTimeout) + " at the start for the cluster's state"
}

// where is where the cluster is read from.
func (o Options) where() string {
	switch {
	case o.Manifests != "":
		return "the manifests in " + o.Manifests
	case o.Kubeconfig != "" && o.Context != "":
		return "the API server of " + o.Kubeconfig + ", context " + o.Context
	case o.Kubeconfig != "":
		return "the API server of " + o.Kubeconfig
	case o.Endpoint != "" && o.Certificate+o.Key+o.Authority != "":
		return fmt.Sprintf("%s with the certificate %s, the key %s and the authority %s", o.Endpoint, o.Certificate, o.Key, o.Authority)
	case o.Endpoint != "":
		return o.Endpoint
	}
	return "the API server of the Pod's own cluster"
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
