package facts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest/facts"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		release, command, argument string
		command1, argument1        bool
	}{
		{"7.9", "/container/add", "envlist", true, true},
		{"7.19.6", "/container/add", "envlist", true, true},
		{"7.20", "/container/add", "envlist", true, false},
		{"7.20", "/container/add", "envlists", true, true},
		{"7.23", "/container/add", "ignore-remote-image-change", true, false},
		{"7.23.2", "/container/add", "ignore-remote-image-change", true, true},
		{"7.24.4", "/ip/service/set", "available-from", true, true},
		{"7.17.1", "/system/package/apply-changes", "", false, false},
		{"7.18", "/system/package/apply-changes", "ignore-missing", true, true},
		{"7.17", "/ip/route/check", "dst-ip", false, false},
		{"7.18", "/ip/route/check", "proplist", true, false},
	} {
		r, err := facts.Of(tt.release)
		if err != nil {
			t.Fatal(err)
		}
		arguments, ok := r.Arguments(tt.command)
		if ok != tt.command1 || slices.Contains(arguments, tt.argument) != tt.argument1 {
			t.Errorf("%s: %s is there: %t, takes %v", tt.release, tt.command, ok, arguments)
		}
	}
	for _, release := range []string{"", "6.49", "7", "7.x", "7.8", "7.25", "8.1", "7.-1"} {
		if _, err := facts.Of(release); err == nil {
			t.Errorf("release %q is known", release)
		}
	}
}

func TestCheckSentence(t *testing.T) {
	t.Parallel()
	r, err := facts.Of("7.18")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ sentence, want string }{
		{"/ip/firewall/nat/add =chain=dstnat =comment=a=b", ""},
		{"/ip/firewall/nat/add =chain=dstnat =tls-host=x", "RouterOS 7.18: /ip/firewall/nat/add does not take tls-host"},
		{"/ip/firewall/nat/set =.id=*1 =comment=x", ""},
		{"/ip/firewall/nat/print ?comment=x =.proplist=.id,comment =count-only=", ""},
		{"/ip/route/check =dst-ip=10.0.0.1 =once=", ""},
		{"/ip/route/check =.proplist=interface", "RouterOS 7.18: /ip/route/check does not take .proplist"},
		{"/ip/route/fly", "RouterOS 7.18 has no /ip/route/fly"},
		{"/ip/firewall/nat/listen", ""},
		{"/login =name=x", ""},
		{"/nobody/knows/add =x=", ""},
	} {
		words := strings.Fields(tt.sentence)
		err := r.CheckSentence(words[0], words[1:])
		if got := ""; err != nil && err.Error() != tt.want || err == nil && tt.want != got {
			t.Errorf("%s: %v, want %q", tt.sentence, err, tt.want)
		}
	}
}

// passedOver are commands of every menu that are for scripts and the terminal alone.
func passedOver() []string { return []string{"edit", "export", "find", "get", "reset"} }

// notOurs are menus of the collection with which doublenat has nothing to do: it sends
// nothing to them and tells nobody to type anything there.
func notOurs() []string {
	return []string{"/disk", "/interface/vrrp", "/ipv6/firewall/filter", "/routing/igmp-proxy", "/routing/settings", "/system/package/update"}
}

// TestTableIsTheSource holds the table against the collection that it was taken from,
// where that is at hand: nothing is in the table that is not in the collection, and
// nothing is missing of a menu that doublenat has to do with.
func TestTableIsTheSource(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "shared", "data", "routeros-schema.tsv"))
	if err != nil {
		t.Skip("the collection is not here")
	}
	var want []string
	for line := range strings.Lines(string(source)) {
		if fields := strings.Split(line, "\t"); !slices.Contains(notOurs(), fields[0]) && !slices.Contains(passedOver(), fields[1]) {
			want = append(want, line)
		}
	}
	var got []string
	for line := range strings.Lines(table(t)) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-collection +table):\n%s", diff)
	}
}

// TestReleases: something may begin or end only in a release that is asked about,
// or a difference between two releases would be seen by no test.
func TestReleases(t *testing.T) {
	t.Parallel()
	named := make(map[string]bool)
	for line := range strings.Lines(table(t)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for release := range strings.FieldsFuncSeq(strings.Split(line, "\t")[2], func(r rune) bool { return r == ' ' || r == '-' }) {
			named[release] = true
			if !slices.Contains(facts.Releases(), release) {
				t.Errorf("%s is not among the releases", release)
			}
		}
	}
	if len(named) < 20 {
		t.Errorf("the table names only %d releases", len(named))
	}
}

// table returns the table.
func table(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("schema.tsv")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
