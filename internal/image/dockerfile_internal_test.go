package image

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// TestDockerfile reads the recipe, because not everybody who changes it has docker:
// it builds by the one build line, and makes the same image as this package.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	build, final := stages(t)
	if !strings.Contains(build[0], " golang:") || strings.Contains(build[0], "slim") || !strings.HasSuffix(build[0], " AS build") {
		t.Errorf("%q has no Go, or no authorities", build[0])
	}
	const binary = `RUN make binary OS="$TARGETOS" ARCH="$TARGETARCH" ARM="${TARGETVARIANT#v}" OUT=/` + programPath
	if last := build[len(build)-1]; last != binary {
		t.Errorf("it builds with %q, want %q", last, binary)
	}
	want := []string{
		"FROM scratch",
		"COPY --from=build /" + programPath + " /" + programPath,
		"COPY --from=build /" + certificatesPath + " /" + certificatesPath,
		"USER " + user,
		"EXPOSE " + port,
		`ENTRYPOINT ["/` + programPath + `"]`,
	}
	if diff := cmp.Diff(want, final); diff != "" {
		t.Errorf("the image (-want +got):\n%s", diff)
	}
	ignored := ignoreList(t)
	for _, step := range build {
		words := strings.Fields(step)
		if words[0] != "COPY" {
			continue
		}
		for _, source := range words[1 : len(words)-1] {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("%q: %v", step, err)
			}
			if ignored(source) {
				t.Errorf("%q: .dockerignore keeps %s out", step, source)
			}
		}
	}
}

// TestNothingTrackedIsIgnored: the Go tool calls a tree modified that lacks a file.
func TestNothingTrackedIsIgnored(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("no repository here: %v", err)
	}
	ignored := ignoreList(t)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if ignored(name) {
			t.Errorf(".dockerignore keeps %s out", name)
		}
	}
	for name, want := range map[string]bool{
		"dist/doublenat-linux-arm64": true, "doublenat": true, "x.test": true,
		"cmd/doublenat/main.go": false, ".git/HEAD": false, ".": false,
	} {
		if got := ignored(name); got != want {
			t.Errorf("%s is ignored: %t", name, got)
		}
	}
}

// stages returns the steps of both stages of the Dockerfile, without comments.
func stages(t *testing.T) (build, final []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "FROM ") {
			all = append(all, nil)
		}
		if all == nil {
			t.Fatalf("%q comes before FROM", line)
		}
		all[len(all)-1] = append(all[len(all)-1], line)
	}
	if len(all) != 2 {
		t.Fatalf("%d stages, want 2", len(all))
	}
	return all[0], all[1]
}

// ignoreList returns whether .dockerignore keeps a file out. Its patterns begin at the
// root and match directories with all that is below. Those with ** or ! are not known here.
func ignoreList(t *testing.T) func(name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := path.Match(line, ""); err != nil || strings.Contains(line, "**") || strings.HasPrefix(line, "!") {
			t.Fatalf("this test cannot read %q", line)
		}
		patterns = append(patterns, strings.Trim(line, "/"))
	}
	return func(name string) bool {
		for ; name != "." && name != "/"; name = path.Dir(name) {
			for _, pattern := range patterns {
				if ok, err := path.Match(pattern, name); ok && err == nil {
					return true
				}
			}
		}
		return false
	}
}
