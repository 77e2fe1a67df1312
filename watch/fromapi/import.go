package fromapi

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// ServiceImport is what is read of a multicluster.x-k8s.io/v1alpha1 ServiceImport (KEP-1645). The type is no part of
// k8s.io/api; its own module would bring a whole client with it.
type ServiceImport struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Type  string              `json:"type"` // ClusterSetIP or Headless
		IPs   []string            `json:"ips"`
		Ports []ServiceImportPort `json:"ports"`
	} `json:"spec"`
}

// ServiceImportPort is one port of a ServiceImport.
type ServiceImportPort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     int32  `json:"port"`
}

// Import reduces a ServiceImport.
func (c *Converter) Import(i *ServiceImport) (*cluster.Import, error) {
	key, err := c.labelKey(i.Namespace, i.Name)
	if err != nil {
		return nil, err
	}
	var bad flaws
	value := &cluster.Import{Namespace: key.Namespace, Name: key.Name, Headless: i.Spec.Type == "Headless"}
	for _, ip := range i.Spec.IPs {
		value.IPs = appendAddr(value.IPs, ip, "spec.ips", &bad)
	}
	for _, p := range i.Spec.Ports {
		v, err := c.port(p.Name, p.Protocol, p.Port)
		if err != nil {
			bad.add(err)
			continue
		}
		value.Ports = append(value.Ports, v)
	}
	return value, bad.errOf(key)
}
