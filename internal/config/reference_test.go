package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
)

var update = flag.Bool("update", false, "write the tables of variables into the documents")

// The marks between which a document holds what is made from the reference.
const (
	begin = "<!-- variables: made by `go test ./internal/config -update` -->\n"
	end   = "<!-- variables end -->\n"
)

func TestDocumentsHoldTheReference(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"README.md":         table(),
		"docs/operation.md": sections(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("..", "..", filepath.FromSlash(name))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before, rest, hasBegin := strings.Cut(string(text), begin)
			got, after, hasEnd := strings.Cut(rest, end)
			if !hasBegin || !hasEnd {
				t.Fatalf("%s lacks the marks %q and %q", name, begin, end)
			}
			if *update {
				if err := os.WriteFile(path, []byte(before+begin+content+end+after), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(content, got); diff != "" {
				t.Errorf("%s is not what the tags say; run `go test ./internal/config -update`:\n%s", name, diff)
			}
		})
	}
}

// table is the short form: one row for each variable.
func table() string {
	var b strings.Builder
	b.WriteString("| variable | default | what it is for |\n|---|---|---|\n")
	for _, v := range config.Reference() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, standard(v), v.Help)
	}
	return b.String()
}

// sections is the long form: everything that is known about each variable.
func sections() string {
	var b strings.Builder
	for _, v := range config.Reference() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", v.Name, v.Help)
		fmt.Fprintf(&b, "- Default: %s\n- Allowed: %s\n- Example: `%s=%s`\n", standard(v), v.Allowed, v.Name, v.Example)
	}
	b.WriteString("\n")
	return b.String()
}

// standard says what happens without the variable.
func standard(v config.Variable) string {
	switch {
	case v.Required:
		return "required"
	case v.Default == "":
		return "none"
	default:
		// Room to break the line in a narrow column.
		return "`" + strings.ReplaceAll(v.Default, ",", "`, `") + "`"
	}
}

func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, v := range config.Reference() {
		if v.Name == "" || v.Allowed == "" || v.Example == "" || !strings.HasSuffix(v.Help, ".") && !strings.HasSuffix(v.Help, ").") {
			t.Errorf("a tag is missing: %+v", v)
		}
		if seen[v.Name] {
			t.Errorf("%s is there twice", v.Name)
		}
		seen[v.Name] = true
	}
}

// TestReferenceIsAccepted reads every example and every default as an operator
// would type it.
func TestReferenceIsAccepted(t *testing.T) {
	t.Parallel()
	authority := authority(t)
	read := func(name string) ([]byte, error) {
		if strings.HasSuffix(name, ".pem") {
			return authority, nil
		}
		return []byte("from a file\n"), nil
	}
	for _, v := range config.Reference() {
		for _, text := range []string{v.Example, v.Default} {
			environ := minimal(v.Name, text)
			if v.Name == "MIKROTIK_API_PASSWORD_FILE" {
				delete(environ, "MIKROTIK_API_PASSWORD")
			}
			_, err := config.Parse(environ, read)
			if missing := text == "" && (v.Required || v.Name == "MIKROTIK_API_PASSWORD_FILE"); (err != nil) != missing {
				t.Errorf("%s=%q: %v", v.Name, text, err)
			}
		}
	}
}
