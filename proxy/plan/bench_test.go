package plan_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// The cluster of the benchmarks: 10,000 Services, 14,000 service ports, 140,000 endpoints, on 500 nodes.
const (
	benchServices  = 10_000
	benchEndpoints = 10
	benchNodes     = 500
)

// benchCluster makes the Services and the slices. Every fifth Service has three ports.
func benchCluster() (services []*cluster.Service, slices []*cluster.Slice) {
	places := make([]*cluster.Place, benchNodes)
	for i := range places {
		places[i] = &cluster.Place{Node: fmt.Sprint("node-", i), Zone: fmt.Sprint("zone-", i%3)}
	}
	for i := range benchServices {
		ports := []cluster.Port{{Name: "http", Protocol: cluster.TCP, Number: 80}}
		if i%5 == 0 {
			ports = append(ports, cluster.Port{Name: "dns", Protocol: cluster.UDP, Number: 53}, cluster.Port{Name: "metrics", Protocol: cluster.TCP, Number: 9090})
		}
		s := &cluster.Service{
			Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("service-", i), Ports: ports, Routing: &cluster.Routing{},
			ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
		}
		services = append(services, s)
		slices = append(slices, benchSlice(s, ports, places, i))
	}
	return services, slices
}

func benchSlice(s *cluster.Service, ports []cluster.Port, places []*cluster.Place, i int) *cluster.Slice {
	slice := &cluster.Slice{Namespace: s.Namespace, Name: s.Name + "-x", Service: s.Name, Ports: ports}
	for e := range benchEndpoints {
		n := i*benchEndpoints + e
		slice.Endpoints = append(slice.Endpoints, cluster.Endpoint{
			Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
			Place:   places[n%len(places)], State: cluster.Ready | cluster.Serving,
		})
	}
	return slice
}

// benchPlan returns a plan that knows the cluster and has told of it, and its slices.
func benchPlan(b *testing.B) (*plan.Plan, []*cluster.Slice) {
	services, slices := benchCluster()
	p := plan.New(plan.Options{NodeName: "node-1"})
	tellAll(p, services, slices)
	if c := p.Take(); len(c.Routes) != 14_000 {
		b.Fatalf("there are %d routes", len(c.Routes))
	}
	return p, slices
}

func tellAll(p *plan.Plan, services []*cluster.Service, slices []*cluster.Slice) {
	for i := range services {
		p.Apply([]cluster.Change{{New: services[i]}, {New: slices[i]}})
	}
	for kind := range cluster.Kinds {
		p.Synced(kind)
	}
}

// BenchmarkChange is one endpoint replaced: from the slice's new value to what the kernel is to change.
func BenchmarkChange(b *testing.B) {
	p, slices := benchPlan(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		old := slices[i%len(slices)]
		changed := *old
		changed.Endpoints = append([]cluster.Endpoint(nil), old.Endpoints...)
		changed.Endpoints[3].Address = netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})
		slices[i%len(slices)] = &changed
		p.Apply([]cluster.Change{{Old: old, New: &changed}})
		if c := p.Take(); len(c.Routes) != len(changed.Ports) {
			b.Fatalf("%d routes change", len(c.Routes))
		}
		i++
	}
}

// BenchmarkCold is the whole cluster, from values to routes.
func BenchmarkCold(b *testing.B) {
	services, slices := benchCluster()
	b.ReportAllocs()
	for b.Loop() {
		p := plan.New(plan.Options{NodeName: "node-1"})
		tellAll(p, services, slices)
		if c := p.Take(); len(c.Routes) != 14_000 {
			b.Fatalf("there are %d routes", len(c.Routes))
		}
	}
}

// BenchmarkMemory reports what the values and the plan take.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		services, slices := benchCluster()
		values := heap()
		p := plan.New(plan.Options{NodeName: "node-1"})
		tellAll(p, services, slices)
		p.Take()
		after := heap()
		b.ReportMetric(float64(values-before)/1e6, "MB-values")
		b.ReportMetric(float64(after-values)/1e6, "MB-plan")
		runtime.KeepAlive(p)
		runtime.KeepAlive(services)
		runtime.KeepAlive(slices)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
