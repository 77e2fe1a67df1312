package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
	"github.com/waypost/waypost/proxy/plan"
)

// realCluster is a lab with a real API server in its lan, which real programs on the nodes follow.
type realCluster struct {
	*Lab
	peers   *peers.Peers
	control *lab.ControlPlane
	access  string           // the kubeconfig that leads there from a node
	written []cluster.Object // what is to be deleted before the next story
	markers int
	started int
}

// apiAddress is the API server's in the lan.
var apiAddress = [2]string{"192.168.10.200", "fd00:10::200"}

func newCluster(t *testing.T) *realCluster {
	t.Helper()
	c := &realCluster{Lab: newLab(t), access: filepath.Join(lab.Folder(), "node.kubeconfig")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	c.peers, err = peers.Find()
	must(err)
	world, err := ThisSpace("api")
	must(err)
	t.Cleanup(func() {
		if err := errors.Join(world.Unplug("lan0"), world.Close()); err != nil {
			t.Error(err)
		}
	})
	must(world.Plug("lan0", c.Lan, "lan", apiAddress[0]+"/24", apiAddress[1]+"/64"))
	must(world.settle())
	must(c.Lan.settle())
	must(world.Route("10.244.1.0/24", addresses["node-1"][0]))
	must(world.Route("10.244.2.0/24", addresses["node-2"][0]))
	c.control, err = lab.StartControlPlane(t.Context(), c.peers)
	must(err)
	t.Cleanup(c.control.Stop)
	text, err := os.ReadFile(c.control.Kubeconfig)
	must(err)
	must(os.WriteFile(c.access, []byte(strings.ReplaceAll(string(text), "127.0.0.1", apiAddress[0])), 0o600))
	for _, namespace := range []string{"prod", "kube-system"} {
		_, err := c.control.Client.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace}}, meta.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			must(err)
		}
	}
	for _, p := range protocols("*") {
		stop, err := c.C.Serve(p, 9090)
		must(err)
		t.Cleanup(stop)
	}
	for _, node := range []string{"node-1", "node-2"} {
		must(c.createNode(t.Context(), node))
	}
	return c
}

func (c *realCluster) createNode(ctx context.Context, name string) error {
	n := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name}}
	for _, a := range addresses[name] {
		n.Status.Addresses = append(n.Status.Addresses, core.NodeAddress{Type: core.NodeInternalIP, Address: a})
	}
	_, err := c.control.Client.CoreV1().Nodes().Create(ctx, n, meta.CreateOptions{})
	return err
}

