package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string
	mode fs.FileMode
	data []byte
}

// archives packs, for each platform, the program and all that goes with it.
func (r *release) archives(context.Context) error {
	for _, p := range r.platforms {
		entries, err := r.entries(p)
		if err != nil {
			return err
		}
		pack, suffix := packTar, ".tar.gz"
		if p.os == "windows" {
			pack, suffix = packZip, ".zip"
		}
		data, err := pack(entries, r.date)
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.file(p.String()+suffix), data, 0o644); err != nil { //nolint:gosec // to be published
			return err
		}
	}
	return nil
}

// entries are the files of a platform's archive.
func (r *release) entries(p platform) ([]entry, error) {
	program, err := os.ReadFile(r.binary(p))
	if err != nil {
		return nil, err
	}
	folder := "doublenat_" + r.version + "_" + p.String()
	entries := []entry{{path.Join(folder, p.program()), 0o755, program}}
	patterns := []string{"LICENSE", "README.md", "CHANGELOG.md", "docs/man/*.1", "completions/*", "deploy/compose/*", "deploy/kubernetes/*"}
	if p.os == "linux" {
		patterns = append(patterns, "contrib/systemd/*", "contrib/openrc/*", "contrib/prometheus/*", "contrib/grafana/*")
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(r.source, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, err := os.ReadFile(name) //nolint:gosec // of the clone
			if err != nil {
				return nil, err
			}
			inside := strings.TrimPrefix(filepath.ToSlash(strings.TrimPrefix(name, r.source)), "/")
			entries = append(entries, entry{path.Join(folder, strings.TrimPrefix(inside, "docs/")), 0o644, data})
		}
	}
	return entries, nil
}

// packTar packs a compressed tar archive in which everything is root's and as old as the commit.
func packTar(entries []entry, date time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: int64(e.mode), Size: int64(len(e.data)), ModTime: date, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compress(b.Bytes())
}

// packZip is packTar for Windows.
func packZip(entries []entry, date time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: date}
		header.SetMode(e.mode)
		into, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := into.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
