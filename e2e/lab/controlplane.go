package lab

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/waypost/waypost/e2e/peers"
)

// AdminToken is the bearer token of the lab's administrator.
const AdminToken = "admintoken"

const (
	etcdURL      = "http://127.0.0.1:2379"
	startTimeout = 2 * time.Minute
	serviceCIDRs = "10.96.0.0/12,fd00:10:96::/112"
)

// ControlPlane is etcd, kube-apiserver and kube-controller-manager.
type ControlPlane struct {
	*APIServer  // the one that the controllers talk to
	Etcd        *Process
	Controllers *Process
	dir         string
	peers       *peers.Peers
	others      []*APIServer
	nodes       bool // real ones: Pods run, so the API server and the controllers do for them what else would be in the way
}

// StartControlPlane starts one, with the controllers that make DNS's objects, and waits until it is ready.
func StartControlPlane(ctx context.Context, p *peers.Peers) (*ControlPlane, error) {
	return startControlPlane(ctx, p, false)
}

func startControlPlane(ctx context.Context, p *peers.Peers, nodes bool) (*ControlPlane, error) {
	dir, err := os.MkdirTemp(Folder(), "control-plane-")
	if err != nil {
		return nil, fmt.Errorf("make the control plane's folder: %w", err)
	}
	c := &ControlPlane{dir: dir, peers: p, nodes: nodes}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context) (err error) {
	if err := c.writeCredentials(); err != nil {
		return err
	}
	c.Etcd, err = StartProcess("etcd", nil, "etcd", "--data-dir", filepath.Join(c.dir, "etcd"),
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--quota-backend-bytes", "4000000000")
	if err != nil {
		return err
	}
	if c.APIServer, err = c.newAPIServer(6443, "lease"); err != nil {
		return err
	}
	if err := c.APIServer.Start(ctx); err != nil {
		return err
	}
	c.Controllers, err = StartProcess("kube-controller-manager", nil, c.peers.Path("kube-controller-manager"), c.controllerArgs()...)
	return err
}

// controllerArgs asks for the controllers that make DNS's objects, or, with real nodes, for all.
func (c *ControlPlane) controllerArgs() []string {
	args := []string{
		"--kubeconfig=" + c.Kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1",
		"--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-service-endpoint-syncs=20",
	}
	if c.nodes {
		return append(args, "--allocate-node-cidrs=false",
			"--service-account-private-key-file="+c.file("sa.key"), "--root-ca-file="+c.CertificateFile())
	}
	return append(args, "--controllers=endpointslice-controller,endpointslice-mirroring-controller,namespace-controller,"+
		"statefulset-controller,deployment-controller,replicaset-controller")
}

// Stop ends everything, the DNS servers' friends last.
func (c *ControlPlane) Stop() {
	c.Controllers.Stop()
	for _, a := range c.others {
		a.Stop()
	}
	if c.APIServer != nil {
		c.APIServer.Stop()
	}
	c.Etcd.Stop()
	os.RemoveAll(c.dir)
}

// writeCredentials makes the key for ServiceAccount tokens and the file of bearer tokens.
func (c *ControlPlane) writeCredentials() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the ServiceAccount key: %w", err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(c.file("sa.key"), private, 0o600); err != nil {
		return fmt.Errorf("write the ServiceAccount key: %w", err)
	}
	return nil
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.dir, name) }

// CertificateFile holds the certificates that the first API server's is to be checked with.
func (c *ControlPlane) CertificateFile() string { return c.file("certs-6443/apiserver.crt") }

// APIServer is one kube-apiserver and the way to it. It can be stopped and started again.
type APIServer struct {
	*Process
	Kubeconfig string               // a file
	Config     *rest.Config         // protobuf, not rate-limited
	Client     kubernetes.Interface // made of Config
	tokens     map[string]string    // user by token
	program    string
	args       []string
	tokenFile  string
	certs      string // a folder
	name       string
}

// AddAPIServer starts another API server over the same etcd. Stopping it cuts off those who use its kubeconfig, and no
// one else.
func (c *ControlPlane) AddAPIServer(ctx context.Context, port int) (*APIServer, error) {
	a, err := c.newAPIServer(port, "none")
	if err != nil {
		return nil, err
	}
	c.others = append(c.others, a)
	return a, a.Start(ctx)
}

func (c *ControlPlane) newAPIServer(port int, reconciler string) (*APIServer, error) {
	name := fmt.Sprintf("kube-apiserver-%d", port)
	a := &APIServer{
		name: name, program: c.peers.Path("kube-apiserver"), tokenFile: c.file(name + "-tokens.csv"), certs: c.file("certs-" + fmt.Sprint(port)),
		Kubeconfig: c.file(name + ".kubeconfig"),
		Config: &rest.Config{
			Host: fmt.Sprintf("https://127.0.0.1:%d", port), BearerToken: AdminToken, QPS: -1, WarningHandler: rest.NoWarnings{},
			TLSClientConfig: rest.TLSClientConfig{Insecure: true},
			ContentConfig:   rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"},
		},
		tokens: map[string]string{AdminToken: "admin"},
	}
	a.args = []string{
		"--etcd-servers=" + etcdURL, "--service-cluster-ip-range=" + serviceCIDRs,
		"--service-account-key-file=" + c.file("sa.key"), "--service-account-signing-key-file=" + c.file("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--token-auth-file=" + a.tokenFile, "--authorization-mode=RBAC", "--allow-privileged",
		"--secure-port=" + fmt.Sprint(port), "--advertise-address=" + NodeAddress, "--cert-dir=" + a.certs,
		"--enable-priority-and-fairness=false", "--kubelet-preferred-address-types=InternalIP",
		"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
		"--endpoint-reconciler-type=" + reconciler,
	}
	if !c.nodes {
		a.args = append(a.args, "--disable-admission-plugins=ServiceAccount") // nobody makes tokens for Pods that do not run
	}
	var err error
	if a.Client, err = kubernetes.NewForConfig(a.Config); err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", name, err)
	}
	return a, a.WriteKubeconfig(a.Kubeconfig, "token: "+AdminToken)
}

// Certificates is what clients trust the server by, PEM. The server makes it at its first start.
func (a *APIServer) Certificates() ([]byte, error) {
	certs, err := os.ReadFile(filepath.Join(a.certs, "apiserver.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s: %w", a.name, err)
	}
	return certs, nil
}

// WriteKubeconfig writes a file that leads to the server; user is the YAML of the credentials, as "token: T".
func (a *APIServer) WriteKubeconfig(path, user string) error {
	return writeKubeconfig(path, a.Config.Host, user)
}

func writeKubeconfig(path, server, user string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "%s", insecure-skip-tls-verify: true}}]
users: [{name: lab, user: {%s}}]
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
current-context: lab
`, server, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return nil
}

// SetToken makes the server know a user by a token from its next Start on; an empty user makes it forget the token.
func (a *APIServer) SetToken(token, user string) {
	a.tokens[token] = user
}

// Start starts the server, also again after Stop, and waits until it is ready.
func (a *APIServer) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var lines []byte
	for token, user := range a.tokens {
		if user != "" {
			lines = fmt.Appendf(lines, "%s,%s,%s,\"system:masters\"\n", token, user, user)
		}
	}
	err := os.WriteFile(a.tokenFile, lines, 0o600)
	if err != nil {
		return fmt.Errorf("write the token file: %w", err)
	}
	if a.Process, err = StartProcess(a.name, nil, a.program, a.args...); err != nil {
		return err
	}
	return a.poll(ctx, "wait for "+a.name, func() error {
		_, err := a.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}
