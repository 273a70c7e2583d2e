package nat_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestShape keeps the core small enough to be read: no function over 40 lines, no struct over
// 15 fields, and no flag where a state is meant. What others configure, see or hand over has
// the fields that it has.
func TestShape(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := set.Position(n.End()).Line - set.Position(n.Pos()).Line - 1; lines > 40 {
					t.Errorf("%v: %s has %d lines", set.Position(n.Pos()), n.Name, lines)
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok && n.Name.Name != "Config" {
					checkStruct(t, set.Position(n.Pos()), n.Name, s)
				}
			}
			return true
		})
	}
}

func checkStruct(t *testing.T, at token.Position, name *ast.Ident, s *ast.StructType) {
	t.Helper()
	fields, flags := 0, 0
	for _, f := range s.Fields.List {
		n := max(len(f.Names), 1)
		fields += n
		if id, ok := f.Type.(*ast.Ident); ok && id.Name == "bool" {
			flags += n
		}
	}
	if fields > 15 && name.Name != "Mapping" {
		t.Errorf("%v: %s has %d fields", at, name, fields)
	}
	if flags > 0 && !name.IsExported() && name.Name != "ports" { // whose flag is a setting
		t.Errorf("%v: %s has %d flags", at, name, flags)
	}
}
