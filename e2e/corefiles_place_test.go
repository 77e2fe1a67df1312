package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
	"github.com/waypost/waypost/e2e/route"
	"github.com/waypost/waypost/e2e/upstreams"
)

// grounds are where the servers of all files live: each in a network namespace of its own, plugged into a bridge of the
// lab, whose own addresses are all that Corefiles forward to.
type grounds struct {
	peers   *peers.Peers
	control *lab.ControlPlane
	here    *route.Space
	up      *upstreams.Upstreams
	certs   []byte
}

// The network of the bridge. Servers are from .10 on, in both families.
const (
	bridge4, bridge6 = "192.0.2.1", "fd00:53::1"
	serverNet4       = "192.0.2.%d/24"
	serverNet6       = "fd00:53::%x/64"
)

// newGrounds brings up the bridge, and behind it the servers that the files forward to.
func newGrounds(t *testing.T, control *lab.ControlPlane, p *peers.Peers, out *outside) *grounds {
	t.Helper()
	here, err := route.Here("lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	g := &grounds{peers: p, control: control, here: here}
	if err := here.Bridge("br0", bridge4+"/24", bridge6+"/64"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeLink("br0"); err != nil {
			t.Error(err)
		}
	})
	for _, list := range [][]netip.AddrPort{out.recursive, out.authoritative, out.cluster, out.tls} {
		for _, a := range list {
			remove, err := addAddress(a.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := remove(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if g.certs, err = control.Certificates(); err != nil {
		t.Fatal(err)
	}
	g.up, err = upstreams.Start(t.Context(), upstreams.Options{
		Zones: out.zones, Authoritative: out.authoritative, Recursive: out.recursive, TLS: out.tls, TLSNames: out.names,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.up.Stop)
	g.startClusterDNS(t, out.cluster)
	startEtcd(t, out.skydns)
	return g
}

// etcdHost is the name by which Corefiles know an etcd.
const etcdHost = "etcd-0.etcd"

// startEtcd starts the etcd that holds the names of some zones.
func startEtcd(t *testing.T, zones []string) {
	t.Helper()
	e, err := lab.StartEtcd(t.Context(), "skydns", "http://"+bridge4+":2379", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	for _, zone := range zones {
		if err := e.Store(t.Context(), skydns("skydns", zone)); err != nil {
			t.Fatal(err)
		}
	}
}

// addAddress gives the loopback of the calling thread's namespace one more address, until it is removed. One that it has is
// no error, and stays.
func addAddress(a netip.Addr) (remove func() error, err error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback: %w", err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	switch err := netlink.AddrAdd(lo, address); {
	case errors.Is(err, os.ErrExist):
		return func() error { return nil }, nil
	case err != nil:
		return nil, fmt.Errorf("add address %s to the loopback: %w", a, err)
	}
	return func() error { return netlink.AddrDel(lo, address) }, nil
}

// removeLink takes a link away.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	return netlink.LinkDel(link)
}

// startClusterDNS starts a CoreDNS where node caches expect the cluster's DNS.
func (g *grounds) startClusterDNS(t *testing.T, addresses []netip.AddrPort) {
	t.Helper()
	var binds []string
	for _, a := range addresses {
		binds = append(binds, a.Addr().String())
	}
	corefile := fmt.Sprintf(".:53 {\n bind %s\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n  kubeconfig {$KUBECONFIG}\n"+
		"  pods insecure\n  fallthrough in-addr.arpa ip6.arpa\n  ttl 30\n }\n forward . %s\n}\n", strings.Join(binds, " "), upstreams.Resolver())
	d, err := lab.LaunchDNS(lab.DNSOptions{
		Name: "cluster-dns", Program: g.peers.Path("coredns"), Corefile: corefile, Kubeconfig: g.control.Kubeconfig, Port: 53,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	d.Address = addresses[0]
	if err := d.WaitFor(t.Context(), "kubernetes.default.svc.cluster.local."); err != nil {
		t.Fatal(err)
	}
}

// place is one server with a Corefile, in a network namespace and a file system of its own.
type place struct {
	*lab.Process
	space  *route.Space
	up     *upstreams.Upstreams
	ip4    netip.Addr // its own address, that {$POD_IP} stands for
	ip6    netip.Addr
	banner string         // what it prints once it serves
	beside []*lab.Process // servers of its machine that it passes questions on to
	since  time.Time

	clients []netip.Addr // who ask it, beside itself
}

// newPlace makes the namespace and the root folder of a server, and starts it there. The number is no other server's.
func (g *grounds) newPlace(f *corefile, program, banner string, number int) (*place, error) {
	p := &place{banner: banner, up: g.up, clients: f.clients}
	prefix4, prefix6 := fmt.Sprintf(serverNet4, number), fmt.Sprintf(serverNet6, number)
	p.ip4, p.ip6 = netip.MustParsePrefix(prefix4).Addr(), netip.MustParsePrefix(prefix6).Addr()
	name := fmt.Sprintf("%s-%d", program, number)
	var err error
	if p.space, err = route.NewSpace(name); err != nil {
		return nil, err
	}
	if err := p.space.Plug("eth0", g.here, "br0", prefix4, prefix6); err != nil {
		return p, err
	}
	for to, via := range map[string]string{"0.0.0.0/0": bridge4, "::/0": bridge6} {
		if err := p.space.Route(to, via); err != nil {
			return p, err
		}
	}
	root, err := g.furnish(f, name)
	if err != nil {
		return p, err
	}
	env := []string{
		"KUBERNETES_SERVICE_HOST=" + lab.NodeAddress, "KUBERNETES_SERVICE_PORT=6443", "POD_IP=" + p.ip4.String(), "HOME=/", "PATH=/usr/bin:/bin",
	}
	return p, p.space.Do(func() error {
		for _, a := range slices.Concat(f.own, f.clients) {
			if _, err := addAddress(a); err != nil { // which ends with its namespace
				return err
			}
		}
		if err := g.startBeside(p, f, name); err != nil {
			return err
		}
		p.Process, err = lab.StartRooted(root, name, env, "/programs/"+program, "-conf", "/etc/coredns/Corefile")
		return err
	})
}

// startBeside starts the servers that a file expects on its own machine: CoreDNS, which speaks gRPC too.
func (g *grounds) startBeside(p *place, f *corefile, name string) error {
	for i, a := range f.grpc {
		corefile := fmt.Sprintf("grpc://.:%d {\n bind %s\n forward . %s\n}\n", a.Port(), a.Addr(), nameservers[0].Addr())
		d, err := lab.LaunchDNS(lab.DNSOptions{Name: fmt.Sprintf("%s-beside-%d", name, i), Program: g.peers.Path("coredns"), Corefile: corefile})
		if err != nil {
			return err
		}
		p.beside = append(p.beside, d.Process)
	}
	return nil
}

// close ends the server and gives its namespace back.
func (p *place) close() {
	if p == nil {
		return
	}
	for _, b := range p.beside {
		b.Kill()
	}
	if p.Process != nil {
		p.Kill() // not Stop, which would wait for lameduck
	}
	p.space.Close()
}

// dial opens sockets in the server's namespace.
func (p *place) dial(network, address string) (conn net.Conn, err error) {
	err = p.space.Do(func() error {
		conn, err = net.Dial(network, address)
		return err
	})
	return conn, err
}

var _ ask.Dialer = (*place)(nil).dial

// conn prepares to ask the server by one of the ways to it.
func (p *place) conn(w way) (*ask.Conn, error) {
	if !w.from.IsValid() {
		return ask.DialWith(p.dial, w.to)
	}
	return ask.DialWith(func(network, address string) (conn net.Conn, err error) {
		from := netip.AddrPortFrom(w.from, 0)
		dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(from)}
		if network == "tcp" {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		err = p.space.Do(func() error {
			conn, err = dialer.Dial(network, address)
			return err
		})
		return conn, err
	}, w.to)
}

// started waits until the server says that it serves, and reports false where it ends instead.
func (p *place) started(ctx context.Context) (bool, error) {
	for _, b := range p.beside {
		if ok, err := serves(ctx, b, "CoreDNS-"); !ok {
			return false, errors.Join(err, errors.New(b.LogEnd(5)))
		}
	}
	return serves(ctx, p.Process, p.banner)
}

// serves waits until a process prints what it prints once it serves, and reports false where it ends instead.
func serves(ctx context.Context, p *lab.Process, banner string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.Done():
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("wait for %s: %w; it says:\n%s", p.Name, ctx.Err(), p.LogEnd(20))
		case <-ticker.C:
			if strings.Contains(p.Log(), banner) {
				return true, nil
			}
		}
	}
}

// synced waits until a server with a cluster has all of it.
func (p *place) synced(ctx context.Context, f *corefile) error {
	i := slices.IndexFunc(f.targets, func(t target) bool { return t.kube })
	if i < 0 {
		return nil
	}
	zone := f.zones[slices.IndexFunc(f.zones, func(zone string) bool { return !strings.HasSuffix(zone, "arpa.") })]
	question, err := new(dns.Msg).SetQuestion("kubernetes.default.svc."+zone, dns.TypeA).Pack()
	if err != nil {
		return fmt.Errorf("pack a question: %w", err)
	}
	conn, err := p.conn(p.ways(&f.targets[i])[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if reply, err := conn.UDP(question); err == nil && reply[3]&0xf == dns.RcodeSuccess {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s knows the cluster: %w; it says:\n%s", p.Name, ctx.Err(), p.LogEnd(20))
		case <-ticker.C:
		}
	}
}

// nodeHosts is what the files of hosts directives hold.
const nodeHosts = `# the nodes
10.0.0.1 node-1 node-1.example.internal
10.0.0.2 node-2
fd00::2 node-2
203.0.113.7 mcr.microsoft.com packages.aks.azure.com
2001:db8::7 mcr.microsoft.com
192.0.2.10 Mixed.Example.ORG
127.0.0.1 localhost
`

// furnish makes the folder that a server takes for the root of its file system: what Corefiles name, what a Pod has, and
// the programs.
func (g *grounds) furnish(f *corefile, name string) (root string, err error) {
	root = filepath.Join(lab.Folder(), "root-"+name)
	resolv := ""
	for _, a := range nameservers {
		resolv += "nameserver " + a.Addr().String() + "\n"
	}
	const account = "var/run/secrets/kubernetes.io/serviceaccount/"
	files := map[string]string{
		"etc/coredns/Corefile": f.text, "etc/resolv.conf": resolv + "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
		"etc/hosts": "127.0.0.1 localhost\n" + bridge4 + " " + etcdHost + "\n", "etc/coredns/NodeHosts": nodeHosts, "etc/localdns/hosts": nodeHosts, "tmp/hosts/hosts": nodeHosts,
		account + "token": lab.AdminToken, account + "ca.crt": string(g.certs), account + "namespace": "kube-system",
		"etc/ssl/certs/ca-certificates.crt": string(g.up.CA),
	}
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("furnish %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("furnish %s: %w", name, err)
		}
	}
	return root, g.mount(root)
}

// mount makes the programs, their libraries and what the kernel tells of processes visible below a root folder.
func (g *grounds) mount(root string) error {
	folders := map[string]string{"/proc": "proc", "/dev": "dev", "/usr": "usr", "/lib": "lib", "/lib64": "lib64"}
	for from, to := range folders {
		if target, err := os.Readlink(from); err == nil {
			if err := os.Symlink(target, filepath.Join(root, to)); err != nil {
				return fmt.Errorf("link %s into a server's root: %w", from, err)
			}
			continue
		}
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.Mkdir(filepath.Join(root, to), 0o755); err != nil {
			return fmt.Errorf("make a folder in a server's root: %w", err)
		}
		if err := bind(from, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	for _, program := range []string{"coredns", "waypost"} {
		to := filepath.Join(root, "programs", program)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("make the folder of programs: %w", err)
		}
		if err := os.WriteFile(to, nil, 0o755); err != nil {
			return fmt.Errorf("make the place of a program: %w", err)
		}
		if err := bind(g.peers.Path(program), to); err != nil {
			return err
		}
	}
	return nil
}

// bind shows a file or folder at a second place.
func bind(from, to string) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("show %s at %s: %w", from, to, err)
	}
	return nil
}
