package route

import (
	"net/netip"
	"strings"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// apiService is a story's Service as the API has it.
func apiService(s *cluster.Service) *core.Service {
	r := s.Routing
	o := &core.Service{ObjectMeta: meta.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	dual := core.IPFamilyPolicyRequireDualStack
	o.Spec.Type, o.Spec.ClusterIPs, o.Spec.IPFamilyPolicy = core.ServiceTypeClusterIP, texts(s.ClusterIPs), &dual
	o.Spec.ClusterIP, o.Spec.ExternalIPs = o.Spec.ClusterIPs[0], texts(r.ExternalIPs)
	for _, p := range s.Ports {
		o.Spec.Ports = append(o.Spec.Ports, core.ServicePort{
			Name: p.Name, Protocol: core.Protocol(strings.ToUpper(p.Protocol.String())), Port: int32(p.Number), NodePort: int32(p.NodePort),
		})
		if p.NodePort != 0 {
			o.Spec.Type = core.ServiceTypeNodePort
		}
	}
	if r.LoadBalancer {
		allocates := o.Spec.Type == core.ServiceTypeNodePort
		o.Spec.Type, o.Spec.AllocateLoadBalancerNodePorts = core.ServiceTypeLoadBalancer, &allocates
		for _, source := range r.SourceRanges {
			o.Spec.LoadBalancerSourceRanges = append(o.Spec.LoadBalancerSourceRanges, source.String())
		}
	}
	if r.ExternalLocal {
		o.Spec.ExternalTrafficPolicy = core.ServiceExternalTrafficPolicyLocal
	}
	if r.InternalLocal {
		local := core.ServiceInternalTrafficPolicyLocal
		o.Spec.InternalTrafficPolicy = &local
	}
	if seconds := int32(r.AffinitySeconds); seconds > 0 {
		o.Spec.SessionAffinity = core.ServiceAffinityClientIP
		o.Spec.SessionAffinityConfig = &core.SessionAffinityConfig{ClientIP: &core.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	if r.OtherProxy {
		o.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "another"}
	}
	return o
}

func texts(addresses []netip.Addr) (all []string) {
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return all
}

// apiSlice is a story's slice as the API has it.
func apiSlice(s *cluster.Slice) *discovery.EndpointSlice {
	o := &discovery.EndpointSlice{ObjectMeta: meta.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name, Labels: map[string]string{discovery.LabelServiceName: s.Service},
	}}
	o.AddressType = discovery.AddressTypeIPv4
	if strings.Contains(s.Name, "-six") {
		o.AddressType = discovery.AddressTypeIPv6
	}
	for _, p := range s.Ports {
		protocol, number := core.Protocol(strings.ToUpper(p.Protocol.String())), int32(p.Number)
		o.Ports = append(o.Ports, discovery.EndpointPort{Name: &p.Name, Protocol: &protocol, Port: &number})
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		ready, serving, terminating := e.Ready(), e.State&cluster.Serving != 0, e.State&cluster.Terminating != 0
		endpoint := discovery.Endpoint{
			Addresses:  []string{e.Address.String()},
			Conditions: discovery.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
			NodeName:   &e.Place.Node,
		}
		if len(e.Place.ForZones)+len(e.Place.ForNodes) > 0 {
			endpoint.Hints = apiHints(e.Place)
		}
		o.Endpoints = append(o.Endpoints, endpoint)
	}
	return o
}

func apiHints(p *cluster.Place) *discovery.EndpointHints {
	h := &discovery.EndpointHints{}
	for _, zone := range p.ForZones {
		h.ForZones = append(h.ForZones, discovery.ForZone{Name: zone})
	}
	for _, node := range p.ForNodes {
		h.ForNodes = append(h.ForNodes, discovery.ForNode{Name: node})
	}
	return h
}
