package deploy

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/waypost/waypost/e2e/peers"
)

// mostBytes is how large an image may be, unpacked.
const mostBytes = 40_000_000

// TestImages: each image is small, and holds one program, which needs nothing beside itself.
func TestImages(t *testing.T) {
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, program := range []string{"waypost", "waypost-proxy"} {
		for arch, machine := range machines {
			image, err := tarball.ImageFromPath(filepath.Join(p.Cache(), "image", program+"-"+arch+".tar"), nil)
			if err != nil {
				t.Fatal(err)
			}
			size, programs, err := unpack(image, machine)
			if err != nil {
				t.Errorf("%s for %s: %v", program, arch, err)
			}
			t.Logf("%s for %s: %.1f MB unpacked", program, arch, float64(size)/1e6)
			if size > mostBytes {
				t.Errorf("%s for %s: %d bytes, more than 40 MB", program, arch, size)
			}
			if len(programs) != 1 || programs[0] != program {
				t.Errorf("%s for %s can execute %v", program, arch, programs)
			}
		}
	}
}

// unpack returns how many bytes of files an image has, and those that can be executed. They must be static, and for the machine.
func unpack(image v1.Image, machine elf.Machine) (size int64, programs []string, err error) {
	layers, err := image.Layers()
	if err != nil {
		return 0, nil, err
	}
	for _, l := range layers {
		text, err := l.Uncompressed()
		if err != nil {
			return 0, nil, err
		}
		for archive := tar.NewReader(text); ; {
			h, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return 0, nil, err
			}
			size += h.Size
			if h.Typeflag == tar.TypeReg && h.Mode&0o111 != 0 {
				programs = append(programs, h.Name)
				if err := static(archive, machine); err != nil {
					return 0, nil, fmt.Errorf("%s: %w", h.Name, err)
				}
			}
		}
	}
	return size, programs, nil
}

// static checks that a program needs no loader and no libraries.
func static(r io.Reader, machine elf.Machine) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if f.Machine != machine {
		return fmt.Errorf("it is for %v", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("it is linked dynamically")
		}
	}
	return nil
}
