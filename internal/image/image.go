package image

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// What is where in the image, and how it is run. The Dockerfile says the same.
const (
	programPath      = "doublenat"
	certificatesPath = "etc/ssl/certs/ca-certificates.crt" // the first that crypto/x509 looks for
	// user is a number: there is no user database in the image.
	user = "65534:65534"
	port = "5351/udp"
	tag  = "doublenat:latest"
)

// Contents is what goes into an image.
type Contents struct {
	// Program is doublenat for the platform of the image, as `make binary` builds it.
	Program []byte
	// Certificates are the authorities, in PEM.
	Certificates []byte
}

// layer packs the one layer of an image. It is an error if the program would not run in there.
func (c Contents) layer() (about, []byte, error) {
	a, err := aboutProgram(c.Program)
	if err != nil {
		return about{}, nil, fmt.Errorf("reading the program: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(c.Certificates) {
		return about{}, nil, errors.New("reading the certificates: there are none")
	}
	layer, err := pack([]file{
		{name: "etc/"},
		{name: "etc/ssl/"},
		{name: "etc/ssl/certs/"},
		{name: certificatesPath, mode: 0o644, data: c.Certificates},
		{name: programPath, mode: 0o755, data: c.Program},
	})
	if err != nil {
		return about{}, nil, fmt.Errorf("packing the layer: %w", err)
	}
	return a, layer, nil
}

// Write writes the image. Its platform, its version and its date are those of the
// program. It is an error if the program would not run in there.
func Write(w io.Writer, c Contents) error {
	about, layer, err := c.layer()
	if err != nil {
		return err
	}
	config, err := json.Marshal(about.config(digest(layer)))
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	configName, layerName := digest(config)+".json", digest(layer)+".tar"
	manifest, err := json.Marshal([]manifest{{Config: configName, RepoTags: []string{tag}, Layers: []string{layerName}}})
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	archive, err := pack([]file{
		{name: layerName, mode: 0o644, data: layer},
		{name: configName, mode: 0o644, data: config},
		{name: "manifest.json", mode: 0o644, data: manifest},
	})
	if err != nil {
		return fmt.Errorf("packing the image: %w", err)
	}
	_, err = io.Copy(w, bytes.NewReader(archive))
	return err
}

// digest names what is in an image.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
