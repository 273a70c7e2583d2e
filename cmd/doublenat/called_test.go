package main

import (
	"strings"
	"testing"
)

// TestCommandToCopy: a command that is to be copied has the name by which this one was typed.
// It is not parallel, for the current directory is the process's.
func TestCommandToCopy(t *testing.T) {
	for name, want := range map[string]string{
		"":                                    "doublenat",
		"doublenat":                           "doublenat",
		"./doublenat":                         "./doublenat",
		"/opt/my tools/doublenat":             "'/opt/my tools/doublenat'",
		"/opt/it's/doublenat":                 `'/opt/it'\''s/doublenat'`,
		"/tmp/go-build123/b001/exe/doublenat": "go run doublenat/cmd/doublenat",
		"/home/u/.cache/go-build/ab/abcdef-d/doublenat":              "go run doublenat/cmd/doublenat",
		"/var/cache/4e/" + strings.Repeat("4e", 32) + "-d/doublenat": "go run doublenat/cmd/doublenat",
		"/opt/abcdef-d/doublenat":                                    "/opt/abcdef-d/doublenat",
	} {
		if got := (&process{name: name}).command(); got != want {
			t.Errorf("%q is called again by %q, want %q", name, got, want)
		}
	}
	t.Chdir("../..")
	if got := (&process{name: "/tmp/go-build123/b001/exe/doublenat"}).command(); got != "go run ./cmd/doublenat" {
		t.Errorf("at the top of the repository: %q", got)
	}
}
