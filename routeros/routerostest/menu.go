package routerostest

import (
	"slices"
	"strings"
)

// menu is the schema of one path: its commands, arguments and the order in which
// it prints.
type menu struct {
	path string
	// span has the versions that have the menu.
	span span
	// commands are what can be done besides reading.
	commands []string
	args     []argument
	// order ranks the properties of a row.
	order map[string]int
	// defaults are the properties that every new item has.
	defaults []property
	// marks are those of an item that a client made.
	marks []property
	// named lets items be addressed by name.
	named bool
	// unique are the properties that no two items may have in common, all of them
	// together, and already what is said then.
	unique  []string
	already string
	// singleton has one item, which has no id.
	singleton bool
	// secret is the argument that is stored and never printed.
	secret string
	// sensitive is the property that only users with that policy see.
	sensitive string
	// policy is what a change takes, "write" if empty.
	policy string
	// refresh brings an item up to date before it is read.
	refresh func(r *Router, it *item)
	// added does what else comes of an item that a client adds.
	added func(r *Router, it *item)
}

// writeCommands are what can be done with the items of most menus.
const writeCommands = "add set remove enable disable unset comment"

// newMenu makes a menu that can be read. Fields is the order of its properties,
// flags of those that end every row.
func newMenu(path, fields, flags string) *menu {
	m := &menu{path: path, order: make(map[string]int), commands: []string{"print", "getall", "listen", "find", "get"}}
	for i, name := range strings.Fields(fields) {
		m.order[name] = i
	}
	for i, name := range strings.Fields(flags) {
		m.order[name] = rankFlags + i
	}
	return m
}

// with adds commands, given as words divided by blanks.
func (m *menu) with(commands string) *menu {
	m.commands = append(m.commands, strings.Fields(commands)...)
	return m
}

// taking sets the arguments.
func (m *menu) taking(lists ...[]argument) *menu {
	m.args = append(m.args, slices.Concat(lists...)...)
	return m
}

// starting sets the properties of a new item, given as "name=value" words.
func (m *menu) starting(words string) *menu {
	m.defaults = append(m.defaults, properties(words)...)
	return m
}

// marking sets the properties of an item that a client adds, over the defaults.
func (m *menu) marking(words string) *menu {
	m.marks = append(m.marks, properties(words)...)
	return m
}

// properties reads "name=value" words.
func properties(words string) []property {
	var list []property
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		list = append(list, property{name: name, value: value})
	}
	return list
}

// only lets no two items have the given properties in common; already is what is
// said then.
func (m *menu) only(names, already string) *menu {
	m.unique, m.already = strings.Fields(names), already
	return m
}

// argument finds an argument that version v knows, nil if there is none.
func (m *menu) argument(v version, name string) *argument {
	for i := range m.args {
		if m.args[i].is(name) && m.args[i].span.has(v) {
			return &m.args[i]
		}
	}
	return nil
}

// normalize writes a value as a print shows it: booleans are true or false.
func (m *menu) normalize(name, value string) string {
	if name == "comment" || name == "name" || name == "group" {
		return value
	}
	if name == "protocol" {
		return value[:len(value)-len(positive(value))] + protocolName(positive(value))
	}
	switch value {
	case "yes":
		return "true"
	case "no":
		return "false"
	default:
		return value
	}
}

// require marks arguments that add cannot do without.
func require(list []argument) []argument {
	for i := range list {
		list[i].required = true
	}
	return list
}

// menus lists what version v has.
func menus(v version, b behavior) map[string]*menu {
	found := make(map[string]*menu)
	for _, m := range slices.Concat(firewallMenus(b), networkMenus(b), systemMenus(b), containerMenus(b)) {
		if m.span.has(v) {
			found[m.path] = m
		}
	}
	return found
}
