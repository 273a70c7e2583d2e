package routerostest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// runAll runs statements and returns the value of the last one.
func (c *Console) runAll(list []statement) (consoleValue, error) {
	var last consoleValue
	menu := c.menu
	defer func() { c.menu = menu }()
	for i := range list {
		var err error
		if last, err = c.run(&list[i]); err != nil {
			return last, err
		}
	}
	return last, nil
}

// run carries out one statement.
func (c *Console) run(s *statement) (consoleValue, error) {
	if c.steps++; c.steps > maxSteps {
		return consoleValue{}, errors.New("too many commands")
	}
	if len(s.words) > 0 && strings.HasPrefix(s.words[0].text, ":") {
		return c.runOwn(s)
	}
	menu, action, rest, err := c.resolve(s)
	if err != nil {
		return consoleValue{}, err
	}
	if action == "" {
		if len(s.args) > 0 || len(rest) > 0 {
			return consoleValue{}, errors.New("missing command")
		}
		c.menu = menu
		return consoleValue{}, nil
	}
	// What is in brackets belongs to the same menu.
	outer := c.menu
	c.menu = menu
	defer func() { c.menu = outer }()
	return c.runCommand(s, menu, action, rest)
}

// resolve finds the menu and the command that the words name; rest are those behind
// the command. Action is "" for words that name a menu.
func (c *Console) resolve(s *statement) (menu, action string, rest []word, err error) {
	path := c.menu
	if s.absolute {
		path = ""
	}
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range s.words {
		parts := strings.Split(w.text, "/")
		if len(parts) > 1 && r.version < v701 {
			return "", "", nil, &syntaxError{"expected end of command", s.line, s.column + len(parts[0]) + 1}
		}
		for k, part := range parts {
			switch {
			case w.value != nil || part == "":
				return "", "", nil, fmt.Errorf("bad command name (line %d)", s.line)
			case part == "..":
				path = path[:max(strings.LastIndexByte(path, '/'), 0)]
			case r.hasMenuLocked(path + "/" + part):
				path += "/" + part
			case k < len(parts)-1 || !r.hasCommandLocked(path, part):
				return "", "", nil, fmt.Errorf("bad command name %s (line %d column %d)", part, s.line, s.column)
			default:
				return path, part, s.words[i+1:], nil
			}
		}
	}
	return path, "", nil, nil
}

// hasMenuLocked reports whether there is a menu, or one below it.
func (r *Router) hasMenuLocked(path string) bool {
	for have := range r.tables {
		if have == path || strings.HasPrefix(have, path+"/") {
			return true
		}
	}
	return false
}

// hasCommandLocked reports whether a menu has a command.
func (r *Router) hasCommandLocked(path, action string) bool {
	t := r.tables[path]
	return t != nil && action != "getall" && action != "listen" && (slices.Contains(t.menu.commands, action) || action == "export")
}

// runCommand carries out a command of a menu.
func (c *Console) runCommand(s *statement, menu, action string, rest []word) (consoleValue, error) {
	switch action {
	case "find":
		ids, err := c.find(menu, s.where)
		return consoleValue{list: ids, many: true}, err
	case "print":
		return c.print(s, menu, rest)
	case "export":
		return consoleValue{}, nil
	}
	cmd := &command{path: menu + "/" + action, menu: menu, action: action}
	targets, err := c.arguments(s, cmd, rest)
	if err != nil {
		return consoleValue{}, err
	}
	if c.dry {
		return consoleValue{}, c.judge(cmd, targets)
	}
	if targets != nil && len(targets.ids) == 0 {
		c.idle = true
		return consoleValue{}, nil
	}
	if targets != nil {
		cmd.args = append([]argumentValue{{".id", strings.Join(targets.ids, ",")}}, cmd.args...)
	}
	return c.execute(cmd)
}

