package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		"README.md":         table(t),
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

// first are the settings that README shows: they keep their names and their meaning
// whatever else changes. All others are in docs/operation.md.
var first = []string{
	"VPN_GATEWAY", "MIKROTIK_API_ADDRESS", "MIKROTIK_API_PASSWORD", "LISTEN_ADDR",
	"MIKROTIK_API_USER", "MIKROTIK_API_TLS", "MIKROTIK_IN_INTERFACE", "LOG_LEVEL",
}

// table is the short form: one row for each of the first variables, with what it
// does in one sentence and a link to the rest.
func table(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| variable | default | example | |\n|---|---|---|---|\n")
	all := config.Reference()
	for _, name := range first {
		i := slices.IndexFunc(all, func(v config.Variable) bool { return v.Name == name })
		if i < 0 {
			t.Fatalf("the setting %s is gone", name)
		}
		v := all[i]
		help, _, _ := strings.Cut(v.Help, ". ")
		fmt.Fprintf(&b, "| [`%s`](docs/operation.md#%s) | %s | `%s` | %s. |\n",
			v.Name, strings.ToLower(v.Name), standard(v), v.Example, strings.TrimSuffix(help, "."))
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

// TestSettingsAreDescribedOnce: no page has a list or a table of settings of its own, whose words
// would drift from those of the tags, but the page that a setting's own words lead to.
func TestSettingsAreDescribedOnce(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile("^(?:[-*] |\\| *)\\[?`?([A-Z][A-Z_]+)`?(?:\\]\\([^)]*\\))?(?:$|:| *\\| *[^| ])")
	help := make(map[string]string)
	for _, v := range config.Reference() {
		help[v.Name] = v.Help
	}
	if found := entry.FindStringSubmatch("- `VPN_GATEWAY`: a box"); found == nil || help[found[1]] == "" {
		t.Fatal("nothing would be found")
	}
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(page)
		if name == "CHANGELOG.md" {
			continue // it tells what is new about them
		}
		before, rest, _ := strings.Cut(string(text), begin)
		_, after, _ := strings.Cut(rest, end)
		lines := strings.Split(before+after, "\n")
		for i, line := range lines {
			heads := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---")
			found := entry.FindStringSubmatch(line)
			if found == nil || heads || help[found[1]] == "" || strings.Contains(help[found[1]], "docs/"+name) {
				continue
			}
			t.Errorf("%s describes %s by itself: %s", name, found[1], line)
		}
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
