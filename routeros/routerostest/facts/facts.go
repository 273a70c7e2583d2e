// Package facts says which commands and arguments real RouterOS takes, release by
// release. It is for tests: whatever is sent to a router, printed for people, or taken
// by the test router can be held against it.
//
// The table is schema.tsv, which names its source. It has releases from 7.9 to 7.24
// and the paths that doublenat can have to do with.
package facts

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed schema.tsv
var schema string

// Releases returns the 48 releases of the dumps that the table was taken from, oldest first.
func Releases() []string {
	return []string{
		"7.9", "7.9.2", "7.10.2", "7.11.3", "7.12.2", "7.13.5", "7.14.3",
		"7.15", "7.15.1", "7.15.2", "7.15.3", "7.16", "7.16.1", "7.16.2", "7.17", "7.17.1", "7.17.2", "7.18", "7.18.1", "7.18.2",
		"7.19", "7.19.1", "7.19.2", "7.19.3", "7.19.4", "7.19.6",
		"7.20", "7.20.1", "7.20.2", "7.20.4", "7.20.5", "7.20.6", "7.20.7", "7.20.8",
		"7.21", "7.21.1", "7.21.2", "7.21.3", "7.21.4", "7.21.5", "7.22", "7.22.1", "7.22.2", "7.22.3", "7.23", "7.23.1", "7.23.2", "7.24",
	}
}

// Release is what one release takes.
type Release struct {
	name string
	// commands has the arguments of each command by its whole path.
	commands map[string][]string
}

// Of returns what a release takes, for example "7.21.2". A release that the table does
// not name is between two of them, and takes what both do.
func Of(name string) (*Release, error) {
	wanted, err := number(name)
	if err != nil {
		return nil, err
	}
	if first, last := must(Releases()[0]), must(Releases()[len(Releases())-1]); wanted < first || wanted/1000 > last/1000 {
		return nil, fmt.Errorf("RouterOS %s is not in the table, which has %s to %s", name, Releases()[0], Releases()[len(Releases())-1])
	}
	wanted = min(wanted, must(Releases()[len(Releases())-1]))
	r := &Release{name: name, commands: make(map[string][]string)}
	inside := make(map[string]bool)
	for line := range strings.Lines(schema) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		if _, seen := inside[fields[2]]; !seen {
			inside[fields[2]] = within(fields[2], wanted)
		}
		if !inside[fields[2]] {
			continue
		}
		command := fields[0] + "/" + fields[1]
		r.commands[command] = append(r.commands[command], strings.Fields(fields[3])...)
	}
	return r, nil
}

// within reports whether a release lies in one of the ranges.
func within(ranges string, wanted int) bool {
	return slices.ContainsFunc(strings.Fields(ranges), func(r string) bool {
		first, last, ranged := strings.Cut(r, "-")
		if !ranged {
			last = first
		}
		return must(first) <= wanted && wanted <= must(last)
	})
}

// number makes "7.21.2" comparable.
func number(name string) (int, error) {
	parts := append(strings.Split(name, "."), "0", "0")
	n := 0
	for _, p := range parts[:3] {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > 999 {
			return 0, fmt.Errorf("release %q: want for example 7.21.2", name)
		}
		n = n*1000 + v
	}
	return n, nil
}

// must is number for the table itself.
func must(name string) int {
	n, err := number(name)
	if err != nil {
		panic(err)
	}
	return n
}

// Arguments returns the arguments of a command, for example "/ip/firewall/nat/add", in
// the order of the alphabet. Ok is false where the release has no such command.
func (r *Release) Arguments(command string) (arguments []string, ok bool) {
	arguments, ok = r.commands[command]
	return slices.Sorted(slices.Values(arguments)), ok
}

// Knows reports whether the table says anything of a menu, in whatever release.
func Knows(menu string) bool {
	return strings.Contains(schema, "\n"+menu+"\t")
}

// Menus returns the menus that the release has, in the order of the alphabet.
func (r *Release) Menus() []string {
	var menus []string
	for command := range r.commands {
		menu := command[:strings.LastIndexByte(command, '/')]
		if !slices.Contains(menus, menu) {
			menus = append(menus, menu)
		}
	}
	slices.Sort(menus)
	return menus
}

// Commands returns the commands of a menu, in the order of the alphabet.
func (r *Release) Commands(menu string) []string {
	var names []string
	for command := range r.commands {
		if at := strings.LastIndexByte(command, '/'); command[:at] == menu {
			names = append(names, command[at+1:])
		}
	}
	slices.Sort(names)
	return names
}

// CheckSentence returns why the release would not know a command as it is sent over the
// API, nil if it would: its first word is the command, the others are as in the
// journal of a test router. Queries and what belongs to the API itself are passed over,
// and so are menus that the table does not know.
func (r *Release) CheckSentence(command string, words []string) error {
	at := strings.LastIndexByte(command, '/')
	if at <= 0 || !Knows(command[:at]) {
		return nil
	}
	known, ok := r.commands[command]
	if !ok && slices.Contains([]string{"getall", "listen", "get", "find"}, command[at+1:]) {
		return nil // the API's own, or not in this extract
	}
	if !ok {
		return fmt.Errorf("RouterOS %s has no %s", r.name, command)
	}
	for _, w := range words {
		if !strings.HasPrefix(w, "=") {
			continue
		}
		if name, _, _ := strings.Cut(w[1:], "="); !takes(known, command[at+1:], name) {
			return fmt.Errorf("RouterOS %s: %s does not take %s", r.name, command, name)
		}
	}
	return nil
}

// takes reports whether a command with these arguments takes a word of the API.
func takes(known []string, command, name string) bool {
	switch name {
	case ".id":
		return slices.Contains(known, "numbers") || slices.Contains(known, "number")
	case ".proplist":
		return command == "print" || slices.Contains(known, "proplist")
	default:
		return slices.Contains(known, name)
	}
}
