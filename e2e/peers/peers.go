// Package peers finds the real programs that Waypost is tested against and beside, and builds or installs what is
// missing: Kubernetes and CoreDNS from the Go module proxy, the rest from Debian packages. What it builds stays in
// .cache/bin of the checkout, in a folder per version.
package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The versions of the peers. Kubernetes' is the one that kubernetes/go.mod requires.
const (
	KubernetesVersion = "v1.36.3"
	CoreDNSVersion    = "v1.15.0"
)

// Peers are the programs of one checkout.
type Peers struct {
	root string // of the checkout
}

// Find returns the peers of the checkout that the working directory is in.
func Find() (*Peers, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the checkout: %w", err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		mod, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/waypost/waypost\n") {
			return &Peers{root: d}, nil
		}
		if d == filepath.Dir(d) {
			return nil, fmt.Errorf("find the checkout: no folder above %s holds Waypost's go.mod; run it inside the checkout", dir)
		}
	}
}

// Root is the folder of the checkout.
func (p *Peers) Root() string { return p.root }

// Cache is the folder for whatever need not be made anew each time; git ignores it.
func (p *Peers) Cache() string { return filepath.Join(p.root, ".cache") }

// Path says where a program that Ensure has made is: one of Kubernetes', "coredns", "waypost" or
// "waypost-proxy".
func (p *Peers) Path(program string) string {
	return filepath.Join(p.dir(program), program)
}

func (p *Peers) dir(program string) string {
	switch {
	case slices.Contains(kubernetes, program):
		return filepath.Join(p.Cache(), "bin", "kubernetes-"+KubernetesVersion)
	case program == "coredns":
		return filepath.Join(p.Cache(), "bin", "coredns-"+CoreDNSVersion)
	}
	return filepath.Join(p.Cache(), "bin")
}

var kubernetes = []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"}

// static makes programs that need nothing beside them, as the ones that are released.
var static = []string{"CGO_ENABLED=0"}

// Ensure makes the programs ready for use. Waypost's are always built, so that they are what the checkout holds; peers are
// built once; programs of neither kind must be on the PATH, from the Debian package that Packages names.
func (p *Peers) Ensure(programs ...string) error {
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var missing []string
	for _, program := range programs {
		switch {
		case program == "waypost" || program == "waypost-proxy":
			err = p.run(p.root, static, "go", "build", "-buildvcs=false", "-o", p.Path(program), "./cmd/"+program)
		case program == "visitor":
			err = p.run(filepath.Join(p.root, "e2e"), static, "go", "build", "-buildvcs=false", "-o", p.Path(program), "./nodes/visitor")
		case program == Images:
			err = p.run(p.root, nil, "make", "image")
		case program == Kubeadm:
			err = p.run(p.kubernetesModule(), nil, "go", "mod", "download", "k8s.io/kubernetes")
		case Packages[program] != "":
			if _, lookErr := exec.LookPath(program); lookErr != nil {
				missing = append(missing, Packages[program])
			}
		default:
			err = p.build(program)
		}
		if err != nil {
			return err
		}
	}
	return install(missing)
}

// Images is what Ensure makes for Image.
const Images = "Waypost's images"

// Image is the archive of a program's image, for all architectures, as `make image` makes it.
func (p *Peers) Image(program string) (archive string) {
	return filepath.Join(p.Cache(), "image", program+".tar")
}

// Kubeadm is what Ensure fetches for KubeadmAddon: kubeadm's sources, which hold its manifests.
const Kubeadm = "kubeadm's sources"

// KubeadmAddon is the file in which kubeadm has the manifests of an add-on, "dns" or "proxy".
func (p *Peers) KubeadmAddon(ctx context.Context, addon string) (file string, err error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	list.Dir = p.kubernetesModule()
	folder, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of kubeadm: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(folder)), "cmd/kubeadm/app/phases/addons", addon, "manifests.go"), nil
}

// kubernetesModule is the folder of the module that builds Kubernetes' programs.
func (p *Peers) kubernetesModule() string { return filepath.Join(p.root, "e2e/peers/kubernetes") }

// lock keeps two test programs of one checkout from building the same peer at once.
func (p *Peers) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(p.Cache(), "bin"), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for peers: %w", err)
	}
	f, err := os.Create(filepath.Join(p.Cache(), "bin", ".lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the folder of peers: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// build makes one peer from its sources unless it is there already.
func (p *Peers) build(program string) error {
	if _, err := os.Stat(p.Path(program)); err == nil {
		return nil
	}
	dir := p.dir(program)
	fmt.Fprintf(os.Stderr, "peers: building %s (once; some minutes) into %s\n", program, dir)
	start := time.Now()
	var err error
	if program == "coredns" {
		err = p.run(p.root, []string{"GOBIN=" + dir}, "go", "install", "-trimpath", "github.com/coredns/coredns@"+CoreDNSVersion)
	} else {
		err = p.run(p.kubernetesModule(), nil, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./"+program)
	}
	if err == nil {
		fmt.Fprintf(os.Stderr, "peers: built %s in %v\n", program, time.Since(start).Round(time.Second))
	}
	return err
}

func (p *Peers) run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s (in %s): %w\n%s", name, strings.Join(args, " "), dir, err, out)
	}
	return nil
}
