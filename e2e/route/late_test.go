package route

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// dnsPorts makes a Service's ports those of a DNS server.
func dnsPorts(s *cluster.Service) {
	for i := range s.Ports {
		s.Ports[i].Number = 53
	}
}

// TestNoQuestionIsLostWithADNSServer has a DNS server answer a question that came while it was an endpoint like others, once
// it is on its way out, and its clients' flows with it.
func TestNoQuestionIsLostWithADNSServer(t *testing.T) {
	l := theLab(t)
	for family := range 2 {
		t.Run([]string{"IPv4", "IPv6"}[family], func(t *testing.T) {
			r := l.router(t, plan.Options{Pods: pods()})
			if err := r.Set(append(with(service("web", dnsPorts), "d"), world()...)...); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Reconcile(); err != nil {
				t.Fatal(err)
			}
			server := l.slowServer(t, l.D, netip.AddrPortFrom(address("d", family), 8080))
			client := l.talker(t, l.A, netip.AddrPortFrom(address("web", family), 53))
			answer := server.take(t, client)

			if err := r.Set(endpointsOf("web", "b", "d/terminating")...); err != nil {
				t.Fatal(err)
			}
			l.reconcile(t, r, 1) // though it still serves
			if servers := l.lateServers(t, family); !strings.Contains(servers, "expires") {
				t.Errorf("the server's answers are translated for ever: %s", servers)
			}
			answer("late")
			if got := client.hears(); got != "late" {
				t.Errorf("the client hears %q", got)
			}
			client.expect("b")

			if err := r.Set(endpointsOf("web", "b")...); err != nil {
				t.Fatal(err)
			}
			l.reconcile(t, r, 0)
			client.expect("b")
			if servers := l.lateServers(t, family); strings.Contains(servers, "expires") {
				t.Errorf("answers of a server are translated that is gone: %s", servers)
			}
		})
	}
}

// lateServers is what nft lists of those whose late answers are translated.
func (l *Lab) lateServers(t *testing.T, family int) string {
	t.Helper()
	return l.Node1.nft(t, "list", "map", []string{"ip", "ip6"}[family], "waypost-late", "servers")
}

// TestNothingIsOwedByOtherZonesServers leaves DNS servers alone that are merely not chosen.
func TestNothingIsOwedByOtherZonesServers(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	objects := near(with(service("web", func(s *cluster.Service) { dnsPorts(s); s.Routing.Distribution = "PreferSameNode" }), "b", "c"),
		nil, map[string][]string{"node-1": {"node-1"}, "node-2": {"node-2"}})
	if err := r.Set(append(objects, world()...)...); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(near(endpointsOf("web", "b", "c", "d"), nil, map[string][]string{"node-1": {"node-1"}, "node-2": {"node-2"}})...); err != nil {
		t.Fatal(err)
	}
	l.check(t, "a udp web:53 -> b sees a")
	if tables := l.Node1.nft(t, "list", "tables"); strings.Contains(tables, "waypost-late") {
		t.Errorf("something is translated:\n%s", tables)
	}
}

// hears waits for one datagram.
func (k *talker) hears() string {
	k.t.Helper()
	if err := k.conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		k.t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, err := k.conn.Read(buffer)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(buffer[:n])
}

// slowServer answers when it is told to.
type slowServer struct{ conn net.PacketConn }

func (l *Lab) slowServer(t *testing.T, at *Space, address netip.AddrPort) *slowServer {
	t.Helper()
	s := &slowServer{}
	err := at.Do(func() (err error) {
		s.conn, err = net.ListenPacket("udp", address.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// take has the client ask, and returns how to answer that.
func (s *slowServer) take(t *testing.T, client *talker) (answer func(text string)) {
	t.Helper()
	if _, err := client.conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	_, from, err := s.conn.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) {
		t.Helper()
		if _, err := s.conn.WriteTo([]byte(text), from); err != nil {
			t.Fatal(err)
		}
	}
}
