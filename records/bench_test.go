package records

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

// largeCluster is the cluster that the project's figures are of: 10,000 Services, three in ten headless, with ten
// endpoints each.
func largeCluster() []cluster.Change {
	var objects []cluster.Object
	for i := range 100 {
		objects = append(objects, &cluster.Namespace{Name: fmt.Sprintf("ns-%d", i)})
	}
	for i := range 10_000 {
		service := &cluster.Service{Namespace: fmt.Sprintf("ns-%d", i%100), Name: fmt.Sprintf("service-%d", i), Ports: []cluster.Port{httpPort}}
		if i%10 < 3 {
			service.Type = cluster.Headless
		} else {
			service.ClusterIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})}
		}
		objects = append(objects, service, largeSlice(i, 0))
	}
	return add1(objects...)
}

// largeSlice is the slice of Service i; version moves its last endpoint.
func largeSlice(i, version int) *cluster.Slice {
	s := &cluster.Slice{Namespace: fmt.Sprintf("ns-%d", i%100), Name: fmt.Sprintf("service-%d-x", i), Service: fmt.Sprintf("service-%d", i), Ports: []cluster.Port{httpPort}}
	for j := range 10 {
		n := i*10 + j
		s.Endpoints = append(s.Endpoints, cluster.Endpoint{Address: netip.AddrFrom4([4]byte{10, 128 + byte(n>>16), byte(n >> 8), byte(n)}), State: cluster.Ready})
	}
	if version > 0 {
		s.Endpoints[9].Address = netip.AddrFrom4([4]byte{10, 200, byte(version >> 8), byte(version)})
	}
	return s
}

// BenchmarkApplySlice is one slice changing in the large cluster, until readers see it. The bar is 1 ms.
func BenchmarkApplySlice(b *testing.B) {
	s := newZone(testConfig())
	s.Apply(largeCluster(), changedAt)
	current := make(map[int]*cluster.Slice)
	version := 0
	b.ReportAllocs()
	for b.Loop() {
		version++
		i := version * 7919 % 10_000
		old := current[i]
		if old == nil {
			old = largeSlice(i, 0)
		}
		current[i] = largeSlice(i, version%60000)
		s.Apply([]cluster.Change{{Old: old, New: current[i]}}, changedAt)
	}
}

// BenchmarkLoad is the large cluster applied to an empty store in batches, and what the zone then keeps in memory beside
// the cluster values.
func BenchmarkLoad(b *testing.B) {
	changes := largeCluster()
	load := func() *Store {
		s := newZone(testConfig())
		for i := 0; i < len(changes); i += 500 {
			s.Apply(changes[i:min(i+500, len(changes))], changedAt)
		}
		return s
	}
	for b.Loop() {
		load()
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := load()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	runtime.KeepAlive(s)
	runtime.KeepAlive(changes)
}

// BenchmarkAnswer is what a query costs between two system calls: parse, look up, write.
func BenchmarkAnswer(b *testing.B) {
	s := newZone(testConfig())
	s.Apply(largeCluster(), changedAt)
	z := s.Zone()
	service := func(n int) string { return fmt.Sprintf("service-%d.ns-%d.svc.cluster.local", n, n%100) }
	for _, bench := range []struct {
		name     string
		question func(n int) string // n is a multiple of ten: a headless Service
		typ      message.Type
	}{
		{"ClusterIP", func(n int) string { return service(n + 5) }, message.TypeA},
		{"NoData", func(n int) string { return service(n + 5) }, message.TypeAAAA},
		{"SearchPath", func(n int) string { return service(n) + ".ns-1.svc.cluster.local" }, message.TypeA},
		{"Headless", service, message.TypeA},
		{"SRV", func(n int) string { return "_http._tcp." + service(n) }, message.TypeSRV},
		{"PTR", func(n int) string { return fmt.Sprintf("%d.%d.128.10.in-addr.arpa", n%256, n>>8) }, message.TypePTR},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var packets [1024][]byte
			for i := range packets {
				packets[i] = query(b, bench.question(i*9973%1000*10), bench.typ)
			}
			var q message.Query
			var r message.Reply
			out := make([]byte, 4096)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				q.Parse(packets[i%len(packets)])
				r.Begin(&q, out)
				if result := z.Answer(&q, &r); result.Outcome != Hit {
					z.Deny(&q, &r, result, message.NXDomain)
				}
				r.Finish()
			}
		})
	}
}

func query(t testing.TB, name string, typ message.Type) []byte {
	wire, err := message.PackName(name)
	if err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, wire...)
	packet = binary.BigEndian.AppendUint16(packet, uint16(typ))
	return append(packet, 0, 1)
}
