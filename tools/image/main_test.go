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

// TestReadFirst takes the first file that is there.
func TestReadFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readFirst([]string{filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "third")})
	if err != nil || string(got) != "second" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readFirst([]string{dir, filepath.Join(dir, "second")}); err == nil {
		t.Error("a directory is passed over")
	}
}
