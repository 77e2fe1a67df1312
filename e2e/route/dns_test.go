package route

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/e2e/lab"
)

// dnsAddress is the ClusterIP of the DNS Service, by family.
var dnsAddress = [2]string{"10.96.0.53", "fd00:10:96::53"}

const corefile = `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
    }
}
`

// serveDNS has Waypost run in Pods, behind the Service kube-system/kube-dns, in a cluster that has others' objects besides. From
// one test to the next, the Service is changed and never made anew.
func (c *realCluster) serveDNS(t *testing.T, others []cluster.Object, pods ...string) {
	t.Helper()
	file := filepath.Join(lab.Folder(), "Corefile")
	if err := os.WriteFile(file, fmt.Appendf(nil, corefile, c.access), 0o644); err != nil {
		t.Fatal(err)
	}
	spaces := map[string]*Space{"b": c.B, "c": c.C}
	for _, pod := range pods {
		c.start(t, spaces[pod], "waypost", "-conf", file)
	}
	for _, pod := range pods {
		for _, address := range addresses[pod] {
			at := netip.AddrPortFrom(netip.MustParseAddr(address), 53)
			c.eventually(t, Patience, pod+" serves DNS", func() bool { return c.A.isAnswered(at) })
		}
	}
	c.set(t, append(dnsService(pods...), others...)...)
}

// isAnswered reports whether somebody answers a question that the namespace asks at an address, whatever the answer.
func (s *Space) isAnswered(at netip.AddrPort) bool {
	err := s.Do(func() error {
		_, err := dns.Exchange(new(dns.Msg).SetQuestion(dnsName, dns.TypeA), at.String())
		return err
	})
	return err == nil
}

// dnsName is what clients ask for that care for no answer in particular.
const dnsName = "kube-dns.kube-system.svc.cluster.local."

// dnsService is the Service kube-system/kube-dns, with Pods that serve it.
func dnsService(pods ...string) []cluster.Object {
	s := &cluster.Service{Namespace: "kube-system", Name: "kube-dns", Routing: &cluster.Routing{}, Ports: []cluster.Port{
		{Name: "dns", Protocol: cluster.UDP, Number: 53}, {Name: "dns-tcp", Protocol: cluster.TCP, Number: 53},
	}}
	objects := []cluster.Object{s}
	for family, suffix := range [2]string{"-four", "-six"} {
		s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr(dnsAddress[family]))
		slice := &cluster.Slice{Namespace: s.Namespace, Name: s.Name + suffix, Service: s.Name, Ports: s.Ports}
		for _, pod := range pods {
			slice.Endpoints = append(slice.Endpoints, endpoint(pod, family))
		}
		objects = append(objects, slice)
	}
	return objects
}

// dig asks from the namespace and returns what comes back, one line each.
func (s *Space) dig(t *testing.T, arguments ...string) []string {
	t.Helper()
	var out []byte
	err := s.Do(func() (err error) {
		out, err = exec.Command("dig", append([]string{"+short", "+tries=1", "+time=2"}, arguments...)...).Output()
		return err
	})
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Fields(string(out))
}

// nameToAnswer is the whole path: a Pod asks for a name through the DNS Service's ClusterIP, and then for what the answer leads to.
func (c *realCluster) nameToAnswer(t *testing.T) {
	c.serveDNS(t, with(service("web", nil), "b", "c"), "b", "c")
	for family, kind := range [2]string{"A", "AAAA"} {
		for _, over := range []string{"+notcp", "+tcp"} {
			var got []string
			c.eventually(t, Patience, "the name is known", func() bool {
				got = c.A.dig(t, "@"+dnsAddress[family], over, "web.prod.svc.cluster.local", kind)
				return len(got) == 1 && got[0] == address("web", family).String()
			})
			at := netip.AddrPortFrom(netip.MustParseAddr(got[0]), 80)
			if said := c.A.Ask(cluster.TCP, at, Patience); !strings.HasSuffix(said, " sees "+addresses["a"][family]) {
				t.Errorf("a request to what %s %s is answered with: %q", kind, over, said)
			}
		}
	}
}

// nodeDies has the node of one of two DNS servers lose its network, of which the API server knows nothing: within three
// seconds, unless the machine has much else to do, all questions are answered again, from whatever port they come.
func (c *realCluster) nodeDies(t *testing.T) {
	c.serveDNS(t, nil, "b", "c")
	c.dnsBackends(t, 4, 0)
	clients := map[string]*client{}
	var ends []func()
	for name, ports := range map[string]int{"a new port each time": 0, "the same ports": enough} {
		one := &client{space: c.A, server: dnsServer(), patience: soon}
		for range ports {
			one.keep(t)
		}
		clients[name] = one
		ends = append(ends, one.begin(t))
	}
	died := time.Now()
	c.lan(t, "to-node-2", netlink.LinkSetDown)
	c.dnsBackends(t, 2, 2)
	limit := 3 * time.Second
	if busyMachine(t) {
		limit = 10 * time.Second
	}
	<-time.After(time.Until(died.Add(limit + 2*time.Second)))
	for _, end := range ends {
		end()
	}
	for name, one := range clients {
		one.settle(died.Add(limit))
		if one.lost == 0 {
			t.Errorf("%s: no question was lost, so nobody was gone", name)
		}
		if last := one.last.Sub(died); last > limit {
			t.Errorf("%s: questions are lost until %s after the node died", name, last)
		}
		t.Logf("%s: %d of %d questions lost, the last one %s after the node died", name, one.lost, one.asked, one.last.Sub(died))
	}
	c.lan(t, "to-node-2", netlink.LinkSetUp)
	c.dnsBackends(t, 4, 0)
}

