package route

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/conntrack"
	"github.com/waypost/waypost/proxy/plan"
)

// talker is a client that sends all its datagrams from one port, so that to the kernel they are one flow.
type talker struct {
	t    *testing.T
	conn net.Conn
}

func (l *Lab) talker(t *testing.T, from *Space, to netip.AddrPort) *talker {
	t.Helper()
	k := &talker{t: t}
	err := from.Do(func() (err error) {
		k.conn, err = net.Dial("udp", to.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.conn.Close() })
	return k
}

// says is who answers a datagram.
func (k *talker) says(patience time.Duration) string {
	if err := k.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		k.t.Fatal(err)
	}
	if _, err := k.conn.Write([]byte("hello\n")); err != nil && !errors.Is(err, unix.EPERM) {
		return outcome("", err)
	}
	buffer := make([]byte, 100)
	n, err := k.conn.Read(buffer)
	who, _, _ := strings.Cut(string(buffer[:n]), " sees ")
	return outcome(who, err)
}

func (k *talker) expect(want string) {
	k.t.Helper()
	patience := Patience
	if want == "silent" {
		patience = Silence
	}
	if got := k.says(patience); got != want {
		k.t.Errorf("the client is answered by %q, want %q", got, want)
	}
}

// reconcile has the router look at the flows, and expects so many to be removed.
func (l *Lab) reconcile(t *testing.T, r *Router, want int) {
	t.Helper()
	if removed, err := r.Reconcile(); err != nil || removed != want {
		t.Errorf("removed %d flows, want %d; error %v", removed, want, err)
	}
}

func TestUDPFlowsFollowTheRoutes(t *testing.T) {
	l := theLab(t)
	for family := range 2 {
		t.Run([]string{"IPv4", "IPv6"}[family], func(t *testing.T) {
			r := l.router(t, plan.Options{Pods: pods()})
			web := service("web", everywhere)
			if err := r.Set(append(with(web, "b"), world()...)...); err != nil {
				t.Fatal(err)
			}
			l.reconcile(t, r, 0)
			inside := l.talker(t, l.A, netip.AddrPortFrom(address("web", family), 80))
			outside := l.talker(t, l.Outside, netip.AddrPortFrom(address("node-1", family), 30080))
			external := l.talker(t, l.Outside, netip.AddrPortFrom(address("external", family), 80))
			stranger := l.talker(t, l.A, netip.AddrPortFrom(address("c", family), 8080))
			all := func(want string) {
				t.Helper()
				for _, k := range []*talker{inside, outside, external} {
					k.expect(want)
				}
				stranger.expect("c")
			}
			set := func(endpoints ...string) {
				t.Helper()
				if err := r.Set(endpointsOf("web", endpoints...)...); err != nil {
					t.Fatal(err)
				}
			}
			all("b")

			set("b", "c") // flows that agree are left alone, wherever new ones would go
			l.reconcile(t, r, 0)
			all("b")

			set("c")
			l.reconcile(t, r, 3)
			all("c")

			set("c/terminating") // it still serves
			l.reconcile(t, r, 0)
			all("c")

			set() // to zero
			l.reconcile(t, r, 3)
			all("refused")

			set("b") // and back
			l.reconcile(t, r, 0)
			all("b")

			if err := r.Delete(web); err != nil {
				t.Fatal(err)
			}
			l.reconcile(t, r, 3)
			inside.expect("silent")
			stranger.expect("c")
		})
	}
}

