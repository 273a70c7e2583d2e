package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// factory makes every small mistake in one package. All of them go into one test binary,
// each behind a switch, so that a mistake costs a run of the tests and no build.
type factory struct {
	pkg, dir string
	sites    []site
	binary   string
	slow     string        // tests that take long, as an expression
	patience time.Duration // how long the tests may take until they hang
}

// listed is what go list tells of a package.
type listed struct {
	Dir, ImportPath, Export string
	GoFiles                 []string
}

// every makes every small mistake of a package, or of some of its files, and tells which
// are not noticed.
func every(ctx context.Context, pkg string, files []string, out io.Writer) error {
	temp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	f := &factory{pkg: pkg, binary: filepath.Join(temp, "tests")}
	if err := f.build(ctx, temp); err != nil {
		return err
	}
	covered, err := f.covered(ctx, temp)
	if err != nil {
		return err
	}
	began := time.Now()
	said, err := f.run(ctx, 0, time.Minute, "-test.v")
	if err != nil {
		return fmt.Errorf("the tests fail without a mistake: %w\n%s", err, said)
	}
	f.slow, f.patience = slowTests(said), min(10*time.Second+4*time.Since(began), 30*time.Second)
	var made []site
	unseen := 0
	for _, s := range f.sites {
		switch {
		case len(files) > 0 && !slices.Contains(files, filepath.Base(s.at.Filename)):
		case covered(s.at):
			made = append(made, s)
		default:
			unseen++
		}
	}
	f.report(f.tryAll(ctx, made), unseen, out)
	return nil
}

// fate is what became of a mistake.
type fate struct {
	site

	lived, hung bool
}

// atOnce is how many mistakes are tried at a time: one that hangs holds up no other.
const atOnce = 3

// tryAll makes the mistakes, a few at a time.
func (f *factory) tryAll(ctx context.Context, made []site) []fate {
	fates := make([]fate, len(made))
	places := make(chan struct{}, atOnce)
	var trying sync.WaitGroup
	for i, s := range made {
		places <- struct{}{}
		trying.Go(func() {
			defer func() { <-places }()
			fates[i] = f.try(ctx, s)
		})
	}
	trying.Wait()
	return fates
}

// try makes one mistake.
func (f *factory) try(ctx context.Context, s site) fate {
	said, err := f.run(ctx, s.id, f.patience, "-test.skip", f.slow)
	if err == nil {
		said, err = f.run(ctx, s.id, f.patience, "-test.run", f.slow)
	}
	return fate{
		site: s, lived: err == nil,
		hung: err != nil && bytes.Contains(said, []byte("test timed out")) && !bytes.Contains(said, []byte("--- FAIL: ")),
	}
}

// report tells which lived or hung, and how many there were.
func (f *factory) report(fates []fate, unseen int, out io.Writer) {
	lived, hung := 0, 0
	for _, one := range fates {
		switch {
		case one.lived:
			lived++
			fmt.Fprintf(out, "LIVED %s/%v\n", f.pkg, one.site)
		case one.hung:
			hung++
			fmt.Fprintf(out, "HANG  %s/%v\n", f.pkg, one.site)
		}
	}
	noticed := len(fates) - lived - hung
	fmt.Fprintf(out, "%s: %d mistakes in code that its tests run: %d noticed, %d lived, %d hung; %.1f %% noticed; %d in other code\n",
		f.pkg, len(fates), noticed, lived, hung, 100*float64(noticed)/float64(max(noticed+lived, 1)), unseen)
}

