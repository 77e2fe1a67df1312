package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
)

// programsFolder returns a folder with a program of each name and architecture, which do nothing.
func programsFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, arch := range architectures {
		for _, p := range programs {
			path := filepath.Join(folder, arch, p.name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(p.name+" for "+arch), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return folder
}

// TestReproducible: the same programs make the same archives, whenever and wherever.
func TestReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1750000000")
	archives := func() map[string]string {
		folder, content := programsFolder(t), map[string]string{}
		if err := run([]string{"-tag", "1", folder}); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(folder, "*.tar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			content[filepath.Base(f)] = string(b)
		}
		return content
	}
	first, second := archives(), archives()
	if len(first) != len(programs)*(len(architectures)+1) {
		t.Errorf("%d archives, not one for each architecture and one for all, of each program", len(first))
	}
	for name, content := range first {
		if second[name] != content {
			t.Errorf("%s differs from one run to the next", name)
		}
	}
}

// TestImage reads an image back the way Docker does.
func TestImage(t *testing.T) {
	folder := programsFolder(t)
	if err := run([]string{"-repository", "registry.example/dns", "-tag", "1.2.3", "-revision", "abc", folder}); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("registry.example/dns/waypost:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(folder, "waypost-arm64.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/waypost"}) || c.Config.WorkingDir != "/" {
		t.Errorf("the image is for %s, runs %s in %q as %s", c.Architecture, c.Config.Entrypoint, c.Config.WorkingDir, c.Config.User)
	}
	if !c.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("created at %v without SOURCE_DATE_EPOCH", c.Created)
	}
	want := `drwxr-xr-x etc/
-rw-r--r-- etc/group
-rw-r--r-- etc/nsswitch.conf
-rw-r--r-- etc/passwd
drwxr-xr-x etc/ssl/
drwxr-xr-x etc/ssl/certs/
-rw-r--r-- etc/ssl/certs/ca-certificates.crt
dtrwxrwxrwx tmp/
-rwxr-xr-x waypost security.capability=01000002 00040000 00000000 00000000 00000000
Lrwxrwxrwx coredns -> /waypost
`
	if diff := cmp.Diff(want, listing(t, image)); diff != "" {
		t.Errorf("the image holds (-want +got):\n%s", diff)
	}
}

// listing is what an image holds, as `ls -l` and `getfattr` tell it.
func listing(t *testing.T, image v1.Image) string {
	t.Helper()
	var lines []string
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		text, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for archive := tar.NewReader(text); ; {
			h, err := archive.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line(h))
		}
	}
	return strings.Join(lines, "")
}

func line(h *tar.Header) string {
	text := h.FileInfo().Mode().String() + " " + h.Name
	if h.Linkname != "" {
		text += " -> " + h.Linkname
	}
	if x := h.PAXRecords["SCHILY.xattr.security.capability"]; x != "" {
		text += " security.capability=" + words(x)
	}
	return text + "\n"
}

// words are bytes in hexadecimal, a space after each four.
func words(x string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(x) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(digits[x[i]>>4])
		b.WriteByte(digits[x[i]&15])
	}
	return b.String()
}

// TestAuthorities: `tls://` upstreams can be checked against the file.
func TestAuthorities(t *testing.T) {
	count := 0
	for rest := authorities(); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
			t.Errorf("certificate %d: %v", count, err)
		}
	}
	if count < 100 {
		t.Errorf("%d certificates: Mozilla trusts more than a hundred", count)
	}
}

// TestDockerfile: what the Dockerfile says of the images is what is in them.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		c := config(p, "amd64", release{}).Config
		for _, want := range []string{
			"USER " + c.User + "\n", "WORKDIR " + c.WorkingDir + "\n", "ENV " + strings.Join(c.Env, "\nENV ") + "\n",
			"FROM base AS " + p.name + "\nCOPY --from=build /checkout/.cache/image/root/" + p.name + " /\n",
			`ENTRYPOINT ["` + c.Entrypoint[0] + "\"]\n",
		} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("it does not say:\n%s", want)
			}
		}
	}
	if !regexp.MustCompile(`(?s)AS waypost\nCOPY [^\n]*\nEXPOSE 53/tcp 53/udp\n`).Match(text) {
		t.Error("waypost's ports are not those of its image")
	}
}

// TestRoot: the files for the Dockerfile are those of the archive, with their modes and capabilities. Without the right to
// set capabilities it says so.
func TestRoot(t *testing.T) {
	folder, root := programsFolder(t), t.TempDir()
	err := run([]string{"-root", root, "-arch", "amd64", folder})
	if os.Geteuid() != 0 {
		if err == nil {
			t.Error("capabilities were set without the right to")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		for _, f := range append(baseFiles(), programFiles(p, []byte(p.name+" for amd64"))...) {
			path := filepath.Join(root, p.name, f.name)
			var s unix.Stat_t
			if err := unix.Lstat(path, &s); err != nil {
				t.Fatal(err)
			}
			if got := int64(s.Mode & 0o7777); got != f.mode {
				t.Errorf("%s has mode %o, not %o", path, got, f.mode)
			}
			if f.kind == 0 {
				if content, err := os.ReadFile(path); err != nil || !bytes.Equal(content, f.content) {
					t.Errorf("%s has other content, or none: %v", path, err)
				}
			}
			if f.capability != 0 {
				x := make([]byte, 64)
				n, err := unix.Getxattr(path, "security.capability", x)
				if err != nil || !bytes.Equal(x[:n], f.capability.xattr()) {
					t.Errorf("%s has capability %x: %v", path, x[:max(n, 0)], err)
				}
			}
		}
	}
}