// A client that sends before there is a Service is routed once there is one.
func TestUDPFlowsFromBeforeTheService(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(&cluster.Node{Name: "node-1", Addresses: both("node-1")}); err != nil { // and no range: nothing is dropped
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(address("web", 0), 80)
	early := l.talker(t, l.A, to)
	early.expect("silent")
	l.eventually(t, Patience, "node-1 has seen the client", func() bool { return l.flows(t, cluster.UDP, to)[to.Addr().String()] == 1 })
	if err := r.Set(with(service("web", nil), "b")...); err != nil {
		t.Fatal(err)
	}
	early.expect("silent") // the flow leads to nowhere still
	l.reconcile(t, r, 1)
	early.expect("b")
}

// What ended while no process was there is found at the next start, and what did not is left alone.
func TestUDPFlowsOfARestart(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	objects := append(with(service("web", everywhere), "b"), world()...)
	if err := r.Set(append(objects, with(service("api", nil), "c")...)...); err != nil {
		t.Fatal(err)
	}
	external := l.talker(t, l.Outside, netip.AddrPortFrom(address("external", 0), 80))
	node := l.talker(t, l.Outside, netip.AddrPortFrom(address("node-1", 0), 30080))
	inside := l.talker(t, l.A, netip.AddrPortFrom(address("web", 0), 80))
	api := l.talker(t, l.A, netip.AddrPortFrom(address("api", 0), 80))
	for _, k := range []*talker{external, node, inside} {
		k.expect("b")
	}
	api.expect("c")

	// Meanwhile, the Service loses its NodePorts and its external IPs, and the other one its endpoint.
	next := l.again(t, r, plan.Options{Pods: pods()})
	objects = append(with(service("web", nil), "b"), world()...)
	if err := next.Set(append(objects, with(service("api", nil), "b")...)...); err != nil {
		t.Fatal(err)
	}
	l.reconcile(t, next, 3)
	inside.expect("b")
	api.expect("b")
	external.expect("silent")
	node.expect("refused") // by the node: nobody listens
}

// A client whose attempt to connect went to an endpoint that is gone gets to another one with its next try.
func TestTCPAttemptsToWhoIsGone(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	gone := endpointsOf("web", "c")
	gone[0].(*cluster.Slice).Endpoints[0].Address = netip.MustParseAddr("10.244.2.99") // on node-2, which says nothing of it
	if err := l.Node2.Blackhole("10.244.2.99/32"); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(append(append(gone, service("web", nil)), world()...)...); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(address("web", 0), 80)
	attempt := l.attempt(t, to)
	l.eventually(t, Patience, "the attempt is on its way", func() bool { return l.flows(t, cluster.TCP, to)["10.244.2.99"] == 1 })
	if err := r.Set(endpointsOf("web", "b")...); err != nil {
		t.Fatal(err)
	}
	l.reconcile(t, r, 1)
	if err := attempt.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, err := attempt.Read(buffer)
	if got := strings.TrimSpace(string(buffer[:n])); err != nil || got != "b sees 10.244.1.10" {
		t.Fatalf("the attempt gets to %q, %v", got, err)
	}
	// Now that it is answered, it is none of our business.
	if err := r.Set(endpointsOf("web", "c")...); err != nil {
		t.Fatal(err)
	}
	l.reconcile(t, r, 0)
}

// attempt begins to connect over TCP and does not wait. Whoever reads from it does: a signal, as of a program that ends, does not
// interrupt that, as it does poll.
func (l *Lab) attempt(t *testing.T, to netip.AddrPort) *os.File {
	t.Helper()
	fd := -1
	err := l.A.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		if errors.Is(err, unix.EINPROGRESS) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := os.NewFile(uintptr(fd), "an attempt to connect")
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Run looks by itself, after changes that may matter, and only then.
func TestRunLooksAfterChanges(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	if err := r.Set(append(with(service("web", nil), "b"), world()...)...); err != nil {
		t.Fatal(err)
	}
	passes := make(chan conntrack.Pass, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		r.Flows.Run(ctx, func(p conntrack.Pass) { passes <- p })
		close(ended)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	client := l.talker(t, l.A, netip.AddrPortFrom(address("web", 0), 80))
	client.expect("b")
	if err := r.Set(endpointsOf("web", "c")...); err != nil {
		t.Fatal(err)
	}
	removed, looks := 0, 0
	for looks < 4 || removed == 0 { // after the start and after the change: two looks each at most, at both families
		p := <-passes
		if p.Err != nil {
			t.Fatal(p.Err)
		}
		removed += p.Removed
		looks++
	}
	client.expect("c")
	if removed != 1 {
		t.Errorf("removed %d flows, want 1", removed)
	}
}
