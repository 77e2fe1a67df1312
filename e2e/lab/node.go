package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node is a machine of the cluster, with a real containerd and a real kubelet.
type Node struct {
	*Machine
	Address    string // of eth0, without its length
	PodCIDR    string
	Containerd *Process
	Kubelet    *Process
	cluster    *Cluster
	dir        string // of its configuration files, seen from the world and in the machine alike
}

// The paths of containerd in a node.
const (
	containerdSocket = "/run/containerd/containerd.sock"
	cniPlugins       = "/usr/lib/cni"
)

// boot starts the node, with the images in the archives given, and waits until its kubelet says that it is ready.
func (n *Node) boot(ctx context.Context, in Interior, images []string) (err error) {
	n.dir = filepath.Join(Folder(), in.Name)
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return fmt.Errorf("start node %s: %w", in.Name, err)
	}
	if err := n.configure(); err != nil {
		return fmt.Errorf("configure node %s: %w", in.Name, err)
	}
	if n.Machine, err = StartMachine(in, bridgeName); err != nil {
		return err
	}
	if err := n.StartContainerd(ctx); err != nil {
		return err
	}
	for _, archive := range images {
		if err := n.Import(ctx, archive); err != nil {
			return err
		}
	}
	if err := n.StartKubelet(); err != nil {
		return err
	}
	return n.AwaitReady(ctx, true)
}

// StartContainerd starts containerd, also again, and waits until it can be talked to.
func (n *Node) StartContainerd(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if n.Containerd, err = n.Start("containerd", "containerd", "--config", n.file("containerd.toml")); err != nil {
		return err
	}
	return n.Containerd.poll(ctx, "wait for containerd on "+n.Name, func() error {
		conn, err := net.Dial("unix", n.Root()+containerdSocket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Import makes the images of an archive known to the node.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := n.Run(ctx, "ctr", "--namespace", "k8s.io", "images", "import", archive)
	return err
}

// StartKubelet starts the kubelet, also again.
func (n *Node) StartKubelet() (err error) {
	n.Kubelet, err = n.Start("kubelet", n.cluster.peers.Path("kubelet"), "--config", n.file("kubelet.json"),
		"--kubeconfig", n.cluster.NodeKubeconfig, "--node-ip", n.Address)
	return err
}

// AwaitReady returns once the API server knows the node to be ready, or not to be.
func (n *Node) AwaitReady(ctx context.Context, ready bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return n.Kubelet.poll(ctx, "wait for node "+n.Name, func() error {
		node, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == core.NodeReady && (c.Status == core.ConditionTrue) == ready {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", node.Status.Conditions)
	})
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

// configure writes the configuration files of containerd, the CNI plugins and kubelet.
func (n *Node) configure() error {
	group := filepath.Base(Folder()) + "-" + filepath.Base(n.dir)
	if err := makeGroup(group); err != nil {
		return err
	}
	kubelet, err := json.MarshalIndent(n.kubeletConfiguration("/"+group), "", " ")
	if err != nil {
		return fmt.Errorf("write kubelet's configuration: %w", err)
	}
	if err := os.MkdirAll(n.file("cni"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"containerd.toml":      fmt.Sprintf(containerdConfiguration, containerdSocket, PauseImage, cniPlugins, n.file("cni")),
		"kubelet.json":         string(kubelet),
		"resolv.conf":          "nameserver " + NodeAddress + "\n",
		"cni/10-pods.conflist": fmt.Sprintf(cniConfiguration, n.PodCIDR),
	} {
		if err := os.WriteFile(n.file(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// PauseImage is the name of the image that keeps Pods' namespaces; it has to be among those that nodes are given.
const PauseImage = "localhost/pause:1"

const containerdConfiguration = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  # Else sandboxes cannot be started where the container engine's own score is low.
  restrict_oom_score_adj = true
  sandbox_image = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`

const cniConfiguration = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// kubeletConfiguration is kubeadm's but for what a machine without systemd, and with little memory to spare, needs.
func (n *Node) kubeletConfiguration(group string) any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
		"cgroupDriver":   "cgroupfs", "cgroupRoot": group, "enforceNodeAllocatable": []string{},
		"clusterDNS": []string{DNSAddress}, "clusterDomain": "cluster.local", "resolvConf": n.file("resolv.conf"),
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"evictionHard":             map[string]string{"memory.available": "10Mi"}, "imageGCHighThresholdPercent": 100,
		"failCgroupV1": false, "failSwapOn": false, "localStorageCapacityIsolation": false,
		"makeIPTablesUtilChains": false, "nodeStatusUpdateFrequency": (2 * time.Second).String(), "maxPods": 200,
	}
}
