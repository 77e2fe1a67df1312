package records

import (
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// asService is a Service, or what a ServiceImport would be as one.
func asService(o cluster.Object) (svc *cluster.Service, imported bool) {
	i, imported := o.(*cluster.Import)
	if !imported {
		return o.(*cluster.Service), false
	}
	svc = &cluster.Service{Namespace: i.Namespace, Name: i.Name, ClusterIPs: i.IPs, Ports: i.Ports}
	if i.Headless {
		svc.Type = cluster.Headless
	}
	return svc, true
}

// hasCluster reports whether a ServiceImport has endpoints in a cluster.
func (n *naive) hasCluster(svc *cluster.Service, source string) bool {
	return slices.ContainsFunc(n.backends(svc.Name, svc.Namespace), func(b backend) bool { return b.cluster == source })
}

// zonal reports whether a Service has names of topology zones.
func (n *naive) zonal(svc *cluster.Service) bool {
	return n.config.Zonal && svc.Type == cluster.Headless && !n.imported
}

// inZone answers the names of topology zones: ZONE.DIRECTIVE, which labels are, before "_zone" and the Service's.
func (n *naive) inZone(name string, typ uint16, svc *cluster.Service, labels []string) []string {
	last := len(labels) - 1
	if last < 0 {
		return n.noData()
	}
	directive, zone := labels[last], strings.Join(labels[:last], ".")
	switch {
	case directive != "pin" && directive != "prefer":
		return n.nxDomain()
	case zone == "":
		return n.noData()
	}
	var all, near []backend
	for _, b := range n.backends(svc.Name, svc.Namespace) {
		for _, p := range b.ports {
			one := backend{b.host, b.addr, []cluster.Port{p}, b.zone, b.cluster}
			all = append(all, one)
			if strings.EqualFold(b.zone, zone) {
				near = append(near, one)
			}
		}
	}
	if directive == "prefer" && len(near) == 0 {
		near = all
	}
	return n.records(name, typ, svc, near)
}
