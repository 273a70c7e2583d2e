package daemon_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// requirements are the ids of docs/rfc6886.md, in its order. What is written here
// cannot be forgotten there.
const requirements = `
B-3-1 B-3-2 B-3-3 B-3-4 B-3-5 B-3.2.1-1 B-3.5-1 B-5-1 S-1.1-1 S-1.1-2 S-1.1-3 S-3-1
S-3.5-1 S-3.5-2 S-3.5-3 S-3.5-4 S-3.5-5 S-3.5-6 S-3.5-7 S-3.5-8 S-3.5-9 S-3.5-10 S-x-1
S-x-2 S-3.2-1 S-3.2-2 S-3.2-3 S-3.6-1 S-3.6-2 S-3.2-4 S-3.2.1-1 S-3.2.1-2 S-3.2.1-3
S-3.2.1-4 S-3.2.1-5 S-3.2.1-6 S-3.2.1-7 S-3.3-1 S-3.3-2 S-3.3-3 S-3.3-4 S-3.3-5 S-3.3-6
S-3.3-7 S-3.3-8 S-3.3-9 S-3.3-10 S-3.3-11 S-3.3-12 S-3.3-13 S-3.3-14 S-3.3-15 S-3.3-16
S-3.3-17 S-3.3-18 S-3.3-19 S-3.3-20 S-3.4-1 S-3.4-2 S-3.4-3 S-3.4-4 S-3.4-5 S-3.4-6
S-3.4-7 S-3.4-8 S-3.4-9 S-3.4-10 S-3.4-11 S-3.4-12 S-3.7-1 S-3.7-2 S-3.7-3 S-3.8-1 S-3.8-2
S-3.9-1 S-4.1-1 S-4.3.2-1 S-4.3.3-1 S-4.3.4-1 S-5-1 S-5-2 S-3.1-1 C-1.1-1 C-1.1-2 C-1.1-3
C-1.1-4 C-3-1 C-3-2 C-3.1-1 C-3.1-2 C-3.1-3 C-3.1-4 C-3.1-5 C-3.1-6 C-3.1-7 C-3.1-8
C-3.1-9 C-3.2-1 C-3.2-2 C-3.2.1-1 C-3.2.1-2 C-3.2.1-3 C-3.3-1 C-3.3-2 C-3.3-3 C-3.3-4
C-3.3-5 C-3.4-1 C-3.4-2 C-3.4-3 C-3.5-1 C-3.5-2 C-3.6-1 C-3.7-1 C-3.7-2 C-3.7-3 C-3.8-1
C-4.2-1 D1 D2 D3 D4 D5 D6 D7 D8 D9 D10 D11 D12 D13
`

// row is one line of a table of docs/rfc6886.md.
type row struct{ id, section, level, does, test string }

var (
	rowPattern  = regexp.MustCompile(`^\| ([BSCPX]-[^ |]+|D[0-9]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	namePattern = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)((?:/[^`]+)?)`")
)

// pcpRequirements are those of docs/rfc6887.md, and proxyRequirements of docs/rfc7648.md.
const (
	pcpRequirements = `
