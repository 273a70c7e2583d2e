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
	// commands are what can be done besides reading; spans has the versions that have
	// one, for those that not all have.
	commands []string
	spans    map[string]span
	args     []argument
	// extras are those of commands that other menus lack, see also.
	extras map[string][]argument
	// prints are the arguments of print and listen.
	prints []argument
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
	// refresh brings an item up to date before it is read, sync the table.
	refresh func(r *Router, it *item)
	sync    func(r *Router, t *table)
	// added does what else comes of an item that a client adds, dropped what else
	// comes of one that goes, in whatever way.
	added, dropped func(r *Router, it *item)
	// changed does what else comes of an item that a client changes.
	changed func(r *Router, it *item)
	// volatile lets clients change and remove dynamic items.
	volatile bool
	// does are commands of this menu alone.
	does map[string]doFunc
}

// doFunc carries out a command that only one menu has.
type doFunc func(r *Router, t *table, c *command) outcome

// writeCommands are what can be done with the items of most menus.
const writeCommands = "add set remove enable disable unset comment"

// newMenu makes a menu that can be read. Fields is the order of its properties,
// flags of those that end every row.
func newMenu(path, fields, flags string) *menu {
	m := &menu{path: path, order: make(map[string]int), commands: []string{"print", "getall", "listen", "find", "get"}, prints: listPrints()}
	for i, name := range strings.Fields(fields) {
		m.order[name] = i
	}
	for i, name := range strings.Fields(flags) {
		m.order[name] = rankFlags + i
	}
	return m
}

// listPrints are the arguments of a print of rows.
func listPrints() []argument {
	return slices.Concat(
		args(nil, "append as-value brief count-only detail file follow follow-only from interval proplist show-ids terse value-list where without-paging"),
		argsIn(span{before: v716}, nil, "follow-strict"), argsIn(span{since: v717}, nil, "group-by"),
		argsIn(span{since: v722}, nil, "comments on-event timestamp"), argsIn(span{since: v724}, nil, "order-by"),
	)
}

// single makes a menu with one row, which has no id.
func (m *menu) single() *menu {
	m.singleton = true
	m.prints = slices.Concat(args(nil, "as-value file interval without-paging"), argsIn(span{since: v722}, nil, "comments"))
	return m
}

// printing adds arguments of print; those named before are taken away first.
func (m *menu) printing(without string, lists ...[]argument) *menu {
	m.prints = slices.DeleteFunc(m.prints, func(a argument) bool { return slices.Contains(strings.Fields(without), a.name) })
	m.prints = append(m.prints, slices.Concat(lists...)...)
	return m
}

// printsBy reports whether a print of version v takes an argument.
func (m *menu) printsBy(v version, name string) bool {
	return slices.ContainsFunc(m.prints, func(a argument) bool { return a.name == name && a.span.has(v) })
}

// with adds commands, given as words divided by blanks.
func (m *menu) with(commands string) *menu {
	m.commands = append(m.commands, strings.Fields(commands)...)
	return m
}

// doing adds a command of its own.
func (m *menu) doing(name string, do doFunc) *menu {
	if m.does == nil {
		m.does = make(map[string]doFunc)
	}
	m.does[name] = do
	return m.with(name)
}

// ordered reports whether the order of the items means something.
func (m *menu) ordered() bool { return slices.Contains(m.commands, "move") }

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
		list = append(list, newProperty(name, value))
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
	if name == "protocol" {
		return value[:len(value)-len(positive(value))] + protocolName(positive(value))
	}
	if at := slices.IndexFunc(m.args, func(a argument) bool { return a.name == name }); at >= 0 && !m.args[at].flag {
		return value
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
	for _, m := range slices.Concat(firewallMenus(b), networkMenus(b), routeMenus(b), systemMenus(b), userMenus(b), packageMenus(b),
		containerMenus(b)) {
		if !m.span.has(v) {
			continue
		}
		m.commands = slices.DeleteFunc(m.commands, func(name string) bool { return !m.spans[name].has(v) })
		found[m.path] = m
	}
	return found
}
