package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// platform is what a program runs on, in the words of the Go tool; arm is its GOARM.
type platform struct{ os, arch, arm string }

// allPlatforms are those of a release.
func allPlatforms() []platform {
	return []platform{
		{"linux", "amd64", ""},
		{"linux", "arm64", ""},
		{"linux", "arm", "7"},
		{"linux", "arm", "5"},
		{"freebsd", "amd64", ""},
		{"darwin", "arm64", ""},
		{"windows", "amd64", ""},
	}
}

// String returns the platform as it is in the names of files: linux_armv7.
func (p platform) String() string {
	if p.arm != "" {
		return p.os + "_" + p.arch + "v" + p.arm
	}
	return p.os + "_" + p.arch
}

// program is the name of the program on the platform.
func (p platform) program() string {
	if p.os == "windows" {
		return "doublenat.exe"
	}
	return "doublenat"
}

// parsePlatforms reads a list such as linux_amd64,linux_armv5; empty for all.
func parsePlatforms(list string) ([]platform, error) {
	if list == "" {
		return allPlatforms(), nil
	}
	var some []platform
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(allPlatforms(), func(p platform) bool { return p.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("%q is none of %v", name, allPlatforms())
		}
		some = append(some, allPlatforms()[i])
	}
	return some, nil
}

// binary is where the program for a platform is.
func (r *release) binary(p platform) string { return filepath.Join(r.work, p.String(), p.program()) }

// build builds the programs by the one build line.
func (r *release) build(ctx context.Context) error {
	for _, p := range r.platforms {
		_, err := r.run(ctx, r.source, []string{"GOFLAGS=-buildvcs=true", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT="}, "make", "--no-print-directory", "binary",
			"VERSION=v"+r.version, "OS="+p.os, "ARCH="+p.arch, "ARM="+p.arm, "OUT="+r.binary(p))
		if err != nil {
			return err
		}
	}
	return nil
}

// words makes what goes beside the program everywhere: completions, and man pages and changes as
// packages have them, in the folder of the clone.
func (r *release) words(ctx context.Context) error {
	for _, dir := range []string{"completions", "man"} {
		if err := os.Mkdir(filepath.Join(r.source, dir), 0o755); err != nil { //nolint:gosec // to be published
			return err
		}
	}
	host := filepath.Join(r.work, "host")
	_, err := r.run(ctx, r.source, []string{"GOFLAGS=-buildvcs=false"}, "make", "--no-print-directory", "binary", "VERSION=v"+r.version, "OS="+runtime.GOOS, "ARCH="+runtime.GOARCH, "OUT="+host)
	if err != nil {
		return err
	}
	for shell, name := range map[string]string{"bash": "doublenat.bash", "zsh": "_doublenat", "fish": "doublenat.fish", "powershell": "doublenat.ps1"} {
		script, err := r.run(ctx, r.source, nil, host, "completion", shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.source, "completions", name), []byte(script), 0o644); err != nil { //nolint:gosec // to be published
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(r.source, "docs", "man", "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := compressFile(page, filepath.Join(r.source, "man", filepath.Base(page)+".gz")); err != nil {
			return err
		}
	}
	return compressFile(filepath.Join(r.source, "CHANGELOG.md"), filepath.Join(r.source, "changelog.gz"))
}

// compressFile writes a file compressed.
func compressFile(from, to string) error {
	data, err := os.ReadFile(from) //nolint:gosec // of the clone
	if err != nil {
		return err
	}
	if data, err = compress(data); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644) //nolint:gosec // to be published
}

// compress is gzip -9n.
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
