package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/e2e/peers"
)

// Cluster is a whole Kubernetes: a control plane with all of its controllers and the scheduler, and nodes that run Pods,
// each a machine of its own. Nothing in it makes Services' addresses lead anywhere, and there is no DNS, until somebody
// installs them. Only root can have one.
//
// The machines are 10.1.0.11 and up, on a bridge of the world, which is 10.1.0.1 there; Pods are 10.244.NODE.0/24. The
// world has routes to all of them.
type Cluster struct {
	*ControlPlane
	Scheduler      *Process
	Nodes          []*Node
	NodeKubeconfig string // for programs on nodes: it leads to the API server's outside address
}

// Addresses of a Cluster.
const (
	DNSAddress    = "10.96.0.10" // of the DNS Service
	PodRange      = "10.244.0.0/16"
	bridgeName    = "machines"
	bridgeAddress = "10.1.0.1"
)

// StartCluster starts one whose nodes have the images in the archives given, and waits until all nodes are ready.
func StartCluster(ctx context.Context, p *peers.Peers, nodes int, images ...string) (*Cluster, error) {
	control, err := startControlPlane(ctx, p, true)
	if err != nil {
		return nil, err
	}
	c := &Cluster{ControlPlane: control, NodeKubeconfig: control.file("node.kubeconfig")}
	if err := c.start(ctx, nodes, images); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, nodes int, images []string) (err error) {
	if err := writeKubeconfig(c.NodeKubeconfig, "https://"+NodeAddress+":6443", "token: "+AdminToken); err != nil {
		return err
	}
	c.Scheduler, err = StartProcess("kube-scheduler", nil, c.peers.Path("kube-scheduler"),
		"--kubeconfig="+c.Kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--kube-api-qps=500", "--kube-api-burst=1000")
	if err != nil {
		return err
	}
	if err := layCables(); err != nil {
		return err
	}
	failed := make([]error, nodes)
	var booting sync.WaitGroup
	for i := range nodes {
		n := &Node{cluster: c, Address: nodeAddress(i + 1), PodCIDR: podCIDR(i + 1)}
		c.Nodes = append(c.Nodes, n)
		if err := addRoute(n.PodCIDR, n.Address); err != nil {
			return err
		}
		booting.Go(func() { failed[i] = n.boot(ctx, interior(i+1, nodes), images) })
	}
	booting.Wait()
	return errors.Join(failed...)
}

// Stop ends everything.
func (c *Cluster) Stop() {
	for _, n := range c.Nodes {
		n.PowerOff()
	}
	c.Scheduler.Stop()
	c.ControlPlane.Stop()
}

// layCables makes the bridge that machines are plugged into, and the world forward between them.
func layCables() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("let the world forward: %w", err)
	}
	bridge, err := AddBridge(bridgeName)
	if err != nil {
		return err
	}
	if err := assign(bridge, bridgeAddress+"/24"); err != nil {
		return err
	}
	return netlink.LinkSetUp(bridge)
}

// AddBridge adds a bridge to the network namespace of the calling thread. It has a hardware address of its own: else it would
// take over its ports', another one as they come and go, and what its neighbours send to the old one would be lost.
func AddBridge(name string) (netlink.Link, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	bridge, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetHardwareAddr(bridge, bridge.Attrs().HardwareAddr)
	}
	if err != nil {
		return nil, fmt.Errorf("have bridge %s keep its hardware address: %w", name, err)
	}
	return bridge, nil
}

func nodeName(number int) string    { return fmt.Sprintf("n%d", number) }
func nodeAddress(number int) string { return fmt.Sprintf("10.1.0.1%d", number) }
func podCIDR(number int) string     { return fmt.Sprintf("10.244.%d.0/24", number) }

// interior is what a node is like inside: it forwards, and knows the way to the others' Pods.
func interior(number, nodes int) Interior {
	in := Interior{
		Name: nodeName(number), Address: nodeAddress(number) + "/24", Gateway: bridgeAddress, Routes: map[string]string{},
		Sysctls: map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
			"net/bridge/bridge-nf-call-iptables": "1", // replies between Pods of one node are to be translated back
		},
	}
	for other := 1; other <= nodes; other++ {
		if other != number {
			in.Routes[podCIDR(other)] = nodeAddress(other)
		}
	}
	return in
}
