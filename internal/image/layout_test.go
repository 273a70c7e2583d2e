package image_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"doublenat/internal/image"
)

// TestLayout follows a layout from its index to the layer, as an engine does. Images of several
// platforms are read by skopeo in `make packages-test`.
func TestLayout(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it compresses 12 MB several times; make packages-test reads layouts too")
	}
	program, certificates := buildDoublenat(t), authority(t)
	var archive, again bytes.Buffer
	for _, b := range []*bytes.Buffer{&archive, &again} {
		if err := image.WriteLayout(b, [][]byte{program}, certificates); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("two layouts of the same program differ")
	}
	files := unpack(t, archive.Bytes())
	type pointer struct {
		Digest   string
		Size     int
		Platform struct{ Architecture, OS string }
	}
	blob := func(p pointer) []byte {
		t.Helper()
		data := files["blobs/sha256/"+strings.TrimPrefix(p.Digest, "sha256:")].data
		if "sha256:"+digest(data) != p.Digest || len(data) != p.Size {
			t.Errorf("%+v points at %d bytes of %s", p, len(data), digest(data))
		}
		return data
	}
	var index struct{ Manifests []pointer }
	parse(t, files["index.json"].data, &index)
	var all struct{ Manifests []pointer }
	parse(t, blob(index.Manifests[0]), &all)
	if len(all.Manifests) != 1 || all.Manifests[0].Platform.Architecture != runtime.GOARCH || all.Manifests[0].Platform.OS != "linux" {
		t.Fatalf("images %+v", all.Manifests)
	}
	var manifest struct {
		Config pointer
		Layers []pointer
	}
	parse(t, blob(all.Manifests[0]), &manifest)
	z, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(blob(manifest.Config), []byte(`"diff_ids":["sha256:`+digest(layer)+`"]`)) {
		t.Error("the configuration is of another layer")
	}
	if got := unpack(t, layer)["doublenat"].data; !bytes.Equal(got, program) {
		t.Error("the layer has another program")
	}
	for want, err := range map[string]error{
		"no program":       image.WriteLayout(io.Discard, nil, certificates),
		"two programs are": image.WriteLayout(io.Discard, [][]byte{program, program}, certificates),
		"there are none":   image.WriteLayout(io.Discard, [][]byte{program}, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	full := errors.New("disk full")
	if err := image.WriteLayout(failing{full}, [][]byte{program}, certificates); !errors.Is(err, full) {
		t.Errorf("%v, want %v", err, full)
	}
}