// build writes the package with all mistakes and compiles its tests.
func (f *factory) build(ctx context.Context, temp string) error {
	packages, err := list(ctx, f.pkg)
	if err != nil {
		return err
	}
	exports := make(map[string]string, len(packages))
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
	}
	own := packages[len(packages)-1]
	f.dir = own.Dir
	r := &rewriter{mistakes: allMistakes(), fset: token.NewFileSet(), info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object)}}
	files := make([]*ast.File, len(own.GoFiles))
	for i, name := range own.GoFiles {
		if files[i], err = parser.ParseFile(r.fset, filepath.Join(own.Dir, name), nil, parser.SkipObjectResolution); err != nil {
			return err
		}
	}
	check := types.Config{Importer: importer.ForCompiler(r.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	if _, err := check.Check(own.ImportPath, r.fset, files, r.info); err != nil {
		return err
	}
	replaced := map[string]string{filepath.Join(own.Dir, "mutants_switches.go"): filepath.Join(temp, "switches.go")}
	texts := map[string]string{filepath.Join(temp, "switches.go"): "package " + files[0].Name.Name + "\n" + switches}
	for i, name := range own.GoFiles {
		path := filepath.Join(own.Dir, name)
		source, err := os.ReadFile(path) //nolint:gosec // go list names it
		if err != nil {
			return err
		}
		replaced[path] = filepath.Join(temp, name)
		texts[replaced[path]] = r.rewrite(files[i], source)
	}
	f.sites = r.sites
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	texts[filepath.Join(temp, "overlay.json")] = string(overlay)
	for path, text := range texts {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	said, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(temp, "overlay.json"), "-o", f.binary, "./"+f.pkg).CombinedOutput() //nolint:gosec // the package that was asked for
	if err != nil {
		return fmt.Errorf("compiling the mistakes: %w\n%s", err, said)
	}
	return nil
}

// list returns the package, last, and all that it imports.
func list(ctx context.Context, pkg string) ([]listed, error) {
	said, err := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles", "./"+pkg).Output() //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(said)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// slowTests returns an expression for the tests that took long, by what they said. They
// are asked when no other test notices.
func slowTests(said []byte) string {
	names := []string{"there is none of this name"}
	for _, match := range regexp.MustCompile(`(?m)^--- PASS: (\w+) \(([0-9.]+)s\)`).FindAllSubmatch(said, -1) {
		if took, err := strconv.ParseFloat(string(match[2]), 64); err == nil && took > 0.5 {
			names = append(names, string(match[1]))
		}
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// run runs tests with one mistake, 0 for none.
func (f *factory) run(ctx context.Context, id int, patience time.Duration, which ...string) ([]byte, error) {
	args := append([]string{"-test.short", "-test.failfast", "-test.timeout", patience.String()}, which...)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	said := &verdict{stop: stop}
	test := exec.CommandContext(ctx, f.binary, args...)                                                                //nolint:gosec // we made it
	test.Dir, test.Env, test.Stdout, test.Stderr = f.dir, append(os.Environ(), "MUTANT="+strconv.Itoa(id)), said, said //nolint:forbidigo // this is a program
	err := test.Run()
	return said.text.Bytes(), err
}

// verdict ends the tests as soon as one has failed: others may hang by the same mistake.
type verdict struct {
	text bytes.Buffer
	stop func()
}

// Write takes in what the tests say.
func (v *verdict) Write(p []byte) (int, error) {
	n, err := v.text.Write(p)
	if bytes.Contains(v.text.Bytes(), []byte("--- FAIL: ")) {
		v.stop()
	}
	return n, err
}

// covered returns what tells whether the package's tests run a place.
func (f *factory) covered(ctx context.Context, temp string) (func(token.Position) bool, error) {
	path := filepath.Join(temp, "coverage")
	if said, err := exec.CommandContext(ctx, "go", "test", "-short", "-vet=off", "-coverprofile", path, "./"+f.pkg).CombinedOutput(); err != nil { //nolint:gosec // as above
		return nil, fmt.Errorf("measuring coverage: %w\n%s", err, said)
	}
	profile, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	defer profile.Close()
	type block struct{ fromLine, fromColumn, toLine, toColumn int }
	run := make(map[string][]block)
	for lines := bufio.NewScanner(profile); lines.Scan(); {
		var b block
		var statements, count int
		name, rest, ok := strings.Cut(lines.Text(), ".go:")
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.fromLine, &b.fromColumn, &b.toLine, &b.toColumn, &statements, &count); ok && err == nil && count > 0 {
			file := filepath.Base(name) + ".go"
			run[file] = append(run[file], b)
		}
	}
	return func(p token.Position) bool {
		for _, b := range run[filepath.Base(p.Filename)] {
			after := p.Line > b.fromLine || p.Line == b.fromLine && p.Column >= b.fromColumn
			before := p.Line < b.toLine || p.Line == b.toLine && p.Column <= b.toColumn
			if after && before {
				return true
			}
		}
		return false
	}, nil
}
