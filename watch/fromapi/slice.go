package fromapi

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waypost/waypost/cluster"
)

// Labels of slices that belong to a ServiceImport (KEP-1645).
const (
	importServiceLabel = "multicluster.kubernetes.io/service-name"
	importClusterLabel = "multicluster.kubernetes.io/source-cluster"
)

// Slice reduces a discovery/v1 EndpointSlice. An address, a hostname or a port that cannot be is left out alone. The name of
// the Service is a label's value, as whoever made the slice wrote it: it need not be one that a Service can have.
func (c *Converter) Slice(s *discoveryv1.EndpointSlice) (*cluster.Slice, error) {
	key, err := c.key(s.Namespace, s.Name)
	if err != nil {
		return nil, err
	}
	var bad flaws
	value := &cluster.Slice{
		Namespace: key.Namespace,
		Name:      key.Name,
		Service:   prefixOf(key.Name, s.Labels[discoveryv1.LabelServiceName]),
		Ports:     c.slicePorts(s.Ports, &bad),
		Triggered: triggered(s),
	}
	if c.needs.Routes {
		_, value.HeadlessLabel = s.Labels[headlessLabel]
	}
	if c.needs.Imports {
		value.Multicluster = prefixOf(key.Name, s.Labels[importServiceLabel])
		value.SourceCluster = c.shared.string(s.Labels[importClusterLabel])
	}
	c.addEndpoints(value, s, &bad)
	return value, bad.errOf(key)
}

// slicePorts makes the ports of a slice. A port without a name has the empty one, as the API server has it be.
func (c *Converter) slicePorts(ports []discoveryv1.EndpointPort, bad *flaws) []cluster.Port {
	if len(ports) == 0 {
		return nil
	}
	values := make([]cluster.Port, 0, len(ports))
	for i := range ports {
		p := &ports[i]
		v, err := c.port(deref(p.Name), string(deref(p.Protocol)), deref(p.Port))
		if err != nil {
			bad.add(err)
			continue
		}
		values = append(values, v)
	}
	return values
}

func (c *Converter) addEndpoints(value *cluster.Slice, s *discoveryv1.EndpointSlice, bad *flaws) {
	n := 0
	for i := range s.Endpoints {
		n += len(s.Endpoints[i].Addresses)
	}
	if n == 0 {
		return
	}
	value.Endpoints = make([]cluster.Endpoint, 0, n)
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		value.FQDNs = make([]string, 0, n)
	}
	for i := range s.Endpoints {
		e := c.endpoint(&s.Endpoints[i], bad)
		for _, text := range s.Endpoints[i].Addresses {
			if addAddress(value, e, text, bad) {
				e.State |= cluster.Further
			}
		}
	}
}

// addAddress adds one address of the endpoint e and reports whether it could.
func addAddress(value *cluster.Slice, e cluster.Endpoint, text string, bad *flaws) bool {
	if value.FQDNs != nil {
		if !isDomain(text) {
			bad.add(fmt.Errorf("address %q is not a domain name", text))
			return false
		}
		value.FQDNs = append(value.FQDNs, text)
	} else {
		var ok bool
		if e.Address, ok = parseAddr(text); !ok {
			bad.add(fmt.Errorf("address %q is not an IP address", text))
			return false
		}
	}
	value.Endpoints = append(value.Endpoints, e)
	return true
}

// endpoint makes all of an endpoint but its address.
func (c *Converter) endpoint(e *discoveryv1.Endpoint, bad *flaws) cluster.Endpoint {
	value := cluster.Endpoint{Address: netip.Addr{}, State: state(&e.Conditions), Place: c.place(e)}
	if host := deref(e.Hostname); isLabel(host) {
		value.Hostname = c.shared.string(host)
	} else if host != "" {
		bad.add(fmt.Errorf("hostname %q is not a DNS label", host))
	}
	// A longer name is no label, and the endpoint then has none, as for CoreDNS.
	if c.needs.PodNames && e.TargetRef != nil && len(e.TargetRef.Name) < 64 {
		value.Pod = e.TargetRef.Name
	}
	return value
}

func (c *Converter) place(e *discoveryv1.Endpoint) *cluster.Place {
	switch {
	case c.needs.Routes:
		return c.shared.place(deref(e.Zone), deref(e.NodeName), e.Hints)
	case c.needs.Zones:
		return c.shared.place(deref(e.Zone), "", nil)
	}
	return nil
}

func state(c *discoveryv1.EndpointConditions) cluster.State {
	var s cluster.State
	if c.Ready == nil || *c.Ready {
		s |= cluster.Ready
	}
	if c.Serving == nil || *c.Serving {
		s |= cluster.Serving
	}
	if c.Terminating != nil && *c.Terminating {
		s |= cluster.Terminating
	}
	return s
}

// triggered reads when the change was made that the slice's controller answered to. Who wrote nonsense there gets no
// measurement, and no log line either.
func triggered(s *discoveryv1.EndpointSlice) int64 {
	text, ok := s.Annotations[corev1.EndpointsLastChangeTriggerTime]
	if !ok {
		return 0
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return t.UnixNano()
}

// prefixOf returns s, out of name's own bytes where name begins with it: a controller names slices after their Service.
func prefixOf(name, s string) string {
	if strings.HasPrefix(name, s) {
		return name[:len(s)]
	}
	return s
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
