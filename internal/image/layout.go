package image

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// descriptor points at a blob, in the form of the OCI image specification.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// platform says for which machine an image is.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// index lists images or other indexes.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// ociManifest is an image of one platform.
type ociManifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	blobs        = "blobs/sha256/"
)

// layout is an OCI image layout in the making.
type layout struct {
	files []file
	seen  map[string]bool
}

// WriteLayout writes an archive with one image for the platform of each program, as an
// OCI image layout: what registries, docker, podman, skopeo and Kubernetes' nodes take.
// Its layers are compressed. It is an error if two programs are for the same platform.
func WriteLayout(w io.Writer, programs [][]byte, certificates []byte) error {
	l := layout{seen: make(map[string]bool)}
	list := index{SchemaVersion: 2, MediaType: typeIndex}
	platforms := make(map[platform]bool)
	for _, program := range programs {
		d, err := l.image(Contents{Program: program, Certificates: certificates})
		if err != nil {
			return err
		}
		if platforms[*d.Platform] {
			return fmt.Errorf("two programs are for %s%s", d.Platform.Architecture, d.Platform.Variant)
		}
		platforms[*d.Platform] = true
		list.Manifests = append(list.Manifests, d)
	}
	if len(list.Manifests) == 0 {
		return errors.New("there is no program")
	}
	all, err := l.json(typeIndex, list)
	if err != nil {
		return err
	}
	all.Annotations = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	top, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{all}})
	if err != nil {
		return err
	}
	archive, err := pack(append([]file{
		{name: "oci-layout", mode: 0o644, data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "index.json", mode: 0o644, data: top},
		{name: "blobs/"},
		{name: blobs},
	}, l.files...))
	if err != nil {
		return fmt.Errorf("packing the layout: %w", err)
	}
	_, err = w.Write(archive)
	return err
}

// image adds an image and returns what points at it.
func (l *layout) image(c Contents) (descriptor, error) {
	about, layer, err := c.layer()
	if err != nil {
		return descriptor{}, err
	}
	compressed, err := compress(layer)
	if err != nil {
		return descriptor{}, err
	}
	config := about.config(digest(layer))
	m := ociManifest{SchemaVersion: 2, MediaType: typeManifest, Layers: []descriptor{l.blob(typeLayer, compressed)}}
	if m.Config, err = l.json(typeConfig, config); err != nil {
		return descriptor{}, err
	}
	d, err := l.json(typeManifest, m)
	d.Platform = &platform{Architecture: about.architecture, OS: config.OS, Variant: about.variant}
	return d, err
}

// json adds a value as a blob.
func (l *layout) json(mediaType string, value any) (descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, fmt.Errorf("writing %s: %w", mediaType, err)
	}
	return l.blob(mediaType, data), nil
}

// blob adds bytes under their digest, once.
func (l *layout) blob(mediaType string, data []byte) descriptor {
	sum := digest(data)
	if !l.seen[sum] {
		l.seen[sum] = true
		l.files = append(l.files, file{name: blobs + sum, mode: 0o644, data: data})
	}
	return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: len(data)}
}

// compress is gzip without a name and a time.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
