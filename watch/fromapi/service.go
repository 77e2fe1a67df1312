package fromapi

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waypost/waypost/cluster"
)

// Service reduces a v1 Service. A port that cannot be is left out, and so is an address; a name that DNS cannot carry
// leaves out the Service.
func (c *Converter) Service(s *corev1.Service) (*cluster.Service, error) {
	key, err := c.labelKey(s.Namespace, s.Name)
	if err != nil {
		return nil, err
	}
	var bad flaws
	value := &cluster.Service{Namespace: key.Namespace, Name: key.Name, Ports: c.servicePorts(s.Spec.Ports, &bad)}
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 && s.Spec.ClusterIP != "" {
		ips = []string{s.Spec.ClusterIP}
	}
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		if !isDomain(s.Spec.ExternalName) {
			return nil, fmt.Errorf("%q: spec.externalName %q is not a domain name", key, s.Spec.ExternalName)
		}
		value.Type, value.ExternalName = cluster.ExternalName, s.Spec.ExternalName
	case len(ips) > 0 && ips[0] == corev1.ClusterIPNone:
		value.Type = cluster.Headless
	default:
		for _, ip := range ips {
			value.ClusterIPs = appendAddr(value.ClusterIPs, ip, "spec.clusterIPs", &bad)
		}
	}
	if c.needs.Routes {
		value.Routing = routing(s, &bad)
	}
	return value, bad.errOf(key)
}

func (c *Converter) servicePorts(ports []corev1.ServicePort, bad *flaws) []cluster.Port {
	if len(ports) == 0 {
		return nil
	}
	values := make([]cluster.Port, 0, len(ports))
	for i := range ports {
		p := &ports[i]
		v, err := c.port(p.Name, string(p.Protocol), p.Port)
		if err == nil && v.Number == 0 {
			err = fmt.Errorf("port %q: the number 0 is not one", p.Name)
		}
		if err != nil {
			bad.add(err)
			continue
		}
		if c.needs.Routes && 0 < p.NodePort && p.NodePort < 1<<16 {
			v.NodePort = uint16(p.NodePort)
		}
		values = append(values, v)
	}
	return values
}

// port makes what Services, slices and imports have in common.
func (c *Converter) port(name, protocol string, number int32) (cluster.Port, error) {
	proto, ok := cluster.ParseProtocol(protocol)
	switch {
	case !ok:
		return cluster.Port{}, fmt.Errorf("port %q: unknown protocol %q", name, protocol)
	case number < 0 || number >= 1<<16:
		return cluster.Port{}, fmt.Errorf("port %q: the number %d is not one", name, number)
	case name != "" && !isLabel(strings.ToLower(name)):
		return cluster.Port{}, fmt.Errorf("port %q: the name is not a DNS label", name)
	}
	return cluster.Port{Name: c.shared.string(name), Protocol: proto, Number: uint16(number)}, nil
}

// Labels of Services, and of slices too the second, that speak to proxies.
const (
	proxyNameLabel = "service.kubernetes.io/service-proxy-name"
	headlessLabel  = corev1.IsHeadlessService
)

// defaultAffinity is the API's default of spec.sessionAffinityConfig.clientIP.timeoutSeconds.
const defaultAffinity = corev1.DefaultClientIPServiceAffinitySeconds

func routing(s *corev1.Service, bad *flaws) *cluster.Routing {
	spec := &s.Spec
	r := &cluster.Routing{
		AffinitySeconds:    affinity(spec),
		InternalLocal:      spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		ExternalLocal:      spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		LoadBalancer:       spec.Type == corev1.ServiceTypeLoadBalancer,
		AllocatesNodePorts: spec.AllocateLoadBalancerNodePorts == nil || *spec.AllocateLoadBalancerNodePorts,
		TopologyMode:       strings.ToLower(s.Annotations[corev1.AnnotationTopologyMode]),
		PublishNotReady:    spec.PublishNotReadyAddresses,
	}
	if !s.CreationTimestamp.IsZero() {
		r.Created = s.CreationTimestamp.Unix()
	}
	_, r.OtherProxy = s.Labels[proxyNameLabel]
	if spec.TrafficDistribution != nil {
		r.Distribution = *spec.TrafficDistribution
	}
	if p := spec.HealthCheckNodePort; 0 < p && p < 1<<16 {
		r.HealthCheckNodePort = uint16(p)
	}
	for _, ip := range spec.ExternalIPs {
		r.ExternalIPs = appendAddr(r.ExternalIPs, ip, "spec.externalIPs", bad)
	}
	addLoadBalancer(r, s, bad)
	return r
}

// addLoadBalancer adds the load balancer's addresses and who may use them. Where ranges are given and none can be read,
// the addresses are left out: nobody meant to open them to all.
func addLoadBalancer(r *cluster.Routing, s *corev1.Service, bad *flaws) {
	for _, cidr := range s.Spec.LoadBalancerSourceRanges {
		r.SourceRanges = appendPrefix(r.SourceRanges, cidr, "spec.loadBalancerSourceRanges", bad)
	}
	if len(s.Spec.LoadBalancerSourceRanges) > 0 && len(r.SourceRanges) == 0 {
		return
	}
	for i := range s.Status.LoadBalancer.Ingress {
		in := &s.Status.LoadBalancer.Ingress[i]
		if in.IP != "" && (in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP) {
			r.LoadBalancerIPs = appendAddr(r.LoadBalancerIPs, in.IP, "status.loadBalancer.ingress", bad)
		}
	}
}

func affinity(spec *corev1.ServiceSpec) uint32 {
	if spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil && *c.ClientIP.TimeoutSeconds > 0 {
		return uint32(*c.ClientIP.TimeoutSeconds)
	}
	return uint32(defaultAffinity)
}
