package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waypost/waypost/cluster"
)

// maxEndpoints is how many endpoints the EndpointSlice controller puts into one slice by default.
const maxEndpoints = 100

// addSlices adds the EndpointSlices that the EndpointSlice controller would make for Services that have none, out of the
// Pods there are. It differs in what cannot be seen: names are not random, there is no slice without endpoints, and a
// Pod may be on a Node that no manifest describes.
func (o *objects) addSlices() {
	served := map[cluster.Key]bool{}
	for key, f := range o.slices {
		served[cluster.Key{Namespace: key.Namespace, Name: f.value.Labels[discoveryv1.LabelServiceName]}] = true
	}
	pods := map[string][]*corev1.Pod{} // by namespace, those that can be endpoints
	for _, key := range sortedKeys(o.pods) {
		if pod := o.pods[key].value; hasEndpoint(pod) {
			pods[key.Namespace] = append(pods[key.Namespace], pod)
		}
	}
	for _, key := range sortedKeys(o.services) {
		service := o.services[key]
		spec := &service.value.Spec
		if len(spec.Selector) > 0 && spec.Type != corev1.ServiceTypeExternalName && !served[key] {
			selector := labels.SelectorFromSet(spec.Selector)
			matching := slices.DeleteFunc(slices.Clone(pods[key.Namespace]), func(p *corev1.Pod) bool {
				return !selector.Matches(labels.Set(p.Labels))
			})
			o.addSlicesOf(service, matching)
		}
	}
}

// hasEndpoint reports whether a Pod can be an endpoint at all: it has an address and has not ended. One that is being
// deleted counts.
func hasEndpoint(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded && len(pod.Status.PodIPs) > 0
}

// addSlicesOf adds the slices of one Service: for each family one group per set of ports, for Pods may give one name to
// different numbers.
func (o *objects) addSlicesOf(service found[corev1.Service], pods []*corev1.Pod) {
	for _, family := range addressTypes(&service.value.Spec) {
		groups := map[string][]discoveryv1.Endpoint{}
		ports := map[string][]discoveryv1.EndpointPort{}
		for _, pod := range pods {
			endpoint := o.endpoint(pod, service.value, family)
			if len(endpoint.Addresses) == 0 {
				continue
			}
			list := endpointPorts(service.value, pod)
			group := portsKey(list)
			ports[group] = list
			groups[group] = append(groups[group], endpoint)
		}
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			for endpoints := range slices.Chunk(groups[group], maxEndpoints) {
				o.addSlice(service, family, ports[group], endpoints)
			}
		}
	}
}

// addSlice adds one slice, under a name that no other has.
func (o *objects) addSlice(service found[corev1.Service], family discoveryv1.AddressType, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) {
	key := cluster.Key{Namespace: service.value.Namespace}
	for i := 1; ; i++ {
		key.Name = fmt.Sprintf("%s-%s-%d", service.value.Name, strings.ToLower(string(family)), i)
		if _, taken := o.slices[key]; !taken {
			break
		}
	}
	own := maps.Clone(service.value.Labels)
	if own == nil {
		own = map[string]string{}
	}
	own[discoveryv1.LabelServiceName] = service.value.Name
	own[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	if ip := service.value.Spec.ClusterIP; ip == "" || ip == corev1.ClusterIPNone {
		own[corev1.IsHeadlessService] = ""
	}
	o.slices[key] = found[discoveryv1.EndpointSlice]{place: service.place, value: &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: own},
		AddressType: family, Ports: ports, Endpoints: endpoints,
	}}
}

// addressTypes are the families of a Service: those it names, else those of its addresses, else both.
func addressTypes(spec *corev1.ServiceSpec) []discoveryv1.AddressType {
	var types []discoveryv1.AddressType
	for _, f := range spec.IPFamilies {
		types = append(types, discoveryv1.AddressType(f))
	}
	if len(types) > 0 {
		return types
	}
	for _, text := range append([]string{spec.ClusterIP}, spec.ClusterIPs...) {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(types, addressType(ip)) {
			types = append(types, addressType(ip))
		}
	}
	if len(types) > 0 {
		return types
	}
	return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
}

func addressType(ip netip.Addr) discoveryv1.AddressType {
	if ip.Unmap().Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// endpoint is a Pod as the endpoint of a Service, with its addresses of one family.
func (o *objects) endpoint(pod *corev1.Pod, service *corev1.Service, family discoveryv1.AddressType) discoveryv1.Endpoint {
	serving, terminating := isReady(pod), pod.DeletionTimestamp != nil
	ready := service.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	for _, p := range pod.Status.PodIPs {
		if ip, err := netip.ParseAddr(p.IP); err == nil && addressType(ip) == family {
			e.Addresses = append(e.Addresses, ip.Unmap().String())
		}
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == service.Name {
		e.Hostname = &pod.Spec.Hostname
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = &pod.Spec.NodeName
		if node, ok := o.nodes[cluster.Key{Name: pod.Spec.NodeName}]; ok {
			if zone := node.value.Labels[corev1.LabelTopologyZone]; zone != "" {
				e.Zone = &zone
			}
		}
	}
	e.Hints = hints(&e, service.Spec.TrafficDistribution)
	return e
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// hints say that a ready endpoint serves its own zone, and with PreferSameNode its own node (KEP-4444, KEP-3015).
func hints(e *discoveryv1.Endpoint, distribution *string) *discoveryv1.EndpointHints {
	if distribution == nil || !*e.Conditions.Ready {
		return nil
	}
	var h discoveryv1.EndpointHints
	switch *distribution {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		if e.NodeName != nil {
			h.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
	default:
		return nil
	}
	if e.Zone != nil {
		h.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
	}
	if h.ForZones == nil && h.ForNodes == nil {
		return nil
	}
	return &h
}

// endpointPorts are the ports of a Service as one Pod has them. A name the Pod does not have is left out.
func endpointPorts(service *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range service.Spec.Ports {
		p := &service.Spec.Ports[i]
		protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
		if number, ok := targetPort(p, protocol, pod); ok {
			ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &number, Protocol: &protocol, AppProtocol: p.AppProtocol})
		}
	}
	return ports
}

// targetPort is the number of a Service's port in a Pod. A name is looked for in the containers, then in the init
// containers that keep running beside them.
func targetPort(p *corev1.ServicePort, protocol corev1.Protocol, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return cmp.Or(p.TargetPort.IntVal, p.Port), true
	}
	if p.TargetPort.StrVal == "" {
		return p.Port, true
	}
	containers := slices.Clone(pod.Spec.Containers)
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	for i := range containers {
		for _, port := range containers[i].Ports {
			if port.Name == p.TargetPort.StrVal && cmp.Or(port.Protocol, corev1.ProtocolTCP) == protocol {
				return port.ContainerPort, true
			}
		}
	}
	return 0, false
}

// portsKey is equal for equal lists.
func portsKey(ports []discoveryv1.EndpointPort) string {
	var key strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&key, "%s/%s/%d ", *p.Name, *p.Protocol, *p.Port)
	}
	return key.String()
}
