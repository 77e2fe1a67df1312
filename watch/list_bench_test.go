package watch

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/watch/wire"
)

// BenchmarkList reads a list of 10,000 EndpointSlices with 10 endpoints each, as an API server would send it, into an empty
// store and then once more into the full one. It reports what stays in memory for each endpoint, and how far the heap rose above
// that during the second list.
func BenchmarkList(b *testing.B) {
	const slices, endpoints = 10_000, 10
	body := encode(wire.Protobuf, manySlices(slices, endpoints))
	for _, needs := range []struct {
		name  string
		needs cluster.Needs
	}{
		{"dns", cluster.Needs{}},
		{"names", cluster.Needs{PodNames: true, Zones: true}},
		{"routes", cluster.Needs{Routes: true}},
	} {
		b.Run(needs.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				before := liveHeap()
				s := newStore(&serialSink{sink: discard{}})
				res := resourceOf(cluster.KindSlice, needs.needs)
				readList(b, s, res, body)
				after := liveHeap()
				b.ReportMetric(float64(after-before)/(slices*endpoints), "B/endpoint")
				readList(b, s, res, body)
				runtime.KeepAlive(s)
				runtime.KeepAlive(res)
			}
		})
	}
}

// readList is what a follower does with the body of a list.
func readList(tb testing.TB, s *store, res *resource, body []byte) {
	s.mark()
	list := wire.NewList(bytes.NewReader(body), wire.Protobuf)
	for {
		item, err := list.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		r, err := res.reduce(item, wire.Protobuf)
		if err != nil || r.flaw != nil {
			tb.Fatal(err, r.flaw)
		}
		s.put(r.value)
	}
	s.sweep()
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type discard struct{}

func (discard) Apply([]cluster.Change) {}
func (discard) Synced(cluster.Kind)    {}

// manySlices makes what a busy cluster's controller makes.
func manySlices(n, endpoints int) *discoveryv1.EndpointSliceList {
	list := &discoveryv1.EndpointSliceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for i := range n {
		list.Items = append(list.Items, busySlice(i, endpoints))
	}
	return list
}

func busySlice(i, endpoints int) discoveryv1.EndpointSlice {
	yes, no := true, false
	tcp, portName, port := corev1.ProtocolTCP, "http", int32(8080)
	service := fmt.Sprintf("service-%05d", i)
	s := discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service + "-x7k2p", GenerateName: service + "-", Namespace: fmt.Sprintf("team-%02d", i%50),
			UID: "0b6f8a5c-6a58-4f1e-9b0f-0d5b1f6d2a11", ResourceVersion: fmt.Sprint(100000 + i), Generation: 2,
			CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io", "app": service,
			},
			Annotations:     map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-11-21T07:16:00Z"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: service, UID: "0b6f8a5c-6a58-4f1e-9b0f-0d5b1f6d2a12", Controller: &yes, BlockOwnerDeletion: &yes}},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "kube-controller-manager", Operation: "Update", APIVersion: "discovery.k8s.io/v1", FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(strings.Repeat(`{"f:metadata":{"f:labels":{"f:app":{}}}}`, 15)),
			}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &tcp}},
	}
	for e := range endpoints {
		node, zone := fmt.Sprintf("node-%04d", (i*endpoints+e)%2000), fmt.Sprintf("zone-%d", e%3)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.%d.%d.%d", 64+i>>11, i>>3&255, i&7<<5+e)},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			NodeName:   &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: s.Namespace, Name: fmt.Sprintf("%s-6d4b75cb6d-%05d", service, e), UID: "0b6f8a5c-6a58-4f1e-9b0f-0d5b1f6d2a13"},
		})
	}
	return s
}
