package question

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Vocabulary is what a cluster gives to ask about: its words, sorted, and not yet its names.
type Vocabulary struct {
	Namespaces []string
	Services   []Service
	Addresses  []Address // of Services, endpoints and Pods, some of each
	Reverse    []string  // the reverse names of all endpoints
}

// Service is a Service, a ServiceImport, or the name that slices give to a Service that is not there.
type Service struct {
	Namespace, Name string
	ExternalName    string // empty unless it is that type
	Ports           []Port
	Hosts           []string // labels that its endpoints have, or could be thought to have
}

// Port is a port's name and its protocol's, lower case.
type Port struct{ Name, Protocol string }

// Address is an address and the namespace it is used in.
type Address struct {
	netip.Addr
	Namespace string
}

// hostsAsked is how many endpoints of one Service are asked about by name.
const hostsAsked = 8

// Read lists what is in a cluster.
func Read(ctx context.Context, client kubernetes.Interface) (*Vocabulary, error) {
	v := &vocabularyReader{services: map[string]*Service{}}
	if err := v.read(ctx, client); err != nil {
		return nil, fmt.Errorf("read the cluster's vocabulary: %w", err)
	}
	for _, s := range v.services {
		v.Services = append(v.Services, *s)
	}
	slices.SortFunc(v.Services, func(a, b Service) int { return strings.Compare(a.key(), b.key()) })
	slices.SortFunc(v.Addresses, func(a, b Address) int {
		if c := a.Compare(b.Addr); c != 0 {
			return c
		}
		return strings.Compare(a.Namespace, b.Namespace)
	})
	v.Addresses = slices.Compact(v.Addresses)
	return &v.Vocabulary, nil
}

func (s Service) key() string { return s.Namespace + "/" + s.Name }

type vocabularyReader struct {
	Vocabulary
	services map[string]*Service
}

func (v *vocabularyReader) read(ctx context.Context, client kubernetes.Interface) error {
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range namespaces.Items {
		v.Namespaces = append(v.Namespaces, n.Name)
	}
	services, err := client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range services.Items {
		v.addService(&services.Items[i])
	}
	list, err := client.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	slices.SortFunc(list.Items, compareSlices)
	for i := range list.Items {
		v.addSlice(&list.Items[i])
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		for _, ip := range p.Status.PodIPs {
			v.addAddress(p.Namespace, ip.IP)
		}
	}
	return nil
}

// compareSlices orders by what does not change from run to run: the controller's slices have random names.
func compareSlices(a, b discovery.EndpointSlice) int {
	name := func(s discovery.EndpointSlice) string {
		return s.Namespace + "/" + serviceOf(&s) + "/" + s.GenerateName + string(s.AddressType)
	}
	if c := strings.Compare(name(a), name(b)); c != 0 || a.GenerateName != "" {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

func serviceOf(s *discovery.EndpointSlice) string {
	if imported := s.Labels["multicluster.kubernetes.io/service-name"]; imported != "" {
		return imported
	}
	return s.Labels[discovery.LabelServiceName]
}

// service returns the entry of a Service, made where it is new.
func (v *vocabularyReader) service(namespace, name string) *Service {
	s := &Service{Namespace: namespace, Name: name}
	if known := v.services[s.key()]; known != nil {
		return known
	}
	v.services[s.key()] = s
	return s
}

func (v *vocabularyReader) addService(o *core.Service) {
	s := v.service(o.Namespace, o.Name)
	s.ExternalName = o.Spec.ExternalName
	for _, p := range o.Spec.Ports {
		s.addPort(p.Name, string(p.Protocol))
	}
	addresses := append(slices.Clone(o.Spec.ClusterIPs), o.Spec.ExternalIPs...)
	for _, ingress := range o.Status.LoadBalancer.Ingress {
		addresses = append(addresses, ingress.IP)
	}
	for _, a := range addresses {
		v.addAddress(o.Namespace, a)
	}
}

func (v *vocabularyReader) addSlice(o *discovery.EndpointSlice) {
	s := v.service(o.Namespace, serviceOf(o))
	for _, p := range o.Ports {
		if p.Name != nil && p.Protocol != nil {
			s.addPort(*p.Name, string(*p.Protocol))
		}
	}
	endpoints := slices.Clone(o.Endpoints)
	slices.SortFunc(endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.Addresses[0], b.Addresses[0]) })
	for _, e := range endpoints {
		if name, err := dns.ReverseAddr(e.Addresses[0]); err == nil {
			v.Reverse = append(v.Reverse, name)
		}
	}
	for _, e := range endpoints[:min(len(endpoints), hostsAsked)] {
		if e.Hostname != nil {
			s.addHost(*e.Hostname)
		}
		if e.TargetRef != nil {
			s.addHost(e.TargetRef.Name)
		}
		for _, a := range e.Addresses {
			v.addAddress(o.Namespace, a)
			if addr, err := netip.ParseAddr(a); err == nil {
				s.addHost(Dashed(addr))
			}
		}
	}
}

func (s *Service) addPort(name, protocol string) {
	p := Port{name, strings.ToLower(protocol)}
	if !slices.Contains(s.Ports, p) {
		s.Ports = append(s.Ports, p)
	}
}

func (s *Service) addHost(label string) {
	if !slices.Contains(s.Hosts, label) && len(label) < 64 {
		s.Hosts = append(s.Hosts, label)
	}
}

func (v *vocabularyReader) addAddress(namespace, text string) {
	if a, err := netip.ParseAddr(text); err == nil {
		v.Addresses = append(v.Addresses, Address{a, namespace})
	}
}

// Dashed is an address as a label: with dashes for dots and colons.
func Dashed(a netip.Addr) string {
	s := strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
	if strings.HasSuffix(s, "-") {
		s += "0"
	}
	return s
}
