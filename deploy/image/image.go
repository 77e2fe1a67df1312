package main

import (
	"fmt"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// architectures are those of the images, Go's and OCI's names for them being the same.
var architectures = []string{"amd64", "arm64"}

// program is one that there is an image of.
type program struct {
	name       string
	title      string
	also       []string   // paths that manifests of the program it replaces may call it by
	capability capability // what it may do as nobody in particular, if the container's bounding set has it
	ports      []string
}

var programs = []program{
	{
		name: "waypost", title: "Waypost: a cluster DNS server for Kubernetes",
		also: []string{"/coredns"}, capability: netBindService, ports: []string{"53/tcp", "53/udp"},
	},
	{
		name: "waypost-proxy", title: "Waypost's companion: leads ClusterIPs to Pods",
		also: []string{"/usr/local/bin/kube-proxy"}, capability: netAdmin,
	},
}

// user is "nonroot" of CoreDNS's image. It is a number so that kubelet can see that it is not root (runAsNonRoot).
const user = 65532

// platformImage is the image for one architecture.
type platformImage struct {
	arch  string
	image v1.Image
}

// build makes the image of a program for one architecture.
func build(p program, arch string, binary []byte, r release) (v1.Image, error) {
	base, err := layer(baseFiles(), r.created)
	if err != nil {
		return nil, err
	}
	own, err := layer(programFiles(p, binary), r.created)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, config(p, arch, r))
	if err != nil {
		return nil, fmt.Errorf("set the configuration: %w", err)
	}
	created := v1.Time{Time: r.created}
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: base, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "CA certificates, users"}},
		mutate.Addendum{Layer: own, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "/" + p.name}})
	if err != nil {
		return nil, fmt.Errorf("put the layers together: %w", err)
	}
	return image, nil
}

// config is CoreDNS's image's but for the program's name.
func config(p program, arch string, r release) *v1.ConfigFile {
	ports := map[string]struct{}{}
	for _, port := range p.ports {
		ports[port] = struct{}{}
	}
	id := strconv.Itoa(user)
	return &v1.ConfigFile{
		Architecture: arch, OS: "linux", Created: v1.Time{Time: r.created},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: id + ":" + id, WorkingDir: "/", ExposedPorts: ports, Entrypoint: []string{"/" + p.name},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/" + certificates},
			Labels: map[string]string{
				"org.opencontainers.image.title":    p.title,
				"org.opencontainers.image.source":   "https://github.com/waypost/waypost",
				"org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.version":  r.version,
				"org.opencontainers.image.revision": r.revision,
			},
		},
	}
}
