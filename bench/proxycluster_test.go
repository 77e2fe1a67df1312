package bench

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// size is that of a cluster whose routes are measured. The first Services have a second port, as many as it takes.
type size struct {
	services, ports int
	each            int // endpoints of a port
}

// The clusters that the companion's figures are of.
var (
	small = size{services: 10, ports: 10, each: 10}
	usual = size{services: 10_000, ports: 14_000, each: 10}
	large = size{services: 50_000, ports: 50_000, each: 5}
)

// String is the size in words.
func (s size) String() string {
	return fmt.Sprintf("%d Services, %d service ports, %d endpoints", s.services, s.ports, s.ports*s.each)
}

// clusterIP is that of Service i.
func clusterIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 97, byte(i >> 8), byte(i)}) }

// pod is the address of endpoint j of Service i. All of podRange answers, see newNetwork.
func (s size) pod(i, j int) netip.Addr {
	n := i*s.each + j
	return netip.AddrFrom4([4]byte{10, 128 + byte(n>>16), byte(n >> 8), byte(n)})
}

var podRange = netip.MustParsePrefix("10.128.0.0/9")

// sample are n frontends of the first limit Services, evenly spread.
func sample(n, limit int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range min(n, limit) {
		all = append(all, netip.AddrPortFrom(clusterIP(i*limit/min(n, limit)), 80))
	}
	return all
}

// pods are the addresses of n endpoints, evenly spread.
func (s size) pods(n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range min(n, s.services) {
		all = append(all, netip.AddrPortFrom(s.pod(i*s.services/min(n, s.services), 0), podPort))
	}
	return all
}

// load writes the Services from a number on, and their slices.
func (s size) load(ctx context.Context, client kubernetes.Interface, from int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := from; i < s.services; i++ {
		group.Go(func() error { return s.create(context.WithoutCancel(ctx), client, i) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("create Services: %w", err)
	}
	return nil
}

func (s size) create(ctx context.Context, client kubernetes.Interface, i int) error {
	v := &core.Service{
		ObjectMeta: meta.ObjectMeta{Name: service(i), Namespace: namespace(i)},
		Spec: core.ServiceSpec{
			ClusterIP: clusterIP(i).String(), Ports: []core.ServicePort{{Name: "http", Port: 80}},
			Selector: nil, // or else the controller would look for Pods
		},
	}
	if s.second(i) {
		v.Spec.Ports = append(v.Spec.Ports, core.ServicePort{Name: "metrics", Port: 90})
	}
	err := persist(func() error {
		_, err := client.CoreV1().Services(v.Namespace).Create(ctx, v, meta.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return persist(func() error {
		_, err := client.DiscoveryV1().EndpointSlices(v.Namespace).Create(ctx, s.slice(i), meta.CreateOptions{})
		return err
	})
}

// second reports whether Service i has a second port.
func (s size) second(i int) bool { return i < s.ports-s.services }

// The ports of Pods.
const podPort, podMetrics = 8080, 9090

// slice is the EndpointSlice of Service i as it is at first.
func (s size) slice(i int) *discovery.EndpointSlice {
	v := &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Name: service(i) + "-1", Namespace: namespace(i), Labels: map[string]string{discovery.LabelServiceName: service(i)},
		},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{slicePort("http", podPort)},
	}
	if s.second(i) {
		v.Ports = append(v.Ports, slicePort("metrics", podMetrics))
	}
	ready := true
	for j := range s.each {
		node := fmt.Sprintf("node-%d", (i+j)%200)
		v.Endpoints = append(v.Endpoints, discovery.Endpoint{
			Addresses:  []string{s.pod(i, j).String()},
			Conditions: discovery.EndpointConditions{Ready: &ready, Serving: &ready},
			NodeName:   &node,
			TargetRef:  &core.ObjectReference{Kind: "Pod", Namespace: namespace(i), Name: fmt.Sprintf("%s-%d", service(i), j)},
		})
	}
	return v
}

func slicePort(name string, port int32) discovery.EndpointPort {
	protocol := core.ProtocolTCP
	return discovery.EndpointPort{Name: &name, Protocol: &protocol, Port: &port}
}