// execute gives the router a command. Passwords and all else are as over the API.
func (c *Console) execute(cmd *command) (consoleValue, error) {
	r := c.router
	r.mu.Lock()
	o := r.executeLocked(c.actor, cmd)
	if o.wrote {
		r.stats.Writes++
		r.writesSinceBoot++
	}
	r.mu.Unlock()
	if len(o.traps) > 0 {
		texts := make([]string, len(o.traps))
		for i, t := range o.traps {
			texts[i] = t.message
		}
		return consoleValue{}, errors.New(strings.Join(texts, "; "))
	}
	if o.restart {
		r.Reboot(Reboot{Down: rebootTime})
	}
	return consoleValue{text: o.ret()}, nil
}

// find returns the ids of the rows for which a condition holds, of all if it is nil.
func (c *Console) find(menu string, where expression) ([]string, error) {
	r := c.router
	r.mu.Lock()
	t := r.tables[menu]
	t.refresh(r)
	items := make([]item, len(t.items))
	for i, it := range t.items {
		items[i] = item{id: it.id, props: slices.Clone(it.props)}
	}
	r.mu.Unlock()
	ids := []string{}
	if c.dry && where != nil {
		_, err := where.evaluate(c)
		return ids, err
	}
	for i := range items {
		if where != nil {
			c.row = &items[i]
			v, err := where.evaluate(c)
			c.row = nil
			if err != nil {
				return nil, err
			}
			if !isYes(v.text) {
				continue
			}
		}
		ids = append(ids, items[i].id)
	}
	return ids, nil
}

// print shows rows and numbers them for this terminal.
func (c *Console) print(s *statement, menu string, rest []word) (consoleValue, error) {
	count := false
	for _, w := range rest {
		if !c.prints(menu, w.text) {
			return consoleValue{}, fmt.Errorf("expected end of command (%s)", w.text)
		}
		count = count || w.text == "count-only"
	}
	for _, a := range s.args {
		if !c.prints(menu, a.name) {
			return consoleValue{}, fmt.Errorf("bad argument name %s", a.name)
		}
	}
	ids, err := c.find(menu, s.where)
	if err != nil {
		return consoleValue{}, err
	}
	if count {
		fmt.Fprintln(&c.out, len(ids))
		return consoleValue{text: strconv.Itoa(len(ids))}, nil
	}
	c.printed[menu] = ids
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, id := range ids {
		fmt.Fprintf(&c.out, "%2d", i)
		for _, it := range r.tables[menu].findAll(id) {
			for _, p := range it.props {
				fmt.Fprintf(&c.out, " %s=%s", p.name(), p.value())
			}
		}
		fmt.Fprintln(&c.out)
	}
	return consoleValue{}, nil
}

// prints reports whether a print takes an argument.
func (c *Console) prints(menu, name string) bool {
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tables[menu].menu.printsBy(r.version, name)
}

// judge checks what of a command does not depend on the state of the tables.
func (c *Console) judge(cmd *command, targets *targetList) error {
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.tables[cmd.menu].menu
	form := &Router{version: r.version, behavior: r.behavior}
	for _, a := range cmd.args {
		if !m.consoleTakes(r.version, cmd.action, a.name) {
			return fmt.Errorf("bad argument name %s", a.name)
		}
		arg := m.argument(r.version, a.name)
		if arg == nil || arg.check == nil || a.value == "" {
			continue
		}
		if refused := arg.check(form, a.name, a.value); refused != nil {
			return errors.New(refused[0].message)
		}
	}
	if targets == nil && m.needsRows(cmd.action) {
		return errors.New("missing value(s) of argument(s) numbers")
	}
	return nil
}

// consoleTakes reports whether a command of the menu takes an argument of that name.
func (m *menu) consoleTakes(v version, action, name string) bool {
	switch action {
	case "add":
		return m.argument(v, name) != nil || name == "copy-from" || name == "place-before" && m.ordered()
	case "set":
		return m.argument(v, name) != nil
	case "get":
		return name == "value-name"
	default:
		return m.extra(v, action, name)
	}
}

// needsRows reports whether a command has to name the rows that it is for.
func (m *menu) needsRows(action string) bool {
	return !m.singleton && m.does[action] == nil && !slices.Contains([]string{"add", "reset-counters-all", "check"}, action)
}
