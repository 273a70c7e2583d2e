package console_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// excerpt is a text of a document.
type excerpt struct {
	file string
	line int
	text string
	// of are the releases that it is for, nil for any one of them.
	of []string
}

func (e excerpt) String() string { return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.text) }

// marker is the comment before a block that says what it is for.
var marker = regexp.MustCompile(`^\s*<!-- routeros: (.*) -->\s*$`)

// span is a code span of Markdown.
var span = regexp.MustCompile("`([^`]+)`")

// excerptsOf returns the commands of RouterOS in a Markdown document: blocks whole,
// because their commands belong together, and what stands in the text.
func excerptsOf(t *testing.T, file, content string) []excerpt {
	t.Helper()
	var found []excerpt
	var block []string
	indent, begun, said := "", 0, ""
	for i, line := range strings.Split(content, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case begun == 0 && strings.HasPrefix(trimmed, "```"):
			indent, _, _ = strings.Cut(line, "`")
			begun, block = i+2, nil
		case begun > 0 && trimmed == "```":
			found = append(found, blockOf(t, file, begun, block, said)...)
			begun, said = 0, ""
		case begun > 0:
			block = append(block, strings.TrimPrefix(line, indent))
		case marker.MatchString(line):
			said = marker.FindStringSubmatch(line)[1]
		default:
			if trimmed != "" {
				said = ""
			}
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				if begins.MatchString(m[1]) {
					found = append(found, excerpt{file: file, line: i + 1, text: whole(m[1])})
				}
			}
		}
	}
	return found
}

// blockOf returns a block that is for RouterOS: all of whose lines are, but for comments.
func blockOf(t *testing.T, file string, line int, lines []string, said string) []excerpt {
	t.Helper()
	if said == "none" || !slices.ContainsFunc(lines, func(l string) bool { return begins.MatchString(l) }) {
		return nil
	}
	if said == "" {
		said = "7.9-7.24"
	}
	return []excerpt{{file: file, line: line, text: strings.Join(lines, "\n"), of: inRanges(t, said)}}
}

// documents returns README and all below docs.
func documents(t *testing.T, suffix string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	read := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.TrimPrefix(path, root+"/")] = string(b)
	}
	if suffix == ".md" {
		read(filepath.Join(root, "README.md"))
		read(filepath.Join(root, "SECURITY.md"))
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			read(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// onlyNamed is what is said of a command for rows that names none.
const onlyNamed = "missing value(s) of argument(s) numbers"

// TestDocuments judges all commands of README and docs.
func TestDocuments(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	blocks, spans := 0, 0
	for file, content := range documents(t, ".md") {
		for _, e := range excerptsOf(t, file, content) {
			var refused string
			if e.of == nil {
				spans++
				if !strings.ContainsAny(e.text, " =") { // as over the API, in each version
					e.text = "/" + strings.ReplaceAll(e.text[1:], "/", " ")
				}
				if refused = c.anywhere(e.text); strings.HasSuffix(refused, onlyNamed) {
					refused = "" // the text speaks of the command
				}
			} else {
				blocks++
				refused = c.judge(strings.ReplaceAll(e.text, "=…", `="…"`), e.of)
			}
			if refused != "" {
				t.Errorf("%v\n\t%s", e, refused)
			}
		}
	}
	if blocks < 10 || spans < 20 {
		t.Errorf("only %d blocks and %d commands in texts were found", blocks, spans)
	}
}

// TestManPages judges what the man pages say of RouterOS.
func TestManPages(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for file, content := range documents(t, ".1") {
		for i, line := range strings.Split(strings.ReplaceAll(content, `\-`, "-"), "\n") {
			for _, m := range within.FindAllStringSubmatch(line, -1) {
				judgeWords(t, c, excerpt{file: file, line: i + 1, text: m[2]})
			}
		}
	}
}

// judgeWords judges a command whose end in the sentence is not known: the longest part
// of its words that is one counts, and there must be a menu at least.
func judgeWords(t *testing.T, c court, e excerpt) {
	t.Helper()
	words := strings.Fields(whole(e.text))
	reason := ""
	for n := len(words); n > 0; n-- {
		refused := c.anywhere(strings.Join(words[:n], " "))
		if refused == "" || strings.Contains(refused, "missing value") {
			return
		}
		reason = refused
	}
	t.Errorf("%v\n\t%s", e, reason)
}

// TestExcerpts has documents with what is found in them.
func TestExcerpts(t *testing.T) {
	t.Parallel()
	const text = "Use `/ip address print` or `make`, and `/etc/hosts`.\n\n<!-- routeros: 7.23-7.24 -->\n```\n# a comment\n/ip address print\n" +
		"/user add \\\n  name=x\n```\n\n```sh\nls /ip\n```\n\n<!-- routeros: none -->\n```\n/ip/address/print\n```\n1. In a list:\n\n   ```\n   /ip route print\n   ```\n"
	want := []string{
		"doc:1: /ip address print []",
		"doc:5: # a comment\n/ip address print\n/user add \\\n  name=x [7.23 7.23.1 7.23.2 7.24]",
		fmt.Sprintf("doc:22: /ip route print %v", inRanges(t, "7.9-7.24")),
	}
	var got []string
	for _, e := range excerptsOf(t, "doc", text) {
		got = append(got, fmt.Sprintf("%v %v", e, e.of))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
