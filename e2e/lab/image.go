package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is a container image of files of this machine, for nodes that have no registry.
type Image struct {
	Name       string            // as Pods name it, with a tag
	Files      map[string]string // files of this machine by their paths in the image
	Entrypoint []string
}

// Add puts a program of this machine into the image, with the libraries that it is linked with.
func (i *Image) Add(at, program string) error {
	i.Files[at] = program
	out, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "not a dynamic executable") {
			return nil
		}
		return fmt.Errorf("ldd %s: %w: %s", program, err, out)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			i.Files[word[1:]] = word
		}
	}
	return nil
}

// accounts are the files in which programs look for users, and for where names come from.
var accounts = map[string]string{
	"etc/passwd":        "root:x:0:0:root:/:/bin/sh\n",
	"etc/group":         "root:x:0:\n",
	"etc/nsswitch.conf": "hosts: files dns\n",
}

// WriteImages writes an archive in Docker's format, which `ctr images import` takes: of each image one layer, its
// configuration, and a line in the manifest.
func WriteImages(file string, images ...Image) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	defer f.Close()
	type manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifests []manifest
	archive := tar.NewWriter(f)
	for _, image := range images {
		layer, err := image.layer()
		if err != nil {
			return err
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(layer))
		configuration, err := json.Marshal(image.configuration(sum))
		if err != nil {
			return fmt.Errorf("write image %s: %w", image.Name, err)
		}
		m := manifest{fmt.Sprintf("%x.json", sha256.Sum256(configuration)), []string{image.Name}, []string{sum + "/layer.tar"}}
		if err := errors.Join(put(archive, m.Config, configuration, 0o644), put(archive, m.Layers[0], layer, 0o644)); err != nil {
			return fmt.Errorf("write image %s: %w", image.Name, err)
		}
		manifests = append(manifests, m)
	}
	list, err := json.Marshal(manifests)
	if err == nil {
		err = errors.Join(put(archive, "manifest.json", list, 0o644), archive.Close())
	}
	if err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	return nil
}

func (i *Image) configuration(layer string) any {
	return map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config":  map[string]any{"Entrypoint": i.Entrypoint, "Env": []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin"}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
		"history": []any{map[string]string{"created_by": "waypost's lab"}},
	}
}

// layer is the image's file system.
func (i *Image) layer() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, folder := range []string{"dev", "etc", "proc", "run", "sys", "tmp", "var"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755}); err != nil {
			return nil, fmt.Errorf("write image %s: %w", i.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		if err := put(w, name, []byte(accounts[name]), 0o644); err != nil {
			return nil, fmt.Errorf("write image %s: %w", i.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		content, err := os.ReadFile(i.Files[name])
		if err == nil {
			err = put(w, path.Clean(name), content, 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("put %s into image %s: %w", filepath.Base(name), i.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write image %s: %w", i.Name, err)
	}
	return b.Bytes(), nil
}

func put(w *tar.Writer, name string, content []byte, mode int64) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: mode}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
