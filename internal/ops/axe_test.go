package ops_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// axe returns the source of axe-core, which judges a page by the rules of accessibility. Where
// it is not installed the test is skipped, but not in CI.
func axe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "..", "tools", "axe", "node_modules", "axe-core", "axe.min.js"))
	switch {
	case err == nil:
		return string(source)
	case os.Getenv("CI") == "true": //nolint:forbidigo // CI is what must not skip
		t.Fatalf("axe-core is not installed (make axe): %v", err)
	default:
		t.Skip("axe-core is not installed (make axe)")
	}
	return ""
}

// judged fails the test where axe, which is in the page already, finds a violation. All that is
// folded is unfolded for it.
func (b *tab) judged(where string) {
	b.t.Helper()
	got := b.eval(`(async () => {
		const folded = [...document.querySelectorAll("details:not([open])")];
		folded.forEach((one) => { one.open = true; });
		const found = await axe.run({ resultTypes: ["violations"] });
		folded.forEach((one) => { one.open = false; });
		return found.violations.map((v) => v.id + ": " + v.help + " at " + v.nodes.map((n) => n.target + " " + n.html).join(" and ")).join("\n");
	})()`)
	if got != "" {
		b.t.Errorf("%s: axe finds\n%v", where, got)
	}
}

// The page breaks no rule of axe's in any state, light or dark, wide or on a phone.
func TestPageIsAccessible(t *testing.T) {
	t.Parallel()
	source := axe(t)
	b := newTab(t)
	s := newStage(t, picture())
	b.look("light", 1100)
	b.visit(s.url)
	b.eval(source + `; 0`)
	b.inAllStates(s, func(name string) {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{400, 1100} {
				if (width == 400) == (scheme == "light") && name != "203" {
					continue // a phone in the dark, and a window in the light, but for the table of many
				}
				b.look(scheme, width)
				b.judged(fmt.Sprintf("%s, %s at %d", name, scheme, width))
			}
		}
	})
	s.hush(true)
	b.leap(3 * time.Second)
	b.wait(`document.documentElement.classList.contains("stale")`)
	for _, scheme := range []string{"light", "dark"} {
		b.look(scheme, 1100)
		b.judged("stale, " + scheme)
	}
	b.clean(s.url)
}
