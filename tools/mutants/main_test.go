package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each mistake is one, in a file that still has the text, and made once. There are
// fifty at least.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := make(map[mutant]bool)
	for _, m := range mutants() {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(source), m.old) {
			t.Errorf("%s has no %q any more: mend the table", m.file, m.old)
		}
		if m.old == m.mistaken || seen[m] {
			t.Errorf("%+v is no mistake of its own", m)
		}
		seen[m] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d mistakes, want 50 at least", len(seen))
	}
}

// A mistake is made in a copy, and the test that notices it is named.
func TestTry(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	m := mutant{"internal/profiling/profiling.go", "\nconst ", "\nfunc init() { panic(1) }\n\nconst "}
	before, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	killer, err := m.try(t.Context(), t.TempDir())
	if killer != "a hang or a panic" || err != nil {
		t.Errorf("killed by %q, %v", killer, err)
	}
	if after, err := os.ReadFile(m.file); err != nil || string(after) != string(before) {
		t.Error("the file was changed")
	}
	if err := run(t.Context(), []string{"no/such/package"}, &out); err != nil || out.String() != "all 0 mistakes were noticed\n" {
		t.Errorf("without mistakes: %q, %v", out.String(), err)
	}
	for old, want := range map[string]error{"no such text": errStale, "\nconst ": errBuild} {
		m.old, m.mistaken = old, "\nvar _ int = true\n\nconst "
		if _, err := m.try(t.Context(), t.TempDir()); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", old, err, want)
		}
	}
}

// Every small mistake in a package is made by its switch, and those that lived are told.
func TestEvery(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	const sample = "tools/mutants/testdata/sample"
	var out strings.Builder
	if err := every(t.Context(), sample, nil, &out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"LIVED " + sample + "/sample.go:9:7 CONDITIONALS_BOUNDARY: < → <=",
		"LIVED " + sample + "/sample.go:9:16 CONDITIONALS_BOUNDARY: > → >=",
		"LIVED " + sample + "/sample.go:13:16 ARITHMETIC_BASE: / → *",
		sample + ": 13 mistakes in code that its tests run: 10 noticed, 3 lived, 0 hung; 76.9 % noticed; 4 in other code",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	if err := every(t.Context(), sample, []string{"other.go"}, &out); err != nil || !strings.HasPrefix(out.String(), sample+": 0 mistakes") {
		t.Errorf("of another file: %v, %s", err, out.String())
	}
	if err := every(t.Context(), "no/such/package", nil, &out); err == nil {
		t.Error("no error for a package that is not there")
	}
}
