package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// pages returns the Markdown pages for people: those at the top, and all below docs.
func pages(t *testing.T, root string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	read := func(name string) {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(b)
	}
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range top {
		read(filepath.Base(file))
	}
	err = fs.WalkDir(os.DirFS(root), "docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(name) == ".md" {
			read(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	// codeBlock and codeSpan hold text in which nothing is a link.
	codeBlock = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	// target is where a link or an image of Markdown or HTML leads.
	target = regexp.MustCompile(`\]\(([^()\s]+)\)|(?:src|href)="([^"]+)"`)
	// inLink is a link's text of another link's, such as [`code`](page.md#part).
	inLink = regexp.MustCompile(`\[([^\[\]]*)\]\([^()\s]*\)`)
	// heading is a line that others can link to.
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?)\s*$`)
	// scheme begins a link to another site.
	scheme = regexp.MustCompile(`^[a-z]+:`)
)

// linksOf returns the relative links of a page, as written.
func linksOf(text string) []string {
	text = codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "x")
	var links []string
	for _, m := range target.FindAllStringSubmatch(text, -1) {
		if link := m[1] + m[2]; !scheme.MatchString(link) {
			links = append(links, link)
		}
	}
	return links
}

// anchorsOf returns the parts of a page that can be linked to, named as forges name
// them: in lower case, without punctuation, with dashes for blanks.
func anchorsOf(text string) map[string]bool {
	anchors := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		title := inLink.ReplaceAllString(m[1], "$1")
		anchors[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)] = true
	}
	return anchors
}

// follow says which page or file of the repository a link leads to, and to which part.
func follow(from, link string) (name, part string) {
	name, part, _ = strings.Cut(link, "#")
	if name == "" {
		return from, part
	}
	return path.Join(path.Dir(from), name), part
}

// TestLinksOfDocumentsLive: no relative link leads nowhere, or to a part that is gone.
func TestLinksOfDocumentsLive(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	all := pages(t, root)
	links := 0
	for from, text := range all {
		for _, link := range linksOf(text) {
			links++
			name, part := follow(from, link)
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: the link %s leads nowhere", from, link)
				continue
			}
			if part != "" && !anchorsOf(all[name])[part] {
				t.Errorf("%s: the link %s leads to a part that does not exist", from, link)
			}
		}
	}
	if links < 150 {
		t.Errorf("only %d links were found", links)
	}
}

// TestEveryPageIsTwoClicksFromREADME follows links from README twice.
func TestEveryPageIsTwoClicksFromREADME(t *testing.T) {
	t.Parallel()
	all := pages(t, filepath.Join("..", ".."))
	reached := map[string]bool{"README.md": true}
	for range 2 {
		next := make(map[string]bool)
		for from := range reached {
			next[from] = true
			for _, link := range linksOf(all[from]) {
				name, _ := follow(from, link)
				next[name] = true
			}
		}
		reached = next
	}
	for name := range all {
		if !reached[name] {
			t.Errorf("%s is more than two clicks from README.md", name)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d pages were found", len(all))
	}
}

func TestLinksAndAnchors(t *testing.T) {
	t.Parallel()
	const text = "# A `b`, c-d\n\nSee [x](y.md#z) and [`code`](#a-b-c-d), not `[u](v)`.\n\n```\n# no heading\n[w](gone.md)\n```\n" +
		"[out](https://example.com) <img src=\"p.png\" alt=\"\">\n\n## [T](t.md): FILTER_IT?\n"
	if got, want := strings.Join(linksOf(text), " "), "y.md#z #a-b-c-d p.png t.md"; got != want {
		t.Errorf("links %q, want %q", got, want)
	}
	for _, want := range []string{"a-b-c-d", "t-filter_it"} {
		if !anchorsOf(text)[want] {
			t.Errorf("no anchor %q in %v", want, anchorsOf(text))
		}
	}
	if len(anchorsOf(text)) != 2 {
		t.Errorf("anchors: %v", anchorsOf(text))
	}
	if name, part := follow("docs/decisions/README.md", "../gateways.md#x"); name != "docs/gateways.md" || part != "x" {
		t.Errorf("followed to %s, %s", name, part)
	}
}
