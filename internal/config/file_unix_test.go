//go:build unix

package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doublenat/internal/config"
)

// What is no file of a sensible size is an error that says so, at once.
func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, content []byte) string {
		t.Helper()
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(write("secret", []byte("pw\n")), path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", path("zero")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want, err string }{
		{name: path("secret"), want: "pw\n"},
		{name: path("link"), want: "pw\n"}, // as Docker and Kubernetes have their secrets
		{name: write("empty", nil)},
		{name: write("most", bytes.Repeat([]byte("x"), 1<<20)), want: strings.Repeat("x", 1<<20)},
		{name: write("large", bytes.Repeat([]byte("x"), 1<<20+1)), err: "is larger than 1024 KiB"},
		{name: path("pipe"), err: "is not a regular file but a pipe"},
		{name: "/dev/zero", err: "is not a regular file but a device"},
		{name: path("zero"), err: "is not a regular file but a device"},
		{name: dir, err: "is not a regular file but a directory"},
		{name: path("absent"), err: "no such file or directory"},
	} {
		got, err := config.ReadFile(tt.name)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %.20q, %v, want %.20q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// The error names variable, path and reason.
func TestParseNamesTheFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := minimal("MIKROTIK_API_PASSWORD_FILE", pipe, "MIKROTIK_API_CA_FILE", "/dev/zero")
	delete(environ, "MIKROTIK_API_PASSWORD")
	_, err := config.Parse(environ, config.ReadFile)
	for _, want := range []string{
		`MIKROTIK_API_PASSWORD_FILE="` + pipe + `" is not a regular file but a pipe`,
		`MIKROTIK_API_CA_FILE="/dev/zero" is not a regular file but a device`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
}