// proxyConfig is for both programs.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
hostnameOverride: node-1
metricsBindAddress: 0.0.0.0:10249
clusterCIDR: 10.244.0.0/16,fd00:244::/32
nftables: {minSyncPeriod: 10ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
`

// start starts a program in a namespace; it ends with the test.
func (c *realCluster) start(t *testing.T, at *Space, program string, arguments ...string) *lab.Process {
	t.Helper()
	c.started++
	var p *lab.Process
	err := at.Do(func() (err error) { // what a thread starts is where it is
		p, err = lab.StartProcess(fmt.Sprintf("%s-%d", program, c.started), nil, c.peers.Path(program), arguments...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.Stop(); t.Failed() {
			t.Logf("%s says at the end:\n%s", p.Name, p.LogEnd(30))
		}
	})
	return p
}

// proxy starts kube-proxy or waypost-proxy on node-1.
func (c *realCluster) proxy(t *testing.T, program string, arguments ...string) *lab.Process {
	t.Helper()
	config := filepath.Join(lab.Folder(), "proxy.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, proxyConfig, c.access), 0o644); err != nil {
		t.Fatal(err)
	}
	return c.start(t, c.Node1, program, append([]string{"--config=" + config}, arguments...)...)
}

// tell has those stories happen that need no other options than the proxies have.
func (c *realCluster) tell(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		if !reflect.DeepEqual(s.options, plan.Options{Pods: pods()}) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			c.set(t, s.objects...)
			c.check(t, s.asks)
		})
	}
}

// set makes the cluster have objects and no others, and waits until the proxy on node-1 has them. There are no flows of before
// then.
func (c *realCluster) set(t *testing.T, objects ...cluster.Object) {
	t.Helper()
	for _, o := range c.written {
		// What is there again stays: who deletes a Service and makes it anew may find its addresses still taken.
		if slices.ContainsFunc(objects, func(n cluster.Object) bool { return same(n, o) }) {
			continue
		}
		if err := c.delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	c.written = nil
	c.add(t, objects...)
	c.forgetFlows(t) // a client may come by the port of one before it
}

func same(a, b cluster.Object) bool { return a.Kind() == b.Kind() && a.Key() == b.Key() }

// add is set for objects beside those that there are, or in their place.
func (c *realCluster) add(t *testing.T, objects ...cluster.Object) {
	t.Helper()
	c.write(t, objects...)
	c.settled(t)
}

func (c *realCluster) write(t *testing.T, objects ...cluster.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.put(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		c.written = append(slices.DeleteFunc(c.written, func(w cluster.Object) bool { return same(w, o) }), o)
	}
}

// settled waits for a Service that is made last, so that all others are there too.
func (c *realCluster) settled(t *testing.T) {
	t.Helper()
	c.markers++
	s := &cluster.Service{
		Namespace: "prod", Name: fmt.Sprintf("marker-%d", c.markers), Routing: &cluster.Routing{},
		Ports: []cluster.Port{{Name: "udp", Protocol: cluster.UDP, Number: 80}},
		ClusterIPs: []netip.Addr{
			netip.AddrFrom4([4]byte{10, 96, 200, byte(c.markers)}), netip.MustParseAddr(fmt.Sprintf("fd00:10:96::c8%02x", c.markers)),
		},
	}
	c.write(t, with(s, "c")...)
	for _, a := range s.ClusterIPs {
		to := netip.AddrPortFrom(a, 80)
		c.eventually(t, Patience, "the proxy has what is wanted", func() bool {
			return strings.HasPrefix(c.A.Ask(cluster.UDP, to, Patience/100), "c sees ")
		})
	}
}

func (c *realCluster) put(ctx context.Context, o cluster.Object) error {
	switch o := o.(type) {
	case *cluster.Service:
		return c.putService(ctx, apiService(o), o.Routing.LoadBalancerIPs)
	case *cluster.Slice:
		return c.putSlice(ctx, apiSlice(o))
	}
	return fmt.Errorf("a %s is not made from a story", o.Kind())
}

func (c *realCluster) putService(ctx context.Context, s *core.Service, balancers []netip.Addr) error {
	services := c.control.Client.CoreV1().Services(s.Namespace)
	made, err := services.Create(ctx, s, meta.CreateOptions{})
	if err != nil { // it is there, or its addresses are
		old, missing := services.Get(ctx, s.Name, meta.GetOptions{})
		if missing != nil {
			return fmt.Errorf("create Service %s: %w", s.Name, err)
		}
		s.ResourceVersion = old.ResourceVersion
		if made, err = services.Update(ctx, s, meta.UpdateOptions{}); err != nil {
			return fmt.Errorf("update Service %s: %w", s.Name, err)
		}
	}
	if len(balancers) == 0 {
		return nil
	}
	made.Status.LoadBalancer.Ingress = nil
	for _, a := range balancers {
		made.Status.LoadBalancer.Ingress = append(made.Status.LoadBalancer.Ingress, core.LoadBalancerIngress{IP: a.String()})
	}
	_, err = services.UpdateStatus(ctx, made, meta.UpdateOptions{})
	return err
}

func (c *realCluster) putSlice(ctx context.Context, s *discovery.EndpointSlice) error {
	slices := c.control.Client.DiscoveryV1().EndpointSlices(s.Namespace)
	_, err := slices.Create(ctx, s, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = slices.Update(ctx, s, meta.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write EndpointSlice %s: %w", s.Name, err)
	}
	return nil
}

func (c *realCluster) delete(ctx context.Context, o cluster.Object) error {
	var err error
	switch key := o.Key(); o.Kind() {
	case cluster.KindService:
		err = c.control.Client.CoreV1().Services(key.Namespace).Delete(ctx, key.Name, meta.DeleteOptions{})
	case cluster.KindSlice:
		err = c.control.Client.DiscoveryV1().EndpointSlices(key.Namespace).Delete(ctx, key.Name, meta.DeleteOptions{})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
