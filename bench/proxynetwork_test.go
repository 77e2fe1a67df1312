package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/e2e/route"
)

// network is what packets travel in:
//
//	client .10 -- 10.7.N.0/24 -- .1 node N .N -- 10.8.0.0/24 -- .254 pods: all of podRange
//	                                  .N -- 10.9.0.0/24 -- .254 the API server's namespace
//
// Each proxy has a node and a client of its own, which nobody else's rules reach.
type network struct {
	home, pods *route.Space
	listeners  []net.Listener
}

// apiAddress is where nodes find the API server.
const apiAddress = "10.9.0.254"

func newNetwork() (*network, error) {
	n := &network{}
	var err error
	if n.home, err = route.Here("home"); err != nil {
		return nil, err
	}
	if n.pods, err = route.NewSpace("pods"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	err = errors.Join(n.home.Bridge("nodes", apiAddress+"/24"), n.pods.Bridge("nodes", "10.8.0.254/24"), n.pods.Do(anyAddress))
	for _, port := range []int{podPort, podMetrics} {
		err = errors.Join(err, n.serve(port))
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Close ends the network once the nodes are closed.
func (n *network) Close() error {
	var failed []error
	for _, l := range n.listeners {
		failed = append(failed, l.Close())
	}
	for _, s := range []*route.Space{n.home, n.pods} {
		if s != nil {
			failed = append(failed, s.Close())
		}
	}
	return errors.Join(failed...)
}

// anyAddress makes every address of podRange the namespace's own.
func anyAddress() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	all := &net.IPNet{IP: podRange.Addr().AsSlice(), Mask: net.CIDRMask(podRange.Bits(), 32)}
	return netlink.RouteAdd(&netlink.Route{
		Dst: all, LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	})
}

// serve tells everyone who connects the address that was connected to, four bytes.
func (n *network) serve(port int) error {
	return n.pods.Do(func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return fmt.Errorf("serve port %d: %w", port, err)
		}
		n.listeners = append(n.listeners, l)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				address := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr().As4()
				conn.Write(address[:]) // a client that is gone is not ours to miss
				conn.Close()
			}
		}()
		return nil
	})
}

// node is where a proxy runs, and a client whose packets it routes.
type node struct {
	name          string
	address       netip.Addr
	space, client *route.Space
}

// newNode makes node number N.
func (n *network) newNode(number int) (*node, error) {
	v := &node{name: fmt.Sprintf("bench-%d", number), address: netip.AddrFrom4([4]byte{10, 9, 0, byte(number)})}
	var err error
	if v.space, err = route.NewSpace(v.name); err != nil {
		return nil, err
	}
	if v.client, err = route.NewSpace(fmt.Sprintf("client-%d", number)); err != nil {
		return nil, errors.Join(err, v.space.Close())
	}
	if err := n.connect(v, number); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// Close takes the node away, once no process runs in it.
func (v *node) Close() error { return errors.Join(v.space.Close(), v.client.Close()) }

func (n *network) connect(v *node, number int) error {
	gateway, client := fmt.Sprintf("10.7.%d.1", number), fmt.Sprintf("10.7.%d.10", number)
	toPods := fmt.Sprintf("10.8.0.%d", number)
	for _, step := range []func() error{
		func() error {
			return v.space.Sysctl(map[string]string{
				"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
				"net/ipv4/icmp_ratemask": "0", // an address without a route is told at once each time
			})
		},
		func() error { return v.space.Plug("api", n.home, "nodes", v.address.String()+"/24") },
		func() error { return v.space.Plug("pods", n.pods, "nodes", toPods+"/24") },
		func() error { return v.space.Bridge("cni0", gateway+"/24") },
		func() error { return v.client.Plug("eth0", v.space, "cni0", client+"/24") },
		func() error { return v.client.Route("0.0.0.0/0", gateway) },
		func() error { return v.space.Route(podRange.String(), "10.8.0.254") },
		func() error { return n.pods.Route(fmt.Sprintf("10.7.%d.0/24", number), toPods) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// talk connects, reads who answers and ends the connection at once, on the thread's own network. It takes the fewest system
// calls that do, so that what is measured is the way.
func talk(to netip.AddrPort, patience time.Duration) (netip.Addr, error) {
	for {
		who, err := talkOnce(to, patience)
		if !errors.Is(err, unix.EINTR) { // Go's own signals end a call that has a time limit
			return who, err
		}
	}
}

func talkOnce(to netip.AddrPort, patience time.Duration) (netip.Addr, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	if err != nil {
		return netip.Addr{}, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return netip.Addr{}, err
	}
	var who [4]byte
	n, err := unix.Read(fd, who[:])
	if err == nil && n < len(who) {
		err = fmt.Errorf("%d bytes of an answer", n)
	}
	return netip.AddrFrom4(who), err
}
