package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp/natpmptest"
)

// ruleRow is a row of docs/gateways.md with a rule's or a scenario's name.
var ruleRow = regexp.MustCompile(`(?m)^\| ([ABCD][0-9]+) \| ([^|]+) \| ([^|]+) \|$`)

// TestGatewaysDocument: every rule and scenario has a test that exists, or a reason,
// and every gateway is named.
func TestGatewaysDocument(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/gateways.md")
	if err != nil {
		t.Fatal(err)
	}
	known, err := tests("../..")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, chapter := range []struct {
		letter string
		rules  int
	}{{"A", 20}, {"B", 12}, {"C", 20}, {"D", 12}} {
		for i := range chapter.rules {
			want = append(want, fmt.Sprint(chapter.letter, i+1))
		}
	}
	for _, m := range ruleRow.FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
		if err := (row{id: m[1], does: m[2], test: m[3]}).check(known); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules of the page (-want +got):\n%s", diff)
	}
	for _, name := range namePattern.FindAllStringSubmatch(string(page), -1) {
		if err := known.has(name); err != nil {
			t.Error(err)
		}
	}
	for _, err := range unnamed(string(page)) {
		t.Error(err)
	}
}

// unnamed returns an error for each profile that the page does not name.
func unnamed(page string) []error {
	_, list, _ := strings.Cut(page, "every profile of `natpmp/natpmptest`: ")
	list, _, _ = strings.Cut(list, ".\n")
	names := regexp.MustCompile(`,\s+`).Split(list, -1)
	var errs []error
	for i, p := range natpmptest.Profiles() {
		if i >= len(names) || names[i] != p.Name {
			errs = append(errs, errors.New("the page does not name the profile "+p.Name+" in its place"))
		}
	}
	return errs
}
