package bench

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// The cluster that the figures are of.
const (
	services   = 10_000
	endpoints  = 10 // of each Service
	namespaces = 100
	writers    = 32
)

// headless reports whether Service i is one of the three in ten.
func headless(i int) bool { return i%10 < 3 }

func namespace(i int) string { return fmt.Sprintf("ns-%d", i%namespaces) }
func service(i int) string   { return fmt.Sprintf("service-%d", i) }

// fqdn is the name of Service i.
func fqdn(i int) string { return service(i) + "." + namespace(i) + ".svc.cluster.local." }

// address is that of endpoint j of Service i.
func address(i, j int) netip.Addr {
	n := i*endpoints + j
	return netip.AddrFrom4([4]byte{10, 128 + byte(n>>16), byte(n >> 8), byte(n)})
}

// load writes the cluster to an API server.
func load(ctx context.Context, client kubernetes.Interface) error {
	return loadSome(ctx, client, services)
}

// loadSome writes the first n of its Services.
func loadSome(ctx context.Context, client kubernetes.Interface, n int) error {
	if err := loadNamespaces(ctx, client); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range n {
		group.Go(func() error { return create(context.WithoutCancel(ctx), client, i) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("create Services: %w", err)
	}
	return nil
}

// loadNamespaces writes what the Services are in.
func loadNamespaces(ctx context.Context, client kubernetes.Interface) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range namespaces {
		group.Go(func() error {
			ns := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace(i)}}
			_, err := client.CoreV1().Namespaces().Create(ctx, ns, meta.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("create namespaces: %w", err)
	}
	return nil
}

// create writes Service i and its slice.
func create(ctx context.Context, client kubernetes.Interface, i int) error {
	s := &core.Service{
		ObjectMeta: meta.ObjectMeta{Name: service(i), Namespace: namespace(i)},
		Spec:       core.ServiceSpec{Ports: []core.ServicePort{{Name: "http", Port: 80}}},
	}
	if headless(i) {
		s.Spec.ClusterIP = core.ClusterIPNone
	}
	err := persist(func() error {
		_, err := client.CoreV1().Services(namespace(i)).Create(ctx, s, meta.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return persist(func() error {
		_, err := client.DiscoveryV1().EndpointSlices(namespace(i)).Create(ctx, slice(i), meta.CreateOptions{})
		return err
	})
}

// persist tries again where the API server had no time, as it happens on a machine that does other things too.
func persist(create func() error) error {
	const tries = 5
	err := create()
	for n := 1; n < tries && (apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)); n++ {
		if err = create(); apierrors.IsAlreadyExists(err) {
			return nil // the try before did it
		}
	}
	return err
}

// slice is the EndpointSlice of Service i as it is at first.
func slice(i int) *discovery.EndpointSlice {
	ready, name, protocol, port := true, "http", core.ProtocolTCP, int32(80)
	s := &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Name: service(i) + "-1", Namespace: namespace(i), Labels: map[string]string{discovery.LabelServiceName: service(i)},
		},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
	}
	for j := range endpoints {
		node := fmt.Sprintf("node-%d", (i+j)%200)
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{
			Addresses:  []string{address(i, j).String()},
			Conditions: discovery.EndpointConditions{Ready: &ready},
			NodeName:   &node,
			TargetRef:  &core.ObjectReference{Kind: "Pod", Namespace: namespace(i), Name: fmt.Sprintf("%s-%d", service(i), j)},
		})
	}
	return s
}