P-7-1 P-7-2 P-7-3 P-7-4 P-8-1 P-8-2 P-9-1 P-11-1 P-11-2 P-11-3 P-11-4 P-11-5 P-11-6 P-13-1 P-13-2 P-13-3 P-14-1 P-14-2 P-15-1 P-15-2 P-12-1
`
	proxyRequirements = `X-1 X-2 X-3 X-4 X-5 X-6 X-7 X-8 X-9 X-10 X-11 X-12 X-13`
)

// TestRFCDocuments: every requirement has a test that exists, or a reason.
func TestRFCDocuments(t *testing.T) {
	t.Parallel()
	known, err := tests("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, ids := range map[string]string{"rfc6886": requirements, "rfc6887": pcpRequirements, "rfc7648": proxyRequirements} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkDocument(t, filepath.Join("..", "..", "docs", name+".md"), strings.Fields(ids), known)
		})
	}
}

// checkDocument checks the rows of a page, and each test that it names.
func checkDocument(t *testing.T, path string, want []string, known testNames) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range readRows(string(page)) {
		ids = append(ids, r.id)
		if err := r.check(known); err != nil {
			t.Errorf("%s: %v", r.id, err)
		}
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("ids of the page (-want +got):\n%s", diff)
	}
	for _, name := range namePattern.FindAllStringSubmatch(string(page), -1) {
		if err := known.has(name); err != nil {
			t.Error(err)
		}
	}
}

func readRows(page string) []row {
	var rows []row
	for line := range strings.Lines(page) {
		if m := rowPattern.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			rows = append(rows, row{m[1], m[2], m[3], m[4], m[5]})
		}
	}
	return rows
}

// check says what is wrong with a row.
func (r row) check(known testNames) error {
	names := namePattern.FindAllStringSubmatch(r.test, -1)
	rest := strings.Trim(namePattern.ReplaceAllString(r.test, ""), ", ")
	reason := strings.HasPrefix(r.does, "Does not apply: ") || strings.HasPrefix(r.does, "Not done")
	switch {
	case len(r.does) < 10:
		return errors.New("says nothing")
	case len(names) > 0 && rest != "":
		return fmt.Errorf("%q is no name of a test", rest)
	case len(names) == 0 && rest != "–":
		return fmt.Errorf("%q is neither a test nor a dash", rest)
	case len(names) == 0 && !reason:
		return errors.New("has neither a test nor a reason")
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, known.has(name))
	}
	return errors.Join(errs...)
}

// testNames has the tests of each package, "natpmp.TestEpoch", with the string
// literals of each, among which its subtests have their names.
type testNames map[string]map[string]bool

// has says what is wrong with a match of namePattern.
func (n testNames) has(name []string) error {
	pkg, test, subtests := name[1], name[2], strings.TrimPrefix(name[3], "/")
	literals, ok := n[pkg+"."+test]
	if !ok {
		return fmt.Errorf("there is no test %s.%s", pkg, test)
	}
	if subtests == "" {
		return nil
	}
	for part := range strings.SplitSeq(subtests, "/") {
		if !literals[part] {
			return fmt.Errorf("%s.%s has no subtest %q", pkg, test, part)
		}
	}
	return nil
}

// tests reads the test files of the tree, also those that this build leaves out.
func tests(root string) (testNames, error) {
	// A directory has two packages, of which each has its own names.
	type key struct{ dir, pkg string }
	packages := make(map[key]declarations)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		k := key{filepath.Dir(path), file.Name.Name}
		if packages[k] == nil {
			packages[k] = make(declarations)
		}
		packages[k].add(file)
		return nil
	})
	names := make(testNames)
	for k, d := range packages {
		maps.Copy(names, d.tests(filepath.Base(k.dir)))
	}
	return names, err
}

// declarations are the functions, variables, constants and types of a package's test
// files by their names. A name has several where systems differ.
type declarations map[string][]ast.Node

// add adds those of a file.
func (d declarations) add(file *ast.File) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				d[decl.Name.Name] = append(d[decl.Name.Name], decl)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for i, name := range spec.Names {
						if len(spec.Values) == len(spec.Names) {
							d[name.Name] = append(d[name.Name], spec.Values[i])
						} else {
							d[name.Name] = append(d[name.Name], spec)
						}
					}
				case *ast.TypeSpec:
					d[spec.Name.Name] = append(d[spec.Name.Name], spec)
				}
			}
		}
	}
}

// tests returns the tests with their literals: those of the function itself, and of
// all declarations that it names, and that these name.
func (d declarations) tests(pkg string) testNames {
	names := make(testNames)
	for name := range d {
		if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") {
			names[pkg+"."+name] = make(map[string]bool)
			d.literals(name, names[pkg+"."+name], make(map[string]bool))
		}
	}
	return names
}

// literals adds the string literals of a declaration to those found. What was seen
// is not looked at again.
func (d declarations) literals(name string, found, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	var look func(ast.Node) bool
	look = func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			ast.Inspect(node.X, look) // what is selected is another package's or a type's
			return false
		case *ast.Field: // or parameter
			if node.Type != nil {
				ast.Inspect(node.Type, look)
			}
			return false
		case *ast.KeyValueExpr:
			if _, field := node.Key.(*ast.Ident); field {
				ast.Inspect(node.Value, look)
				return false
			}
		case *ast.Ident:
			d.literals(node.Name, found, seen)
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
				found[text] = true
			}
		}
		return true
	}
	for _, decl := range d[name] {
		ast.Inspect(decl, look)
	}
}

// TestRFCDocumentsAreChecked: each way in which a row can be wrong is noticed.
func TestRFCDocumentsAreChecked(t *testing.T) {
	t.Parallel()
	known := testNames{"natpmp.TestEpoch": {"one": true}}
	const good = "| S-1 | 1 | MUST | Does what it has to. | `natpmp.TestEpoch`, `natpmp.TestEpoch/one` |"
	if rows := readRows(good); len(rows) != 1 || rows[0].check(known) != nil {
		t.Fatalf("the good row is read as %+v", rows)
	}
	for _, change := range [][2]string{
		{"Does what it has to.", "Does it."},
		{"`natpmp.TestEpoch`, `natpmp.TestEpoch/one`", "–"},
		{"`natpmp.TestEpoch`, `natpmp.TestEpoch/one`", "by hand"},
		{"`natpmp.TestEpoch`,", "`natpmp.TestEpoch`, by hand,"},
		{"TestEpoch`,", "TestEpochs`,"},
		{"`natpmp.TestEpoch`,", "`daemon.TestEpoch`,"},
		{"TestEpoch/one", "TestEpoch/two"},
	} {
		rows := readRows(strings.Replace(good, change[0], change[1], 1))
		if len(rows) != 1 || rows[0].check(known) == nil {
			t.Errorf("with %q the row is good: %+v", change[1], rows)
		}
	}
	names, err := tests("../daemon")
	if err != nil || !names["daemon.TestRFCDocumentsAreChecked"]["Does it."] {
		t.Errorf("this test is not found: %v", err)
	}
}

// TestSubtestsAreTheirTests: a subtest is known as that of its own test only, whether
// its name is in the function or in what the function names.
func TestSubtestsAreTheirTests(t *testing.T) {
	t.Parallel()
	const source = `package x_test
func TestOne(t *testing.T) {
	t.Run("own", nil)
	for _, c := range table { t.Run(c.name, nil) }
	helper(t)
	x.Foreign(t, options{field: 1})
}
func TestTwo(t *testing.T) { t.Run("two's", nil) }
func helper(t *testing.T) { t.Run(constant, nil) }
const constant = "of a constant"
var table = []struct{ name string }{{name: "in a table"}}
var others = "in another table"
var field, name = "of a field", "of a name"
func Foreign() { _ = "of a namesake" }
`
	file, err := parser.ParseFile(token.NewFileSet(), "x_test.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	d := make(declarations)
	d.add(file)
	want := testNames{
		"x.TestOne": {"own": true, "in a table": true, "of a constant": true},
		"x.TestTwo": {"two's": true},
	}
	if diff := cmp.Diff(want, d.tests("x")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for subtest, good := range map[string]bool{"own": true, "of a constant": true, "two's": false, "in another table": false} {
		if err := want.has([]string{"", "x", "TestOne", "/" + subtest}); (err == nil) != good {
			t.Errorf("TestOne/%s: %v", subtest, err)
		}
	}
}
