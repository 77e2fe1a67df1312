package route

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// hold keeps a connection busy, line by line, until stop is closed, and tells how that went.
func (l *Lab) hold(t *testing.T, from *Space, to netip.AddrPort, stop <-chan struct{}) <-chan error {
	t.Helper()
	conn, _ := l.connection(t, from, to)
	done := make(chan error, 1)
	go func() {
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := echo(conn, reader, i); err != nil {
				done <- fmt.Errorf("after %d lines: %w", i, err)
				return
			}
		}
	}()
	return done
}

// connection connects and tells who answers.
func (l *Lab) connection(t *testing.T, from *Space, to netip.AddrPort) (conn net.Conn, who string) {
	t.Helper()
	err := from.Do(func() (err error) {
		conn, err = dial(cluster.TCP, to, Patience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	who, _, _ = strings.Cut(string(buffer[:n]), " sees ")
	return conn, who
}

func echo(conn net.Conn, reader *bufio.Reader, i int) error {
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "line %d\n", i); err != nil {
		return err
	}
	line, err := reader.ReadString('\n')
	if err == nil && line != fmt.Sprintf("line %d\n", i) {
		err = fmt.Errorf("got %q back", line)
	}
	return err
}

// While the cluster changes a thousand times or more, connections to endpoints that stay are not lost, and every new connection
// finds an endpoint that is there.
func TestTrafficSurvivesChanges(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	stays := []string{"b", "node-2"}
	if err := r.Set(append(with(service("web", everywhere), stays...), world()...)...); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var held []<-chan error
	for family := range 2 {
		for range 5 {
			held = append(held,
				l.hold(t, l.A, netip.AddrPortFrom(address("web", family), 80), stop),
				l.hold(t, l.Outside, netip.AddrPortFrom(address("node-1", family), 30080), stop))
		}
	}
	var askers sync.WaitGroup
	var asked atomic.Int32
	askers.Go(func() {
		to := netip.AddrPortFrom(address("web", 0), 80)
		for ; ; asked.Add(1) {
			select {
			case <-stop:
				return
			default:
			}
			if got := l.A.visit(to); !strings.HasSuffix(got, " sees "+addresses["a"][0]) {
				t.Errorf("a new connection, during changes: %q", got)
			}
		}
	})
	random := rand.New(rand.NewPCG(3, 5))
	changes := 0
	for ; changes < 1000 || asked.Load() < 50 && !t.Failed(); changes++ { // who asks may get little of a busy machine
		now := slices.Clone(stays)
		if random.IntN(2) == 0 {
			now = append(now, "c")
		}
		random.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
		objects := endpointsOf("web", now...)
		if changes%10 == 0 {
			objects = append(objects, randomService(random, fmt.Sprintf("svc-%d", random.IntN(12)))...)
		}
		if err := r.Set(objects...); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	askers.Wait()
	for i, h := range held {
		if err := <-h; err != nil {
			t.Errorf("connection %d was lost: %v", i, err)
		}
	}
	t.Logf("%d connections held, %d new ones, during %d changes", len(held), asked.Load(), changes)
}

// visit is Ask over TCP that leaves no port in use for a minute: there are fewer than a fast machine asks from meanwhile.
func (s *Space) visit(to netip.AddrPort) string {
	said := ""
	err := s.Do(func() (err error) {
		said, err = visit(to)
		return err
	})
	return outcome(said, err)
}

func visit(to netip.AddrPort) (said string, err error) {
	conn, err := dial(cluster.TCP, to, Patience)
	if err != nil {
		return "", err
	}
	said, err = converse(conn, cluster.TCP, Patience)
	return said, errors.Join(err, endAtOnce(conn))
}

// Each endpoint gets its share, whatever their number.
func TestEndpointsAreEquallyLikely(t *testing.T) {
	l := theLab(t)
	r := l.router(t, plan.Options{Pods: pods()})
	for _, n := range []int{1, 2, 3, 5, 6, 7, 11, 16} {
		slice := &cluster.Slice{Namespace: "prod", Name: "web-x", Service: "web", Ports: []cluster.Port{{Name: "udp", Protocol: cluster.UDP, Number: 9000}}}
		for i := range n {
			slice.Endpoints = append(slice.Endpoints, cluster.Endpoint{
				Address: netip.AddrFrom4([4]byte{10, 244, 3, byte(i)}), State: cluster.Ready | cluster.Serving, Place: &cluster.Place{Node: "node-2"},
			})
		}
		if err := r.Set(append(world(), service("web", nil), slice)...); err != nil {
			t.Fatal(err)
		}
		shares := l.shares(t, netip.AddrPortFrom(address("web", 0), 80), 4000)
		if len(shares) != n {
			t.Errorf("%d endpoints: %d were chosen: %v", n, len(shares), shares)
			continue
		}
		if c, limit := chiSquare(shares), chiLimit(n-1); c > limit {
			t.Errorf("%d endpoints: chi square is %.1f, want at most %.1f: %v", n, c, limit, shares)
		}
	}
}

// shares sends datagrams from as many ports and counts, by what the node remembers of them, where they were sent.
func (l *Lab) shares(t *testing.T, to netip.AddrPort, datagrams int) map[string]int {
	t.Helper()
	l.forgetFlows(t)
	err := l.A.Do(func() error {
		for range datagrams {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				return err
			}
			_, err = conn.Write([]byte("x"))
			if err := errors.Join(err, conn.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l.flows(t, cluster.UDP, to)
}

// flows counts what node-1 remembers of flows to an address, by who is to answer.
func (l *Lab) flows(t *testing.T, p cluster.Protocol, to netip.AddrPort) map[string]int {
	t.Helper()
	family := netlink.InetFamily(unix.AF_INET)
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	var flows []*netlink.ConntrackFlow
	err := l.Node1.Do(func() (err error) {
		flows, err = netlink.ConntrackTableList(netlink.ConntrackTable, family)
		return err
	})
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Fatal(err)
	}
	answering := map[string]int{}
	for _, f := range flows {
		if f.Forward.Protocol == uint8(p) && f.Forward.DstIP.Equal(to.Addr().AsSlice()) && f.Forward.DstPort == to.Port() {
			answering[f.Reverse.SrcIP.String()]++
		}
	}
	return answering
}

func chiSquare(shares map[string]int) float64 {
	total := 0
	for _, n := range shares {
		total += n
	}
	expected, sum := float64(total)/float64(len(shares)), 0.0
	for _, n := range shares {
		sum += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	return sum
}

// chiLimit is what chi square exceeds once in three million times, with so many degrees of freedom (Wilson and Hilferty's
// approximation).
func chiLimit(freedom int) float64 {
	if freedom == 0 {
		return 0
	}
	k := float64(freedom)
	return k * math.Pow(1-2/(9*k)+5*math.Sqrt(2/(9*k)), 3)
}
