package console_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
	"doublenat/routeros/routerostest/facts"
)

// root is the project, seen from here.
const root = "../.."

// releases are all that lines are judged for, oldest first.
func releases() []string { return append([]string{"6.49"}, facts.Releases()...) }

// court has a terminal of each release.
type court map[string]*routerostest.Console

// newCourt opens the terminals.
func newCourt(t *testing.T) court {
	t.Helper()
	c := make(court)
	for _, release := range releases() {
		router, err := routerostest.New(routerostest.Config{Version: release})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = router.Close() })
		c[release] = router.Console(routerostest.AdminUser)
	}
	return c
}

// judge returns what terminals of the releases say of a text, "" if they take it.
func (c court) judge(text string, of []string) string {
	var refused []string
	reason := ""
	for _, release := range of {
		if err := c[release].Judge(text); err != nil {
			refused = append(refused, release)
			reason = err.Error()
		}
	}
	if refused == nil {
		return ""
	}
	return fmt.Sprintf("RouterOS %s: %s", strings.Join(refused, " "), reason)
}

// anywhere returns why no release at all takes a text, "" if one does.
func (c court) anywhere(text string) string {
	reason := ""
	for _, release := range slices.Backward(releases()) {
		err := c[release].Judge(text)
		if err == nil {
			return ""
		}
		if reason == "" {
			reason = err.Error()
		}
	}
	return reason
}

// inRanges returns the releases of "6.49, 7.9-7.24".
func inRanges(t *testing.T, ranges string) []string {
	t.Helper()
	var found []string
	for r := range strings.SplitSeq(ranges, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(r), "-")
		if !ranged {
			last = first
		}
		n := len(found)
		for _, release := range releases() {
			if minor := minorOf(t, release); minorOf(t, first) <= minor && minor <= minorOf(t, last) {
				found = append(found, release)
			}
		}
		if len(found) == n && minorOf(t, last) >= minorOf(t, facts.Releases()[0]) {
			t.Errorf("there is no release in %q", r)
		}
	}
	return found
}

// minorOf makes "7.21.2" comparable without its patch.
func minorOf(t *testing.T, release string) int {
	t.Helper()
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil {
		t.Fatalf("release %q", release)
	}
	return a*1000 + b
}

// menus are the words that a command of RouterOS can begin with.
const menus = "ip|ipv6|interface|system|container|routing|user|certificate|tool|log|file|disk|queue|radius|snmp|export|import"

// begins finds a line that is a command of RouterOS.
var begins = regexp.MustCompile(`^(/(` + menus + `)\b([ /][a-z]|$)|:(local|global|if|foreach|put|set|error|do)\b)`)

// within finds commands of RouterOS in a text: from the slash on as far as the words
// of a command reach.
var within = regexp.MustCompile(`(^|[\s"(` + "`" + `])(/(` + menus + `)\b([ /][a-z][-a-z0-9/ ]*)?)`)

// whole makes a command out of one that a sentence has in part: an ellipsis stands for
// any value, or for what else there is.
func whole(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ".,;:")
	text = strings.ReplaceAll(text, "=…", `="…"`)
	text = strings.ReplaceAll(text, " …", "")
	if strings.HasSuffix(text, "=") {
		text += `"…"`
	}
	return text
}
