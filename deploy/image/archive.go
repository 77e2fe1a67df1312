package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeArchive writes an OCI image layout as a tar file, which containerd, Podman and Docker from 25 on read, with
// the manifest.json beside it that older Dockers read. Those take one image of a name: that of the first architecture.
func writeArchive(path, reference string, images []platformImage) error {
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return fmt.Errorf("make a folder for the layout: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if _, err := layout.Write(folder, index(reference, images)); err != nil {
		return fmt.Errorf("write the layout: %w", err)
	}
	manifest, err := dockerManifest(reference, images[0].image)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "manifest.json"), manifest, 0o644); err != nil {
		return fmt.Errorf("write Docker's manifest: %w", err)
	}
	return pack(path, folder)
}

// index is the layout's: it names an image, or the list of one for each architecture.
func index(reference string, images []platformImage) v1.ImageIndex {
	names := map[string]string{
		"io.containerd.image.name":          reference,
		"org.opencontainers.image.ref.name": reference[strings.LastIndexByte(reference, ':')+1:],
	}
	list := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		d := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: i.arch}}
		if len(images) == 1 {
			d.Annotations = names
		}
		list = mutate.AppendManifests(list, mutate.IndexAddendum{Add: i.image, Descriptor: d})
	}
	if len(images) == 1 {
		return list
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: list, Descriptor: v1.Descriptor{Annotations: names}})
}

// dockerManifest leads Docker to the same blobs.
func dockerManifest(reference string, image v1.Image) ([]byte, error) {
	m, err := image.Manifest()
	if err != nil {
		return nil, fmt.Errorf("read the manifest back: %w", err)
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	entry := struct {
		Config           string
		RepoTags, Layers []string
	}{Config: blob(m.Config.Digest), RepoTags: []string{reference}}
	for _, l := range m.Layers {
		entry.Layers = append(entry.Layers, blob(l.Digest))
	}
	text, err := json.Marshal([]any{entry})
	if err != nil {
		return nil, fmt.Errorf("write Docker's manifest: %w", err)
	}
	return text, nil
}

// pack makes a tar file of a folder, the same for the same content.
func pack(path, folder string) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	defer func() {
		if closeErr := out.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("write the archive: %w", closeErr)
		}
	}()
	archive := tar.NewWriter(out)
	// WalkDir goes in the names' order.
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		return add(archive, folder, name, entry.IsDir())
	})
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return fmt.Errorf("write the archive %s: %w", path, err)
	}
	return nil
}

// add puts one file or folder into an archive.
func add(archive *tar.Writer, folder, name string, isDir bool) error {
	relative, err := filepath.Rel(folder, name)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: relative, Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if isDir {
		h.Name, h.Mode, h.Typeflag = relative+"/", 0o755, tar.TypeDir
		return archive.WriteHeader(h)
	}
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(archive, in)
	return err
}
