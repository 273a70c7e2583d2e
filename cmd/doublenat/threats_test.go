package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModel holds SECURITY.md to the tests that it names: every row of the
// threat model names some, and all of them exist.
func TestThreatModel(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := declaredTests(root)
	if err != nil {
		t.Fatal(err)
	}
	_, model, found := strings.Cut(string(page), "## Threat model")
	if !found {
		t.Fatal("SECURITY.md has no threat model")
	}
	model, _, _ = strings.Cut(model, "\n## ")
	name := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	rows := make(map[string]bool)
	for line := range strings.Lines(model) {
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if rows[cells[0]] {
			t.Errorf("two rows for %s", cells[0])
		}
		rows[cells[0]] = true
		named := name.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(cells) != 4 || len(named) == 0 {
			t.Errorf("no tests for %s", cells[0])
		}
		for _, match := range named {
			if !tests[match[1]] {
				t.Errorf("there is no %s, which is to hold %s", match[1], cells[0])
			}
		}
	}
	for _, who := range []string{"LAN host", "LAN host that forges", "Internet host", "Hostile gateway", "Hostile router", "Person with the status page"} {
		if !strings.Contains(model, "| **"+who) {
			t.Errorf("the model lacks: %s", who)
		}
	}
	if len(rows) < 6 {
		t.Errorf("%d rows", len(rows))
	}
}

// declaredTests returns the names of all tests and fuzz targets below a directory.
func declaredTests(root string) (map[string]bool, error) {
	tests := make(map[string]bool)
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range declaration.FindAllStringSubmatch(string(source), -1) {
			tests[match[1]] = true
		}
		return err
	})
	return tests, err
}
