// Command mutants makes one mistake after the other in the source, in a copy that only
// the compiler sees, and tells which test notices each. It fails if one is not noticed.
//
// The mistakes are those of the table; with packages or files as arguments, theirs only.
// With -every and a package, and names of its files if it is not for all, they are all small ones.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutant is a mistake: the first occurrence of old in the file becomes mistaken.
type mutant struct {
	file, old, mistaken string
}

// What is wrong with a mistake that cannot be made any more.
var (
	errStale = errors.New("the file has no such text any more")
	errBuild = errors.New("it does not compile any more")
)

func main() {
	do := run
	if len(os.Args) > 2 && os.Args[1] == "-every" {
		do = func(ctx context.Context, args []string, out io.Writer) error {
			return every(ctx, args[1], args[2:], out)
		}
	}
	if err := do(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

func run(ctx context.Context, places []string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lived, tried := 0, 0
	for _, m := range mutants() {
		if len(places) > 0 && !slices.Contains(places, filepath.Dir(m.file)) && !slices.Contains(places, m.file) {
			continue
		}
		tried++
		killer, err := m.try(ctx, dir)
		switch {
		case errors.Is(err, errStale), errors.Is(err, errBuild):
			lived++
			killer = "MEND THE TABLE: " + err.Error()
		case err != nil:
			return fmt.Errorf("%s: %q: %w", m.file, m.old, err)
		case killer == "":
			lived++
			killer = "LIVED"
		}
		fmt.Fprintf(out, "| `%s` | `%s` → `%s` | %s |\n", m.file, oneLine(m.old), oneLine(m.mistaken), killer)
	}
	if lived > 0 {
		return fmt.Errorf("%d of %d mistakes were not noticed", lived, tried)
	}
	fmt.Fprintf(out, "all %d mistakes were noticed\n", tried)
	return nil
}

// failed matches the first test that failed in what go test prints.
var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: ([A-Za-z0-9_]+)`)

// try tests the package with the mistake in it and returns who noticed it, "" for nobody.
func (m mutant) try(ctx context.Context, dir string) (killer string, err error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(source), m.old) {
		return "", errStale
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	copied, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: copied}})
	if err != nil {
		return "", err
	}
	mistaken := strings.Replace(string(source), m.old, m.mistaken, 1)
	if err := errors.Join(os.WriteFile(copied, []byte(mistaken), 0o600), os.WriteFile(overlay, text, 0o600)); err != nil { //nolint:gosec // both are in a folder of our own
		return "", err
	}
	args := append([]string{"test", "-count=1", "-failfast", "-timeout=60s", "-overlay=" + overlay}, m.judges()...)
	test := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the names are those of the table
	said, err := test.CombinedOutput()
	switch match := failed.FindSubmatch(said); {
	case err == nil:
		return "", nil
	case strings.Contains(string(said), "[build failed]"):
		return "", errBuild
	case match != nil:
		return "`" + string(match[1]) + "`", nil
	case strings.Contains(string(said), "test timed out"), strings.Contains(string(said), "panic:"):
		return "a hang or a panic", nil
	default:
		return "", fmt.Errorf("%w\n%s", err, said)
	}
}

// judges returns the packages whose tests may notice: that of the file and, for what
// protocols share, the first of those, with whose packets it is tested.
func (m mutant) judges() []string {
	dir := filepath.Dir(m.file)
	switch dir {
	case "internal/datagram", "internal/exchange", "internal/epoch":
		return []string{"./" + dir, "./natpmp"}
	}
	return []string{"./" + dir}
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
