package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// size is a cluster's.
type size struct{ services, ports, endpoints int }

func (s size) String() string {
	return fmt.Sprintf("%d_Services_%d_ports_%d_endpoints", s.services, s.ports, s.endpoints)
}

// sizes are that of the side-by-side measurement with kube-proxy, and the largest one.
var sizes = []size{{10_000, 14_000, 140_000}, {50_000, 50_000, 250_000}}

// large is a cluster of a size: a part of the Services has a second port.
func large(s size) []cluster.Object {
	objects := world()
	each := s.endpoints / s.ports
	for i := range s.services {
		name := fmt.Sprintf("svc-%d", i)
		service := &cluster.Service{
			Namespace: "load", Name: name, Routing: &cluster.Routing{},
			ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 97, byte(i >> 8), byte(i)})},
			Ports:      []cluster.Port{{Name: "http", Protocol: cluster.TCP, Number: 80}},
		}
		slice := &cluster.Slice{
			Namespace: "load", Name: name + "-x", Service: name,
			Ports: []cluster.Port{{Name: "http", Protocol: cluster.TCP, Number: 8080}},
		}
		if i < s.ports-s.services {
			service.Ports = append(service.Ports, cluster.Port{Name: "metrics", Protocol: cluster.TCP, Number: 90})
			slice.Ports = append(slice.Ports, cluster.Port{Name: "metrics", Protocol: cluster.TCP, Number: 9090})
		}
		for e := range each {
			slice.Endpoints = append(slice.Endpoints, loadEndpoint(i*each+e))
		}
		objects = append(objects, service, slice)
	}
	return objects
}

var elsewhere = &cluster.Place{Node: "node-2"}

func loadEndpoint(i int) cluster.Endpoint {
	return cluster.Endpoint{
		Address: netip.AddrFrom4([4]byte{10, byte(128 + i>>16), byte(i >> 8), byte(i)}),
		State:   cluster.Ready | cluster.Serving, Place: elsewhere,
	}
}

// bare is a router in a namespace that has nothing else, and how to end both.
func bare(b *testing.B) (r *Router, end func()) {
	b.Helper()
	space, err := NewSpace("node-1")
	if err != nil {
		b.Fatal(err)
	}
	r, err = NewRouter(space, plan.Options{Pods: pods()})
	if err != nil {
		b.Fatal(err)
	}
	return r, func() {
		if err := errors.Join(r.Close(), space.Close()); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkFirstSync is from the cluster's objects to the kernel that routes all of it: the plan's share and the kernel's.
func BenchmarkFirstSync(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.String(), func(b *testing.B) {
			objects := large(s)
			var planned, synced, cpu time.Duration
			var kept float64
			for b.Loop() {
				b.StopTimer()
				r, end := bare(b)
				before := heap()
				b.StartTimer()
				start, used := time.Now(), processorTime()
				var changes []cluster.Change
				for _, o := range objects {
					changes = append(changes, cluster.Change{New: o})
				}
				r.Plan.Apply(changes)
				r.Plan.Take()
				w := r.Plan.Wanted()
				planned += time.Since(start)
				start = time.Now()
				if err := r.Kernel.Sync(w); err != nil {
					b.Fatal(err)
				}
				synced += time.Since(start)
				cpu += processorTime() - used
				b.StopTimer()
				kept = heap() - before
				end()
				b.StartTimer()
			}
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(planned.Seconds()/float64(b.N), "plan-s/op")
			b.ReportMetric(synced.Seconds()/float64(b.N), "kernel-s/op")
			b.ReportMetric(kept, "MB-kept")
		})
	}
}

// heap is what the process holds in memory, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// processorTime is what the process has used, in the kernel too: it does not depend on what else the machine is doing.
func processorTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkRestart is a start with a kernel that has everything already.
func BenchmarkRestart(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.String(), func(b *testing.B) {
			r, end := bare(b)
			defer end()
			if err := r.Set(large(s)...); err != nil {
				b.Fatal(err)
			}
			w := r.Plan.Wanted()
			for b.Loop() {
				if err := r.Kernel.Sync(w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOneEndpoint is from a changed EndpointSlice to the kernel: one endpoint comes, goes, or is replaced by another.
func BenchmarkOneEndpoint(b *testing.B) {
	for _, s := range sizes {
		r, end := bare(b)
		defer end()
		objects := large(s)
		if err := r.Set(objects...); err != nil {
			b.Fatal(err)
		}
		var slices []*cluster.Slice
		for _, o := range objects {
			if slice, ok := o.(*cluster.Slice); ok && len(slice.Ports) == 1 {
				slices = append(slices, slice)
			}
		}
		for _, c := range []struct {
			name   string
			change func([]cluster.Endpoint) []cluster.Endpoint
		}{
			{"replaced", func(e []cluster.Endpoint) []cluster.Endpoint {
				return append(e[:len(e)-1:len(e)-1], loadEndpoint(1_000_000))
			}},
			{"gone", func(e []cluster.Endpoint) []cluster.Endpoint { return e[:len(e)-1] }},
			{"more", func(e []cluster.Endpoint) []cluster.Endpoint {
				return append(e[:len(e):len(e)], loadEndpoint(1_000_001))
			}},
		} {
			b.Run(s.String()+"/"+c.name, func(b *testing.B) { changeOne(b, r, slices, c.change) })
		}
	}
}

// changeOne changes one slice after the other, forth and back.
func changeOne(b *testing.B, r *Router, slices []*cluster.Slice, change func([]cluster.Endpoint) []cluster.Endpoint) {
	var slowest time.Duration
	i := 0
	for b.Loop() {
		old := slices[i%len(slices)]
		i++
		changed := *old
		changed.Endpoints = change(old.Endpoints)
		for _, c := range []cluster.Change{{Old: old, New: &changed}, {Old: &changed, New: old}} {
			start := time.Now()
			r.Plan.Apply([]cluster.Change{c})
			if err := r.Kernel.Apply(r.Plan.Take()); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(start))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2*b.N), "us/change")
	b.ReportMetric(float64(slowest.Microseconds()), "us-slowest")
}

// BenchmarkConnections is a new TCP connection through a ClusterIP, its first byte, and its end, beside other Services.
func BenchmarkConnections(b *testing.B) {
	l, err := NewLab()
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	stop, err := l.C.Serve(cluster.TCP, 8080)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	direct := netip.AddrPortFrom(netip.MustParseAddr(addresses["c"][0]), 8080)
	b.Run("direct", func(b *testing.B) { connect(b, l.A, direct) })
	for _, n := range []int{10, 10_000, 50_000} {
		b.Run(fmt.Sprintf("%d_Services", n), func(b *testing.B) {
			r, err := NewRouter(l.Node1, plan.Options{Pods: pods()})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			if err := r.Set(append(large(size{n, n, 5 * n}), with(service("web", nil), "c")...)...); err != nil {
				b.Fatal(err)
			}
			connect(b, l.A, netip.AddrPortFrom(netip.MustParseAddr("10.96.0.10"), 80))
			if _, err := r.Kernel.RemoveOwn(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func connect(b *testing.B, from *Space, to netip.AddrPort) {
	err := from.Do(func() error {
		for b.Loop() {
			if _, err := visit(to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
}

// endAtOnce closes a connection without leaving its port in use for a minute.
func endAtOnce(conn net.Conn) error {
	return errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close())
}
