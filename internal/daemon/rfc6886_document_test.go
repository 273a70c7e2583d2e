package daemon_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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
C-4.2-1 D1 D2 D3 D4 D5 D6 D7 D8 D9 D10 D11 D12
`

// row is one line of a table of docs/rfc6886.md.
type row struct{ id, section, level, does, test string }

var (
	rowPattern  = regexp.MustCompile(`^\| ([BSC]-[^ |]+|D[0-9]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	namePattern = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)((?:/[^`]+)?)`")
)

// TestRFC6886Document: every requirement has a test that exists, or a reason.
func TestRFC6886Document(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/rfc6886.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := readRows(string(page))
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.id)
	}
	if diff := cmp.Diff(strings.Fields(requirements), ids); diff != "" {
		t.Errorf("ids of the page (-want +got):\n%s", diff)
	}
	known, err := tests("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := r.check(known); err != nil {
			t.Errorf("%s: %v", r.id, err)
		}
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

// testNames has the tests of each package, "natpmp.TestEpoch", and the string
// literals of its test files, "natpmp/one byte", among which subtests have theirs.
type testNames map[string]bool

// has says what is wrong with a match of namePattern.
func (n testNames) has(name []string) error {
	pkg, test, subtests := name[1], name[2], strings.TrimPrefix(name[3], "/")
	if !n[pkg+"."+test] {
		return fmt.Errorf("there is no test %s.%s", pkg, test)
	}
	if subtests == "" {
		return nil
	}
	for part := range strings.SplitSeq(subtests, "/") {
		if !n[pkg+"/"+part] {
			return fmt.Errorf("%s.%s has no subtest %q", pkg, test, part)
		}
	}
	return nil
}

// tests reads the test files of the tree, also those that this build leaves out.
func tests(root string) (testNames, error) {
	names := make(testNames)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		names.add(filepath.Base(filepath.Dir(path)), file)
		return nil
	})
	return names, err
}

func (n testNames) add(pkg string, file *ast.File) {
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			n[pkg+"."+node.Name.Name] = true
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
				n[pkg+"/"+text] = true
			}
		}
		return true
	})
}

// TestRFC6886DocumentIsChecked: each way in which a row can be wrong is noticed.
func TestRFC6886DocumentIsChecked(t *testing.T) {
	t.Parallel()
	known := testNames{"natpmp.TestEpoch": true, "natpmp/one": true}
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
	if err != nil || !names["daemon.TestRFC6886DocumentIsChecked"] || !names["daemon/Does it."] {
		t.Errorf("this test is not found: %v", err)
	}
}
