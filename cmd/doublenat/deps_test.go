package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Template engines stay out of the binary: html/template would cost 2.4 MB. cobra
// imports text/template for those who change its help, and nobody else may.
func TestNoTemplateEngine(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for _, engine := range []string{"html/template", "text/template"} {
			if slices.Contains(strings.Fields(imports), engine) {
				users = append(users, name+" imports "+engine)
			}
		}
	}
	if want := "github.com/spf13/cobra imports text/template"; len(users) != 1 || users[0] != want {
		t.Errorf("got %q, want only that %s", users, want)
	}
}
