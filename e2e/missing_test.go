//go:build e2e && linux

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMakeSaysWhatIsMissing runs `make e2e` on a machine that has Go and nothing
// else. It has to pass there, and to say why it ran no flow.
func TestMakeSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names a router")
	}
	bin := t.TempDir()
	for _, program := range []string{"make", "bash", "sh", "go", "gcc", "as", "ld", "id"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue // only the race detector needs a compiler
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "..", "e2e")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"PATH", "CI", "FLOW", "GOFLAGS", "MAKEFLAGS", sandboxVariable}, name)
	}),
		"PATH="+bin,
		// One test is enough, and this one must not be it.
		"GOFLAGS="+os.Getenv("GOFLAGS")+" -run=^TestDocumentNamesEveryFlow$")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, want := range []string{"skipping the flows", "natpmpc (Debian package natpmpc)", "`make e2e-deps`", "ok  \tdoublenat/e2e"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("`make e2e` does not say %q, but:\n%s", want, said)
		}
	}
}
