package main

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// file is one of a layer. It belongs to root: the program can change none.
type file struct {
	name       string // without a leading slash
	mode       int64
	kind       byte // tar's type flag; 0 is a file
	content    []byte
	link       string // what a symbolic link points to
	capability capability
}

// certificates is where Go and OpenSSL look on Debian: `tls://` upstreams are checked against it.
const certificates = "etc/ssl/certs/ca-certificates.crt"

// baseFiles are what programs expect beside themselves, and CoreDNS's image has.
func baseFiles() []file {
	return []file{
		directory("etc"),
		{name: "etc/group", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:\nnobody:x:65534:\nnonroot:x:%d:\n", user)},
		{name: "etc/nsswitch.conf", mode: 0o644, content: []byte("hosts: files dns\n")},
		{name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil,
			"root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:%d:%[1]d:nonroot:/:/sbin/nologin\n", user)},
		directory("etc/ssl"),
		directory("etc/ssl/certs"),
		{name: certificates, mode: 0o644, content: authorities()},
		{name: "tmp", mode: 0o1777, kind: tar.TypeDir},
	}
}

// programFiles are the program and the other names of it.
func programFiles(p program, content []byte) []file {
	files := []file{{name: p.name, mode: 0o755, content: content, capability: p.capability}}
	for _, name := range p.also {
		name = strings.TrimPrefix(name, "/")
		for i := range name {
			if name[i] == '/' {
				files = append(files, directory(name[:i]))
			}
		}
		files = append(files, file{name: name, mode: 0o777, kind: tar.TypeSymlink, link: path.Join("/", p.name)})
	}
	return files
}

func directory(name string) file { return file{name: name, mode: 0o755, kind: tar.TypeDir} }

// authorities are Mozilla's roots as the Go project keeps them, so that go.sum says which. A root that is trusted for
// certificates up to a day only is among them, as in Debian's file: PEM cannot tell the day.
func authorities() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
	}
	return text.Bytes()
}

// layer makes a layer of files, in their order.
func layer(files []file, modified time.Time) (v1.Layer, error) {
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, f := range files {
		if err := archive.WriteHeader(f.header(modified)); err != nil {
			return nil, fmt.Errorf("write the header of %s: %w", f.name, err)
		}
		if _, err := archive.Write(f.content); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end a layer: %w", err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil })
	if err != nil {
		return nil, fmt.Errorf("compress a layer: %w", err)
	}
	return l, nil
}

func (f file) header(modified time.Time) *tar.Header {
	h := &tar.Header{
		Name: f.name, Mode: f.mode, Typeflag: f.kind, Linkname: f.link, Size: int64(len(f.content)), ModTime: modified, Format: tar.FormatPAX,
	}
	switch f.kind {
	case 0:
		h.Typeflag = tar.TypeReg
	case tar.TypeDir:
		h.Name += "/"
	}
	if f.capability != 0 {
		h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(f.capability.xattr())}
	}
	return h
}

// capability is a set of Linux's below 32, a bit each; see capability.h.
type capability uint32

const (
	netBindService capability = 1 << 10
	netAdmin       capability = 1 << 12
)

// xattr is what `setcap NAME=+ep` stores (struct vfs_cap_data, revision 2): permitted, and effective from the start.
// Whether the program gets it the container's bounding set still decides.
func (c capability) xattr() []byte {
	const revision2, effective = 0x02000000, 1
	x := binary.LittleEndian.AppendUint32(nil, revision2|effective)
	x = binary.LittleEndian.AppendUint32(x, uint32(c)) // permitted
	return append(x, make([]byte, 12)...)              // inheritable: none; capabilities above 31: none
}
