package routerostest

import "slices"

// also sets the arguments of a command that is neither add, set nor print, the one that
// names rows among them: "number" where it takes a single one. Every command that is not
// told here takes what its kind takes in every menu.
func (m *menu) also(action string, lists ...[]argument) *menu {
	if m.extras == nil {
		m.extras = make(map[string][]argument)
	}
	m.extras[action] = slices.Concat(lists...)
	return m
}

// loopArguments are those of every command that can be carried out again and again.
func loopArguments() []argument {
	return slices.Concat(args(nil, "append as-value do duration file interval once without-paging"), argsIn(span{since: v721}, nil, "freeze-frame-interval"))
}

// extra reports whether a command that is neither add, set nor print takes an argument.
func (m *menu) extra(v version, action, name string) bool {
	if list, told := m.extras[action]; told {
		return slices.ContainsFunc(list, func(a argument) bool { return a.name == name && a.span.has(v) })
	}
	switch action {
	case "reset-counters-all", "force-update", "reboot", "shutdown":
		return false
	case "comment":
		return name == "numbers" || name == "comment"
	case "unset":
		return name == "numbers" || name == "value-name"
	case "move":
		return name == "numbers" || name == "destination"
	default:
		return name == "numbers"
	}
}

// handle returns the argument by which a command names rows.
func (m *menu) handle(v version, action string) string {
	if action != "set" && m.extra(v, action, "number") {
		return "number"
	}
	return "numbers"
}

// extraLocked refuses arguments that a command does not take. Add, set and print look at
// theirs one by one.
func (r *Router) extraLocked(t *table, c *command) traps {
	if c.action == "add" || c.action == "set" {
		return nil
	}
	for _, a := range c.args {
		if a.name != ".id" && !t.menu.extra(r.version, c.action, a.name) {
			return r.behavior.refuseParameter(a.name)
		}
	}
	return nil
}
