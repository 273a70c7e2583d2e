package setup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/setup"
	"doublenat/routeros/routerostest"
)

// The marks between which docs/install.md holds what `doublenat setup --version 7.24` prints.
const (
	recipeBegin = "<!-- setup: made by `go test ./internal/setup -run Golden -update` -->\n"
	recipeEnd   = "<!-- setup end -->\n"
)

// document returns a page of docs and its path.
func document(t *testing.T, name string) (path, text string) {
	t.Helper()
	path = filepath.Join("..", "..", "docs", name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(b)
}

// TestGoldenRecipe: the recipe in docs/install.md is what setup prints without settings.
func TestGoldenRecipe(t *testing.T) {
	t.Parallel()
	cfg := typical("7.24")
	cfg.Environ = slices.Clone(cfg.Environ[:3])
	steps, err := setup.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := setup.Write(&printed, steps); err != nil {
		t.Fatal(err)
	}
	want := "\n<!-- routeros: 7.23-7.24 -->\n```\n" + strings.TrimSpace(printed.String()) + "\n```\n\n"
	path, text := document(t, "install.md")
	before, rest, hasBegin := strings.Cut(text, recipeBegin)
	got, after, hasEnd := strings.Cut(rest, recipeEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("docs/install.md lacks the marks %q and %q", recipeBegin, recipeEnd)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+recipeBegin+want+recipeEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/install.md is not what setup prints; run `go test ./internal/setup -run Golden -update`:\n%s", diff)
	}
}

// undo returns the commands of docs/upgrade.md that take back what setup made: the
// block of the releases that name lists of variables so.
func undo(t *testing.T, marker string) string {
	t.Helper()
	_, text := document(t, "upgrade.md")
	_, section, ok := strings.Cut(text, "\n## Remove it\n")
	if !ok {
		t.Fatal("docs/upgrade.md has no section about removal")
	}
	_, block, ok := strings.Cut(section, marker+"\n```\n")
	if !ok {
		t.Fatalf("docs/upgrade.md has no block after %s", marker)
	}
	block, _, _ = strings.Cut(block, "```")
	return block
}

// made are the tables that setup adds rows to.
var made = []string{
	"/user", "/user/group", "/interface/veth", "/interface/bridge/port", "/ip/address", "/routing/rule", "/container", "/container/envs",
	"/ip/firewall/address-list", "/ip/firewall/filter", "/ip/firewall/mangle", "/ip/firewall/nat", "/ip/firewall/raw",
}

// rowsOf returns all rows that somebody made.
func rowsOf(box *routerostest.Router) map[string][]routerostest.Row {
	rows := make(map[string][]routerostest.Row)
	for _, table := range made {
		for _, row := range box.Rows(table) {
			if row["dynamic"] != "true" {
				rows[table] = append(rows[table], row)
			}
		}
	}
	return rows
}

// TestRemoval types a set-up and then what docs/upgrade.md says takes it back, beside a
// rule of somebody else: the tables are as they were before.
func TestRemoval(t *testing.T) {
	t.Parallel()
	tried := 0
	for name, cfg := range golden() {
		if !cfg.Container.IsValid() || cfg.TLS {
			continue // certificates are not rows of setup alone
		}
		tried++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			marker := "<!-- routeros: 7.20-7.24 -->"
			if !cfg.Version.AtLeast(20) {
				marker = "<!-- routeros: 7.9-7.19 -->"
			}
			box := boxOf(t, cfg.Version)
			if row, ok := box.Find("/ip/address", "address", "172.30.254.1/30"); ok { // the test router has a container already
				if err := box.Remove("/ip/address", row[".id"]); err != nil {
					t.Fatal(err)
				}
			}
			for _, comment := range []string{"to the printer", "doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600"} {
				rule := routerostest.Row{
					"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "9100", "in-interface": "wg1",
					"to-addresses": "192.168.88.9", "comment": comment,
				}
				if _, err := box.Add("/ip/firewall/nat", rule); err != nil {
					t.Fatal(err)
				}
			}
			before := rowsOf(box)
			for table, rows := range before { // what names doublenat goes too, as the page says
				before[table] = slices.DeleteFunc(rows, func(r routerostest.Row) bool { return strings.Contains(r["comment"], "doublenat") })
			}
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, refused := range typeAll(t, box, steps) {
				t.Error(refused)
			}
			if cmp.Equal(before, rowsOf(box)) {
				t.Fatal("the set-up changed nothing")
			}
			for _, refused := range routerostest.Refused(box.Console(routerostest.AdminUser).Paste(undo(t, marker))) {
				t.Log(refused) // rows that this set-up does not have
			}
			if diff := cmp.Diff(before, rowsOf(box)); diff != "" {
				t.Errorf("what the removal leaves (-before +after):\n%s", diff)
			}
		})
	}
	if tried < 10 {
		t.Errorf("only %d set-ups were tried", tried)
	}
}
