package routerostest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest/facts"
)

// TestSchema compares what the menus take with what real releases take: the arguments
// of add, set and print exactly, and every command that they have.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, release := range facts.Releases() {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			known, err := facts.Of(release)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parseVersion(release)
			if err != nil {
				t.Fatal(err)
			}
			compared, here := 0, menus(v, behaviorOf(v))
			for path, m := range here {
				if !facts.Knows(path) {
					continue
				}
				if !slices.Contains(known.Menus(), path) {
					t.Errorf("%s is not there", path)
					continue
				}
				for _, command := range []string{"add", "set", "print"} {
					want, there := known.Arguments(path + "/" + command)
					if path == "/file" && command != "print" {
						continue // files come by Upload
					}
					if there != slices.Contains(m.commands, command) {
						t.Errorf("%s/%s: is there %t, and here %t", path, command, there, !there)
						continue
					}
					if diff := cmp.Diff(want, m.takes(v, command)); there && diff != "" {
						t.Errorf("%s/%s (-RouterOS +here):\n%s", path, command, diff)
					}
					compared++
				}
				for _, command := range m.commands {
					if _, there := known.Arguments(path + "/" + command); !there && !slices.Contains([]string{"getall", "listen", "find", "get", "print"}, command) {
						t.Errorf("%s/%s is not there", path, command)
					}
				}
			}
			for _, path := range known.Menus() {
				if here[path] == nil && !slices.Contains([]string{"/interface/bridge", "/log", "/user/active"}, path) {
					t.Errorf("the test router has no %s", path)
				}
			}
			if compared < 100 {
				t.Errorf("only %d commands were compared", compared)
			}
		})
	}
}

// TestSchemaOfOtherCommands compares which arguments all other commands take. What is in
// the way is an argument too many as much as one too few.
func TestSchemaOfOtherCommands(t *testing.T) {
	t.Parallel()
	compared := make(map[string]int)
	for _, release := range facts.Releases() {
		known, err := facts.Of(release)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseVersion(release)
		if err != nil {
			t.Fatal(err)
		}
		for path, m := range menus(v, behaviorOf(v)) {
			for _, command := range m.commands {
				want, there := known.Arguments(path + "/" + command)
				if !there || slices.Contains([]string{"add", "set", "print"}, command) {
					continue
				}
				compared[command]++
				for _, name := range append(strangers(), want...) {
					if here := m.extra(v, command, name); here != slices.Contains(want, name) {
						t.Errorf("%s: %s/%s takes %s: %t, and here %t", release, path, command, name, !here, here)
					}
				}
			}
		}
	}
	for command := range strings.FieldsSeq("check sign run start stop restart repull update apply-changes uninstall remove enable disable comment unset move reset-counters") {
		if compared[command] == 0 {
			t.Errorf("%s was compared in no menu", command)
		}
	}
}

// strangers are arguments that some commands take, and most do not.
func strangers() []string {
	return strings.Fields("ca comment destination disabled dst-ip dst-port force freeze-frame-interval from ignore-missing interface name number numbers once " +
		"place-before proplist remote-image use-script-permissions value-name where")
}

// takes returns the arguments of a command in version v, in the order of the alphabet.
func (m *menu) takes(v version, command string) []string {
	list := m.args
	var names []string
	switch command {
	case "print":
		list = m.prints
	case "add":
		names = append(names, "copy-from")
		if m.ordered() {
			names = append(names, "place-before")
		}
	case "set":
		if !m.singleton {
			names = append(names, "numbers")
		}
	}
	for _, a := range list {
		if a.span.has(v) {
			names = append(names, a.name)
		}
	}
	slices.Sort(names)
	return names
}
