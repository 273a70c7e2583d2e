package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun: what is wrong is said, with an exit code, and leaves no file. Images that
// are right are tested in internal/image.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, script := filepath.Join(dir, "out.tar"), filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, 2, "Usage of image"},
		{"too much", []string{"-program", script, "-out", out, "more"}, 2, "Usage of image"},
		{"unknown", []string{"-tag", "x"}, 2, "not defined: -tag"},
		{"no program", []string{"-program", filepath.Join(dir, "none"), "-out", out}, 1, "none: no such file"},
		{"no certificates", []string{"-program", script, "-certificates", filepath.Join(dir, "none"), "-out", out}, 1, "by CERTIFICATES="},
		{"no image", []string{"-program", script, "-certificates", script, "-out", out}, 1, "reading the program: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(test.args, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stderr.String(), test.says) || stdout.Len() > 0 {
				t.Errorf("it says %q and %q, want %q", stdout.String(), stderr.String(), test.says)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("there is a file")
			}
		})
	}
}

// TestImageIsForOthers: who copies the image to the router need not be who built it.
func TestImageIsForOthers(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out.tar")
	if err := os.WriteFile(out, []byte("an older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := save(out, []byte("image")); err != nil {
		t.Fatal(err)
	}
	file, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if mode := file.Mode().Perm(); mode != 0o644 || file.Size() != 5 {
		t.Errorf("the image has mode %o and %d bytes", mode, file.Size())
	}
}
