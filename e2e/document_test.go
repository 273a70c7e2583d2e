//go:build e2e && linux

package e2e_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentNamesEveryFlow keeps docs/testing.md complete.
func TestDocumentNamesEveryFlow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows() {
		if !strings.Contains(string(text), "`"+f.name+"`") {
			t.Errorf("docs/testing.md has nothing about %s", f.name)
		}
	}
}
