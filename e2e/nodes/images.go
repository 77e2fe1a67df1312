package nodes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// The images in the cluster. Waypost's are those that `make image` makes.
const (
	toolsImage   = "localhost/tools:1"
	corednsImage = "registry.k8s.io/coredns/coredns:" + peers.CoreDNSVersion
	waypostImage = "localhost/waypost:0.1.0-dev"
)

// archives returns the archives of all images that Pods run. Those of the tests are made anew.
func archives(p *peers.Peers) ([]string, error) {
	tools := lab.Image{Name: toolsImage, Files: map[string]string{}, Entrypoint: []string{"/bin/visitor", "pause"}}
	for at, program := range map[string]string{
		"bin/visitor": p.Path("visitor"), "bin/dig": "/usr/bin/dig", "bin/dnsperf": "/usr/bin/dnsperf", "bin/sh": "/bin/dash",
		"bin/cat": "/bin/cat", "bin/env": "/usr/bin/env", "bin/touch": "/usr/bin/touch", "bin/grep": "/bin/grep",
	} {
		if err := tools.Add(at, program); err != nil {
			return nil, err
		}
	}
	for at, compiler := range map[string][]string{"bin/lookup-glibc": {"gcc"}, "bin/lookup-musl": {"musl-gcc", "-static"}} {
		program := filepath.Join(lab.Folder(), filepath.Base(at))
		if err := compile(program, filepath.Join(p.Root(), "e2e/nodes/testdata/lookup.c"), compiler); err != nil {
			return nil, err
		}
		if err := tools.Add(at, program); err != nil {
			return nil, err
		}
	}
	for _, library := range []string{"libnss_dns.so.2", "libnss_files.so.2"} { // glibc opens them by name
		if found, _ := filepath.Glob("/lib/*-linux-gnu/" + library); len(found) > 0 {
			tools.Files[found[0][1:]] = found[0]
		}
	}
	pause := lab.Image{Name: lab.PauseImage, Files: map[string]string{"visitor": p.Path("visitor")}, Entrypoint: []string{"/visitor", "pause"}}
	coredns := lab.Image{Name: corednsImage, Files: map[string]string{}, Entrypoint: []string{"/coredns"}}
	if err := coredns.Add("coredns", p.Path("coredns")); err != nil {
		return nil, err
	}
	ours := filepath.Join(lab.Folder(), "images.tar")
	return []string{ours, p.Image("waypost"), p.Image("waypost-proxy")}, lab.WriteImages(ours, tools, pause, coredns)
}

func compile(program, source string, compiler []string) error {
	out, err := exec.Command(compiler[0], append(compiler[1:], "-O2", "-o", program, source)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile %s with %s: %w: %s", source, compiler[0], err, out)
	}
	return os.Chmod(program, 0o755)
}
