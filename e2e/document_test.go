//go:build e2e && linux

package e2e_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentNamesEveryFlow keeps docs/testing.md complete: flows and set-ups.
func TestDocumentNamesEveryFlow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range flows() {
		names = append(names, f.name)
	}
	for _, s := range setups() {
		names = append(names, s.name)
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/testing.md has nothing about %s", name)
		}
	}
}
