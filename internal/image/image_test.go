package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/image"
)

// TestImage looks at an image of doublenat as an engine does.
func TestImage(t *testing.T) {
	t.Parallel()
	contents := image.Contents{Program: buildDoublenat(t), Certificates: authority(t)}
	archive := write(t, contents)
	if again := write(t, contents); !bytes.Equal(archive, again) {
		t.Error("two images of the same program differ")
	}
	files := unpack(t, archive)
	var manifests []struct {
		Config           string
		RepoTags, Layers []string
	}
	parse(t, files["manifest.json"].data, &manifests)
	if len(manifests) != 1 || len(manifests[0].Layers) != 1 || len(files) != 3 {
		t.Fatalf("want one image with one layer: %+v", manifests)
	}
	manifest := manifests[0]
	if diff := cmp.Diff([]string{"doublenat:latest"}, manifest.RepoTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	var config map[string]any
	parse(t, files[manifest.Config].data, &config)
	layer := files[manifest.Layers[0]].data
	for name, data := range map[string][]byte{manifest.Config: files[manifest.Config].data, manifest.Layers[0]: layer} {
		if stem := strings.TrimSuffix(name, filepath.Ext(name)); stem != digest(data) {
			t.Errorf("%s has the digest %s", name, digest(data))
		}
	}
	want := map[string]any{
		"created": "1970-01-01T00:00:00Z", "architecture": runtime.GOARCH, "os": "linux",
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []any{"sha256:" + digest(layer)}},
		"history": []any{map[string]any{"created": "1970-01-01T00:00:00Z", "created_by": "make image"}},
		"config": map[string]any{
			"User": "65534:65534", "Entrypoint": []any{"/doublenat"}, "WorkingDir": "/",
			"ExposedPorts": map[string]any{"5351/udp": map[string]any{}},
			"Labels": map[string]any{
				"org.opencontainers.image.title":       "doublenat",
				"org.opencontainers.image.description": "NAT-PMP for a LAN behind a MikroTik router and a VPN with port forwarding",
				"org.opencontainers.image.licenses":    "MIT",
				"org.opencontainers.image.version":     "(devel)",
			},
		},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	got := unpack(t, layer)
	wantLayer := map[string]string{
		"etc/": "0755", "etc/ssl/": "0755", "etc/ssl/certs/": "0755",
		"etc/ssl/certs/ca-certificates.crt": "0644 " + digest(contents.Certificates),
		"doublenat":                         "0755 " + digest(contents.Program),
	}
	gotLayer := make(map[string]string)
	for name, e := range got {
		gotLayer[name] = fmt.Sprintf("%#o", e.mode)
		if e.data != nil {
			gotLayer[name] += " " + digest(e.data)
		}
	}
	if diff := cmp.Diff(wantLayer, gotLayer); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
	runAlone(t, got)
}

// TestRefusals: what would not run is not packed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	another, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := buildDoublenat(t)
	for _, test := range []struct {
		name     string
		contents image.Contents
		want     string
	}{
		{"nothing", image.Contents{}, "reading the program: "},
		{"no program", image.Contents{Program: []byte("#!/bin/sh\n"), Certificates: authority(t)}, "reading the program: "},
		{"another program", image.Contents{Program: another, Certificates: authority(t)}, "and not doublenat"},
		{"no certificates", image.Contents{Program: program}, "reading the certificates: there are none"},
		{"other certificates", image.Contents{Program: program, Certificates: []byte("none")}, "reading the certificates: there are none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := image.Write(&b, test.contents); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes were written", b.Len())
			}
		})
	}
	full := errors.New("disk full")
	if err := image.Write(failing{full}, image.Contents{Program: program, Certificates: authority(t)}); !errors.Is(err, full) {
		t.Errorf("%v, want %v", err, full)
	}
}

// failing is a writer that cannot.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// built is doublenat for this machine's processor, as `make binary` builds it, once for all tests.
var built = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "doublenat")
	cmd := exec.Command("make", "-C", "../..", "binary", "OS=linux", "OUT="+path)
	cmd.Env = append(cmd.Environ(), "GOFLAGS=", "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// buildDoublenat returns doublenat for this machine's processor.
func buildDoublenat(t *testing.T) []byte {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// authority makes an authority and returns its certificate in PEM.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// write returns an image.
func write(t *testing.T, c image.Contents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := image.Write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entry is what an archive has under a name.
type entry struct {
	mode int64
	data []byte
}

// unpack reads an archive, in which everything has to be root's and as old as Unix.
func unpack(t *testing.T, archive []byte) map[string]entry {
	t.Helper()
	entries := make(map[string]entry)
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := entries[header.Name]; twice || header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("the archive has %+v", header)
		}
		e := entry{mode: header.Mode}
		if header.Typeflag == tar.TypeReg {
			e.data = data
		}
		entries[header.Name] = e
	}
}

// parse reads JSON.
func parse(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %q", err, data)
	}
}

// digest is SHA-256 as images write it.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
