package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// printed is a command that a document prints.
type printed struct {
	where string
	// text is the command as a shell takes it.
	text string
	// block is set for one in a block to be copied. Others may be mentions of a command or a
	// flag, without all that it takes.
	block bool
}

// programs are those whose commands are looked at, each with why none of them is run; those of
// doublenat are, and those of make and go are looked up.
func programs() map[string]string {
	return map[string]string{
		"doublenat": "", "make": "", "go": "",
		"git": "its URL is the reader's", "docker": "it needs a container engine", "systemctl": "it needs an installed unit",
		"natpmpc": "its gateway is a provider's", "curl": "its server is the reader's", "man": "it needs a pager",
	}
}

// assignments are variables before a command.
var assignments = regexp.MustCompile(`^([A-Z_0-9]+=('[^']*'|\S*) +)*`)

// commandOf returns the command in a line of a document, "" if there is none.
func commandOf(line string) string {
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	if before, _, commented := strings.Cut(line, "  "); commented {
		line = before // what follows says what it does
	}
	line, _, _ = strings.Cut(line, " # ")
	name, _, _ := strings.Cut(line[len(assignments.FindString(line)):], " ")
	if _, known := programs()[name]; !known {
		return ""
	}
	return strings.TrimSpace(line)
}

// printedCommands returns the commands that the documents print.
func printedCommands(t *testing.T, root string) []printed {
	t.Helper()
	var all []printed
	code := regexp.MustCompile("`([^`]+)`")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && name != "."):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md" || name == "CHANGELOG.md": // which tells of commands that were
			return nil
		}
		text, err := os.ReadFile(path)
		block := false
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
			switch {
			case strings.HasPrefix(strings.TrimSpace(line), "```"):
				block = !block
			case block:
				if command := commandOf(line); command != "" {
					all = append(all, printed{name, command, true})
				}
			default:
				for _, match := range code.FindAllStringSubmatch(line, -1) {
					if command := commandOf(strings.ReplaceAll(match[1], `\|`, "|")); strings.Contains(command, " ") {
						all = append(all, printed{name, command, false})
					}
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// placeholder is a word that a reader replaces.
var placeholder = regexp.MustCompile(`(^|[ /=])[A-Z]{3,}($|[ /])|…`)

// words splits a command at its spaces, without the variables before it and what a pipe does
// with its output.
func (c printed) words() []string {
	text, _, _ := strings.Cut(c.text[len(assignments.FindString(c.text)):], "|")
	var words []string
	for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(text, -1) {
		words = append(words, strings.Trim(word, "'"))
	}
	return words
}

// arguments returns what doublenat gets, and whether it is doublenat that is called.
func (c printed) arguments() ([]string, bool) {
	switch words := c.words(); {
	case words[0] == "doublenat":
		return words[1:], true
	case len(words) > 2 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/doublenat":
		return words[3:], true
	default:
		return nil, false
	}
}

// complete says whether a command of doublenat has all that it takes. An error is one that
// could not even be a mention of it.
func (c printed) complete(t *testing.T, args []string) bool {
	t.Helper()
	if placeholder.MatchString(strings.Join(args, " ")) {
		return false
	}
	root := newRoot(t.Context(), &process{})
	strict(root)
	cmd, rest, err := root.Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	mention := !c.block && err != nil && strings.Contains(err.Error(), "flag needs an argument")
	if err != nil && !mention {
		t.Errorf("%s: %s: %v", c.where, c.text, err)
	}
	if err != nil {
		return false
	}
	err = cmd.ValidateArgs(cmd.Flags().Args())
	if err != nil && (c.block || !cmd.HasParent()) { // the root takes a name that is no command for an argument
		t.Errorf("%s: %s: %v", c.where, c.text, err)
	}
	return err == nil
}

// TestPrintedCommandsExist: every command of doublenat, make and go test that the documents
// print is one that there is, with flags, targets and tests that there are. TestPrintedCommandsRun
// runs those that can be.
func TestPrintedCommandsExist(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	all := printedCommands(t, root)
	targets := make(map[string]string)
	for _, c := range all {
		words := c.words()
		args, ours := c.arguments()
		switch {
		case ours:
			c.complete(t, args)
		case words[0] == "make" && !placeholder.MatchString(words[1]):
			targets[words[1]] = c.where
		case words[0] == "go" && len(words) > 2 && words[1] == "test":
			namedTests(t, root, c)
		}
	}
	if len(all) < 60 || len(targets) < 10 {
		t.Errorf("%d commands, %d targets: the documents are not looked at", len(all), len(targets))
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for target, where := range targets {
		if !strings.Contains(string(makefile), "\n"+target+":") {
			t.Errorf("%s: make %s: there is no such target", where, target)
		}
	}
}

// namedTests holds that a package, its tests and its flags exist of which go test is told.
func namedTests(t *testing.T, root string, c printed) {
	t.Helper()
	words := c.words()
	dir := words[2]
	if !strings.HasPrefix(dir, "./") {
		return // flags come first
	}
	where, recursive := strings.CutSuffix(dir, "/...")
	tests, err := declaredTests(filepath.Join(root, where))
	if err != nil {
		t.Errorf("%s: %s: %v", c.where, c.text, err)
		return
	}
	var source strings.Builder
	files, _ := filepath.Glob(filepath.Join(root, where, "*_test.go"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	own := regexp.MustCompile(`^-(v|run|bench|benchmem|count|timeout|short|race|fuzz|tags|cover|args)(=|$)`)
	for i, word := range words[3:] {
		switch next := append(words[4+i:], "")[0]; {
		case word == "-run" && next != "xxx" && next != "^$":
			pattern, err := regexp.Compile(next)
			if err != nil || !slices.ContainsFunc(slices.Collect(maps.Keys(tests)), pattern.MatchString) {
				t.Errorf("%s: %s: no test is called so (%v)", c.where, c.text, err)
			}
		case strings.HasPrefix(word, "-") && !own.MatchString(word) && !recursive:
			if name := strings.TrimLeft(word, "-"); !strings.Contains(source.String(), `("`+name+`"`) {
				t.Errorf("%s: %s: the package has no flag %s", c.where, c.text, word)
			}
		}
	}
}
