package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"

	"github.com/waypost/waypost/e2e/lab"
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

// load writes the Services from a number on, their addresses and their slices, and waits until the API server has them all.
// It writes them into etcd as the API server would: through it, 50,000 Services take ten minutes.
func (s size) load(ctx context.Context, control *lab.ControlPlane, from int) error {
	values := map[string][]byte{}
	for i := from; i < s.services; i++ {
		for key, object := range map[string]runtime.Object{
			"/registry/services/specs/" + namespace(i) + "/" + service(i):        s.service(i),
			"/registry/endpointslices/" + namespace(i) + "/" + service(i) + "-1": s.slice(i),
			"/registry/ipaddresses/" + clusterIP(i).String():                     allocation(i),
		} {
			var value bytes.Buffer
			if err := protobuf.NewSerializer(nil, nil).Encode(object, &value); err != nil {
				return fmt.Errorf("encode %s: %w", key, err)
			}
			values[key] = value.Bytes()
		}
	}
	if err := control.Store(ctx, values); err != nil {
		return err
	}
	return s.arrived(ctx, control.Client)
}

// arrived waits until the API server's cache has as many slices as there are Services.
func (s size) arrived(ctx context.Context, client kubernetes.Interface) error {
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); <-pace.C {
		all, err := client.DiscoveryV1().EndpointSlices("").List(ctx, meta.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return fmt.Errorf("count the slices: %w", err)
		}
		if len(all.Items) >= s.services {
			return nil
		}
	}
	return errors.New("the API server does not see what is in etcd")
}

// stored is what the API server adds to an object's metadata.
func stored(name, namespace string, labels map[string]string) meta.ObjectMeta {
	return meta.ObjectMeta{
		Name: name, Namespace: namespace, Labels: labels, UID: uuid.NewUUID(), Generation: 1, CreationTimestamp: meta.Now(),
		ManagedFields: []meta.ManagedFieldsEntry{{
			Manager: "kube-controller-manager", Operation: meta.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1",
			FieldsV1: meta.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{},"f:selector":{},"f:type":{}}}`),
		}},
	}
}

// service is Service i.
func (s size) service(i int) *core.Service {
	one, cluster := core.IPFamilyPolicySingleStack, core.ServiceInternalTrafficPolicyCluster
	v := &core.Service{
		TypeMeta:   meta.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: stored(service(i), namespace(i), nil),
		Spec: core.ServiceSpec{
			Type: core.ServiceTypeClusterIP, ClusterIP: clusterIP(i).String(), ClusterIPs: []string{clusterIP(i).String()},
			IPFamilies: []core.IPFamily{core.IPv4Protocol}, IPFamilyPolicy: &one, InternalTrafficPolicy: &cluster,
			SessionAffinity: core.ServiceAffinityNone, Ports: []core.ServicePort{servicePort("http", 80)},
		},
	}
	if s.second(i) {
		v.Spec.Ports = append(v.Spec.Ports, servicePort("metrics", 90))
	}
	return v
}

func servicePort(name string, port int32) core.ServicePort {
	return core.ServicePort{Name: name, Protocol: core.ProtocolTCP, Port: port, TargetPort: intstr.FromInt32(port)}
}

// allocation says that Service i has its ClusterIP.
func allocation(i int) *networking.IPAddress {
	return &networking.IPAddress{
		TypeMeta: meta.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"},
		ObjectMeta: stored(clusterIP(i).String(), "", map[string]string{
			networking.LabelIPAddressFamily: "IPv4", networking.LabelManagedBy: "ipallocator.k8s.io",
		}),
		Spec: networking.IPAddressSpec{
			ParentRef: &networking.ParentReference{Resource: "services", Namespace: namespace(i), Name: service(i)},
		},
	}
}

// second reports whether Service i has a second port.
func (s size) second(i int) bool { return i < s.ports-s.services }

// The ports of Pods.
const podPort, podMetrics = 8080, 9090

// slice is the EndpointSlice of Service i as it is at first.
func (s size) slice(i int) *discovery.EndpointSlice {
	v := &discovery.EndpointSlice{
		TypeMeta:    meta.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  stored(service(i)+"-1", namespace(i), map[string]string{discovery.LabelServiceName: service(i)}),
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
