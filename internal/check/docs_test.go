package check_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryKindIsExplained keeps the table in docs/troubleshooting.md whole: it has
// the kinds that the sources have, and no others.
func TestEveryKindIsExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| kind |")
	var explained []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		explained = append(explained, row[1])
	}
	slices.Sort(explained)
	if diff := cmp.Diff(kinds(t, ".", "../remedy"), explained); diff != "" {
		t.Errorf("kinds (-sources +docs/troubleshooting.md):\n%s", diff)
	}
}

// kinds returns the values of all constants of type Kind in the sources of the
// directories: nobody has to remember to list one.
func kinds(t *testing.T, dirs ...string) []string {
	t.Helper()
	found := make(map[string]bool)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok && isKind(spec.Type) {
					for _, value := range spec.Values {
						literal, ok := value.(*ast.BasicLit)
						if !ok {
							t.Fatalf("%s: a kind is no literal", name)
						}
						kind, err := strconv.Unquote(literal.Value)
						if err != nil {
							t.Error(err)
						}
						found[kind] = true
					}
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// isKind reports whether an expression is the type remedy.Kind, in its package or in
// another one.
func isKind(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name == "Kind"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Kind"
	default:
		return false
	}
}
