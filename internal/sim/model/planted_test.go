package model_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var flagPlanted = flag.Bool("planted", false, "plant mistakes in the core and see whether they are found")

// planted are mistakes in the core, each of another kind: the first occurrence of old in
// the file becomes mistaken.
func planted() map[string]struct{ file, old, mistaken string } {
	return map[string]struct{ file, old, mistaken string }{
		"a grant of somebody else's port is told": {
			"ports.go", "if holder, ok := p.outer[mine]; ok && holder != key {", "if holder, ok := p.outer[mine]; ok && holder != key && false {",
		},
		"the end of a mapping forgets its lease": {
			"requests.go", "m.lease.nextAt, m.lease.failures, m.lease.suggested = e.now, 0, 0", "m.lease.state, m.lease.failures, m.lease.suggested = leaseAbsent, 0, 0",
		},
		"a rule that is missing stays missing": {
			"reading.go", "		m.rule.state = ruleAbsent\n", "		m.rule.state = ruleMissing\n",
		},
		"a removal without an answer counts as done": {
			"rules.go", "case err == nil || stray || stopped:", "case err == nil || stray || stopped || ambiguous(err):",
		},
		"expiry does not wait for the renewal under way": {
			"requests.go", "m.lease.state != leaseAsked && !m.waitedFor() && !m.ends().After(e.now)", "!m.ends().Add(-20 * time.Second).After(e.now)",
		},
		"both protocols ask at once": {
			"decide.go", "		return m.unit.asking == nil\n", "		return true\n",
		},
		"a changed port does not reach the rule": {
			"decide.go", "|| !have.Match.covers(want.Match)", "",
		},
		"the gateway's loss of state is not heard": {
			"leases.go", "		m.lease.doubt(e.now)\n", "		continue\n",
		},
		"a lost grant is not given back": {
			"lease.go", "		l.mayLive = later(l.mayLive, now.Add(longest))\n", "",
		},
		"an answer is late for ever": {
			"decide.go", "			at = sooner(at, t.tableAt)\n", "			_ = t\n",
		},
		"rules that nobody stands behind stay": {
			"reading.go", "		m = e.leave(c.Found.Key, 0)\n", "		return\n",
		},
		"who does not speak of a filter takes it away": {
			"remote.go", "		return before, true\n", "		return Remote{}, true\n",
		},
		"a filter is told of before the rule has it": {
			"rules.go", "	if !m.rule.letsIn(m.wish.remote) {\n", "	if false {\n",
		},
		"a filter is lost at a restart": {
			"reading.go", "remote: r.Remote, agreed: r.Remote,", "",
		},
		"a filter stays of a request that failed": {
			"requests.go", "	if m.wish.wanted() {\n		e.admitOnly", "	if false {\n		e.admitOnly",
		},
		"a filter waits for the next look": {
			"decide.go", "have.Remote != want.Remote || ", "",
		},
		"an inner port is given twice": {
			"ports.go", "!p.used[proto].Has(inner) && (!taken || owner == port)", "!p.used[proto].Has(inner) && (!taken || owner == port || inner%3 == 0)",
		},
	}
}

// TestPlantedMistakes: each mistake is found within a thousand days. It compiles the core
// once for each, so it runs when it is asked for (make planted).
func TestPlantedMistakes(t *testing.T) {
	t.Parallel()
	if !*flagPlanted {
		t.Skip("runs with -planted (make planted)")
	}
	for name, m := range planted() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			finds(t, overlay(t, filepath.Join("../../nat", m.file), m.old, m.mistaken), "^TestDays$", "-days")
		})
	}
}

// finds lives a thousand days with a mistake, and fails the test if nothing is wrong with them.
func finds(t *testing.T, overlay, test, days string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", test, ".", days, "1000", "-enough", "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "replay with") {
		t.Fatalf("not found: %v\n%s", err, out)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(strings.SplitAfterN(string(out), "model_test.go", 2)[1]), "\n")
	t.Log(first[:min(len(first), 200)])
}

// overlay returns a file that has the compiler read a file with a mistake in it.
func overlay(t *testing.T, file, old, mistaken string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q any more: mend the table", file, old)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), old, mistaken, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}
