package main

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each package has the list of what it may import in .golangci.yml, so that a new one
// does not stand outside of the house. What the programs and the end to end tests import
// is their own matter.
func TestEveryPackageHasItsImports(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	config, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for name := range strings.Lines(string(out)) {
		name = strings.TrimPrefix(strings.TrimSpace(name), "doublenat/")
		if strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "tools/") || name == "e2e" {
			continue
		}
		packages++
		rule := `files: ["**/` + name + `/*.go", "!$test"]` + "\n          list-mode: strict\n"
		if !strings.Contains(string(config), rule) {
			t.Errorf("%s has no list of what it may import: add a rule to depguard in .golangci.yml", name)
		}
	}
	if packages < 20 {
		t.Errorf("looked at %d packages only", packages)
	}
}

// TestContributingTellsTheImports: the table in CONTRIBUTING.md is what the compiler sees.
func TestContributingTellsTheImports(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]string)
	for line := range strings.Lines(string(page)) {
		names, imports, ok := strings.Cut(line, "→")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			told[strings.TrimSpace(name)] = strings.TrimSpace(imports)
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		names := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(names[0], "doublenat/"), "internal/")
		if _, ok := told[name]; !ok {
			continue
		}
		var own []string
		for _, imported := range names[1:] {
			if of, ok := strings.CutPrefix(imported, "doublenat/"); ok {
				own = append(own, path.Base(of))
			}
		}
		slices.Sort(own)
		seen[name] = strings.Join(own, ", ")
	}
	if diff := cmp.Diff(told, seen); diff != "" {
		t.Errorf("imports (-CONTRIBUTING.md +code):\n%s", diff)
	}
}