// dnsServer is where Pods ask, over IPv4.
func dnsServer() netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(dnsAddress[0]), 53) }

// dnsBackends waits until so many endpoints have answered when they were asked last, and so many have not. Both are told, as what
// stands there may be of endpoints that were there before.
func (c *realCluster) dnsBackends(t *testing.T, answered, unanswered int) {
	t.Helper()
	const says = `waypost_proxy_dns_backends{outcome="answered"} %d
waypost_proxy_dns_backends{outcome="unanswered"} %d
`
	c.becomes(t, c.Node1, netip.MustParseAddrPort("127.0.0.1:10249"), "/metrics", 200, fmt.Sprintf(says, answered, unanswered))
}

// newServer has a DNS server come that is said to be ready and does not answer yet: no Pod's question is lost by that. One
// that answers no node is used all the same, after a while.
func (c *realCluster) newServer(t *testing.T) {
	c.serveDNS(t, nil, "b")
	c.dnsBackends(t, 2, 0)
	t.Run("that answers soon", func(t *testing.T) {
		if _, pod := c.meet(t, 3, Patience); pod.lost > 0 {
			t.Errorf("%d of %d questions are lost, the last one at %s", pod.lost, pod.asked, pod.last)
		}
	})
	t.Run("that answers no node", func(t *testing.T) {
		if late, _ := c.meet(t, math.MaxInt, soon); late.early.Load() < 20 {
			t.Errorf("a new server is used after it has left %d questions unanswered", late.early.Load())
		}
	})
}

// meet has a new DNS server come that leaves so many questions of nodes unanswered before it answers anybody, and a Pod ask until
// it is used.
func (c *realCluster) meet(t *testing.T, deaf int, patience time.Duration) (*lateServer, *client) {
	t.Helper()
	late := c.lateServer(t, deaf)
	pod := &client{space: c.A, server: dnsServer(), patience: patience}
	end := pod.begin(t)
	c.write(t, dnsService("b", "c")...)
	// Three times, the Pod may wait for an answer that does not come.
	c.eventually(t, 4*Patience, "the new server is used", func() bool { return late.questions.Load() >= 3 })
	end()
	pod.settle(time.Now())
	c.add(t, dnsService("b")...)
	c.forgetFlows(t) // the next client may come by a port of this one
	return late, pod
}

// lateServer is a DNS server in the Pod c, over IPv4, that does not answer at first.
type lateServer struct {
	deaf      int          // how many questions of nodes it leaves unanswered
	probes    int          // of those that came
	questions atomic.Int32 // of Pods
	early     atomic.Int32 // probes before the first of these
}

func (c *realCluster) lateServer(t *testing.T, deaf int) *lateServer {
	t.Helper()
	s := &lateServer{deaf: deaf}
	var conn net.PacketConn
	err := c.C.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", ":53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { s.serve(conn) })
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return s
}

// serve takes one question after the other, in the order that they come in: how many came before another one is known.
func (s *lateServer) serve(conn net.PacketConn) {
	buffer := make([]byte, dns.MinMsgSize)
	for {
		n, client, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		question := new(dns.Msg)
		if err != nil || question.Unpack(buffer[:n]) != nil || len(question.Question) != 1 || !s.take(question) {
			continue
		}
		if answer, err := new(dns.Msg).SetReply(question).Pack(); err == nil {
			conn.WriteTo(answer, client)
		}
	}
}

// take counts a question and reports whether it is to be answered.
func (s *lateServer) take(question *dns.Msg) bool {
	switch {
	case question.Question[0].Qclass == dns.ClassCHAOS:
		s.probes++
	case s.questions.Add(1) == 1:
		s.early.Store(int32(s.probes))
	}
	return s.probes > s.deaf
}

// busyMachine reports whether twice as many threads want to run as there are processors.
func busyMachine(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatal(err)
	}
	return load > float64(2*runtime.NumCPU())
}

// lan does something to a link of the switch.
func (c *realCluster) lan(t *testing.T, name string, how func(netlink.Link) error) {
	t.Helper()
	err := c.Lan.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return how(link)
	})
	if err != nil {
		t.Fatal(err)
	}
}
