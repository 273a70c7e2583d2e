//go:build e2e && linux

package e2e_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// inWord is a character at which `\b` of a regular expression sees a word.
var inWord = regexp.MustCompile(`^[0-9A-Za-z_]$`)

// report is what the examination of a router found, in Markdown. It has versions,
// what we made, and what the router said to that, and nothing of its owner's.
type report struct {
	about    reply // of /system/resource/print
	findings []finding
	// answers are those to the questions that were asked first.
	answers []answer
	tap     *tap
	// iface is the name of the tunnel interface, as soon as it is known. It is the
	// owner's, and the router says it with every rule.
	iface string
}

// finding is one assumption and what became of it.
type finding struct {
	// assumption says how we think that RouterOS behaves.
	assumption string
	// observed is what it does instead, empty if it is as assumed.
	observed string
}

// note adds a finding. The error is what is not as assumed.
func (r *report) note(assumption string, err error) {
	f := finding{assumption: assumption}
	if err != nil {
		f.observed = err.Error()
	}
	r.findings = append(r.findings, f)
}

// differences counts the assumptions that are wrong.
func (r *report) differences() int {
	n := 0
	for _, f := range r.findings {
		if f.observed != "" {
			n++
		}
	}
	for _, a := range r.answers {
		if a.differs() {
			n++
		}
	}
	return n
}

// resource returns what the router says of itself.
func (r *report) resource(name string) string {
	for _, row := range r.about.rows() {
		return row[name]
	}
	return ""
}

// version returns major and minor version, for example 7 and 18.
func (r *report) version() (major, minor int) {
	// What cannot be read is 0, and shows in the report.
	_, _ = fmt.Sscanf(r.resource("version"), "%d.%d", &major, &minor)
	return major, minor
}

// atLeast says whether the router has this version or a later one.
func (r *report) atLeast(major, minor int) bool {
	m, n := r.version()
	return m > major || m == major && n >= minor
}

// String returns the report.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# RouterOS as doublenat finds it\n\nRouterOS %s on %s (%s).\n%d assumptions and questions; %d times it is otherwise.\n\n",
		r.resource("version"), r.resource("board-name"), r.resource("architecture-name"), len(r.findings)+len(r.answers), r.differences())
	b.WriteString("| question | our test router | found |\n|---|---|---|\n")
	for _, a := range r.answers {
		mark := ""
		if a.differs() {
			mark = "**otherwise**: "
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(a.text), cell(orElse(a.assumed, "no opinion")), mark+cell(r.redact(a.found)))
	}
	b.WriteByte('\n')
	b.WriteString("| assumption | found |\n|---|---|\n")
	for _, f := range r.findings {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(f.assumption), cell(r.redact(orElse(f.observed, "yes"))))
	}
	fmt.Fprintf(&b, "\nWhat was said (`>` to the router, `<` by it):\n\n```\n%s```\n", r.redact(r.tap.transcript.String()))
	return b.String()
}

// redact writes TUNNEL for the name of the tunnel interface, wherever it is: as
// it is or quoted, but not within another word, for it may be as short as "a".
func (r *report) redact(text string) string {
	if r.iface == "" {
		return text
	}
	quoted := strconv.Quote(r.iface)
	for _, name := range []string{quoted[1 : len(quoted)-1], r.iface} {
		pattern := regexp.QuoteMeta(name)
		if inWord.MatchString(name[:1]) {
			pattern = `\b` + pattern
		}
		if inWord.MatchString(name[len(name)-1:]) {
			pattern += `\b`
		}
		text = regexp.MustCompile(pattern).ReplaceAllLiteralString(text, "TUNNEL")
	}
	return text
}

// cell makes a text fit into a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
