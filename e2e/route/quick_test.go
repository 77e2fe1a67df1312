package route

import (
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nftables"
)

func addr(base byte, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{base, byte(i >> 16), byte(i >> 8), byte(i)})
}

func wanted(services, ports, n int) *proxy.Wanted {
	w := &proxy.Wanted{Node: proxy.Node{
		Pods:          proxy.Detector{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/56")}},
		NodePorts:     []netip.Prefix{netip.MustParsePrefix("192.168.0.1/32"), netip.MustParsePrefix("::/0")},
		ServiceRanges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}}
	for i := range ports {
		s := i % services
		r := &proxy.Route{Frontend: proxy.Frontend{Address: addr(10, s+1), Protocol: cluster.TCP, Port: uint16(80 + i/services)},
			Service: proxy.ServicePort{Namespace: "ns", Name: fmt.Sprint("s", s), Port: fmt.Sprint("p", i/services)}, Verdict: proxy.Forward, Masquerade: proxy.Foreign}
		for e := range n {
			r.Endpoints = append(r.Endpoints, netip.AddrPortFrom(addr(172, i*n+e), 8080))
		}
		w.Routes = append(w.Routes, r)
		if i < services {
			w.ClusterIPs = append(w.ClusterIPs, r.Address)
		}
	}
	return w
}

func TestQuick(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	k, err := nftables.Open(nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := wanted(3, 5, 3)
	for i, v := range []proxy.Verdict{proxy.Reject, proxy.Drop, proxy.Split, proxy.Forward, proxy.Forward} {
		w.Routes[i].Verdict = v
		w.Routes[i].Local = w.Routes[i].Endpoints[:1]
	}
	w.Routes[3].Affinity = 300
	w.Routes[4].Sources = []netip.Prefix{netip.MustParsePrefix("10.1.2.0/23"), netip.MustParsePrefix("10.8.0.1/32")}
	np := *w.Routes[2]
	np.Frontend = proxy.Frontend{Address: netip.IPv4Unspecified(), Protocol: cluster.UDP, Port: 30000}
	w.Routes = append(w.Routes, &np)
	six := &proxy.Route{Frontend: proxy.Frontend{Address: netip.MustParseAddr("fd00::1"), Protocol: cluster.SCTP, Port: 99}, Verdict: proxy.Forward, Affinity: 20,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("[fd00:1::1]:99"), netip.MustParseAddrPort("[fd00:1::2]:99")}}
	w.Routes = append(w.Routes, six)
	w.Hairpins = append(w.Hairpins, proxy.Hairpin{netip.MustParseAddrPort("[fd00:1::1]:99"), cluster.SCTP})
	if err := k.Sync(w); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	fmt.Println(string(out), err)
	exec.Command("sh", "-c", "nft list ruleset > /tmp/nf/q.nft").Run()
	out, err = exec.Command("sh", "-c", "nft flush ruleset; nft -f /tmp/nf/q.nft && echo reloaded").CombinedOutput()
	fmt.Println(string(out), err)
}

func TestTimes(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	k, err := nftables.Open(nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range [][3]int{{10000, 14000, 10}, {50000, 50000, 5}} {
		w := wanted(n[0], n[1], n[2])
		k.Sync(&proxy.Wanted{})
		start := time.Now()
		if err := k.Sync(w); err != nil {
			t.Fatal(err)
		}
		fmt.Println("cold", time.Since(start))
		start = time.Now()
		if err := k.Sync(w); err != nil {
			t.Fatal(err)
		}
		fmt.Println("warm", time.Since(start))
		var best, sum time.Duration = time.Hour, 0
		for i := range 200 {
			r := w.Routes[i]
			s := *r
			s.Endpoints = s.Endpoints[:len(s.Endpoints)-1]
			start = time.Now()
			if err := k.Apply(&proxy.Changes{Routes: []proxy.RouteChange{{r, &s}}}); err != nil {
				t.Fatal(err)
			}
			d := time.Since(start)
			best = min(best, d)
			sum += d
			w.Routes[i] = &s
		}
		fmt.Println("apply best", best, "mean", sum/200)
	}
}
