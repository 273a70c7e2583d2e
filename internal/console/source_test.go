package console_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"doublenat/routeros/routerostest/facts"
)

// parsed is a file of the program, tests left out.
type parsed struct {
	name string
	set  *token.FileSet
	file *ast.File
}

// program parses what the program consists of.
func program(t *testing.T) []parsed {
	t.Helper()
	var all []parsed
	for _, dir := range []string{"cmd", "internal", "routeros"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == "routerostest") {
				return filepath.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			all = append(all, parsed{strings.TrimPrefix(path, root+"/"), set, file})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// constant returns the value of a string literal, and whether e is one.
func constant(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// TestTexts judges what texts of the program say of commands: log lines, errors, advice,
// help.
func TestTexts(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	found := 0
	for _, p := range program(t) {
		ast.Inspect(p.file, func(n ast.Node) bool {
			if _, imports := n.(*ast.ImportSpec); imports {
				return false
			}
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := constant(e)
			if !ok || strings.HasPrefix(text, "/") && !strings.ContainsAny(text, " =") {
				return true // a path is for the API
			}
			for _, m := range within.FindAllStringSubmatch(text, -1) {
				found++
				judgeWords(t, c, excerpt{file: p.name, line: p.set.Position(n.Pos()).Line, text: m[2]})
			}
			return true
		})
	}
	if found < 5 {
		t.Errorf("only %d texts were found", found)
	}
}

// TestCommandsInTheSource looks at every command that is put together for people, and
// holds its path and the names of its arguments, as far as they are written there,
// against all releases, those of setup against the last one that has them.
func TestCommandsInTheSource(t *testing.T) {
	t.Parallel()
	found := 0
	for _, p := range program(t) {
		ast.Inspect(p.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !calls(call, "NewCommand") || len(call.Args) == 0 {
				return true
			}
			path, ok := constant(call.Args[0])
			if !ok {
				return true
			}
			var words []string
			for i := 1; i < len(call.Args); i += 2 {
				if name, ok := constant(call.Args[i]); ok && name != "numbers" {
					words = append(words, "="+name+"=")
				}
			}
			found++
			err := lastThatTakes(t, path, words)
			// The set-up has commands for some releases only, and a server is switched off where it is on.
			if !strings.HasPrefix(p.name, "internal/setup/") && path != "/ip/nat-pmp/set" {
				err = allTake(t, path, words)
			}
			if err != nil {
				t.Errorf("%s:%d: %v", p.name, p.set.Position(n.Pos()).Line, err)
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("only %d commands were found", found)
	}
}

// calls reports whether a call is one of the named function.
func calls(call *ast.CallExpr, name string) bool {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name == name
	case *ast.SelectorExpr:
		return f.Sel.Name == name
	default:
		return false
	}
}

// allTake returns why a release does not take a command.
func allTake(t *testing.T, path string, words []string) error {
	t.Helper()
	for _, release := range facts.Releases() {
		r, err := facts.Of(release)
		if err != nil {
			t.Fatal(err)
		}
		if err = r.CheckSentence(path, words); err != nil {
			return err
		}
	}
	return nil
}

// lastThatTakes returns why no release takes a command.
func lastThatTakes(t *testing.T, path string, words []string) error {
	t.Helper()
	var first error
	for i := len(facts.Releases()) - 1; i >= 0; i-- {
		r, err := facts.Of(facts.Releases()[i])
		if err != nil {
			t.Fatal(err)
		}
		if err = r.CheckSentence(path, words); err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}
